"""The ledger: what became of every slide and every sample, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ksfusion.cohort.config import PairingRule, Requirement
from ksfusion.cohort.labels import label_column
from ksfusion.cohort.pairing import is_closest
from ksfusion.core.errors import DamagedFileError
from ksfusion.core.features_file import UNREADABLE, open_features
from ksfusion.core.parquet import opened_parquet, read_parquet
from ksfusion.terms.flags import FLAGS
from ksfusion.terms.modalities import GENES_ONLY, MODALITIES, PAIRED, SLIDES_ONLY
from ksfusion.terms.tasks import TaskKind

SLIDE_COLUMNS = [
    "slide_id",
    "batch",
    "status",
    "reason",
    "mpp",
    "mpp_source",
    "width",
    "height",
    "tissue_mm2",
    "tissue_share",
    "mask",
    "masks_origin",
    "tiles",
    *FLAGS,
    "unique_patches",
    "repeated_patches",
    "stain",
    "stain_reason",
]
ABOUT_SLIDE = ["mpp", "mpp_source", "width", "height", "tissue_mm2", "tissue_share", "mask", "masks_origin"]
TEXTS = ["slide_id", "mpp_source", "mask", "masks_origin"]
SAMPLE_COLUMNS = ["sample_id", "case_id", "cohort", "slide_id", "expression_id", "status", "reason", MODALITIES]


@dataclass(frozen=True)
class LedgerFiles:
    """The files of the stages before, which say what became of slides and samples.

    Parameters
    ----------
    samples
        The validated samples, of `check-cohort`.
    cases
        The labelled cases, of `check-cohort`.
    profiles
        Expression of all cohorts, of `read-expression`.
    tiles
        Tiles of all batches; none of a study without slides.
    stain
        Stain of all batches; none where the slides themselves were not read.
    patches
        Patches of all batches.
    features
        Features of all batches.
    """

    samples: Path
    cases: Path
    profiles: Path
    tiles: Sequence[Path] = ()
    stain: Sequence[Path] = ()
    patches: Sequence[Path] = ()
    features: Sequence[Path] = ()


def slide_ledger(
    tiles: Iterable[Path], stain: Iterable[Path], patches: Iterable[Path], features: Iterable[Path]
) -> pd.DataFrame:
    """Join what each stage says of each slide; the last stage's status is the slide's.

    Parameters
    ----------
    tiles, stain, patches, features
        The files of all batches; no stain where the slides themselves were not read, and none at all of a study
        without slides.

    Returns
    -------
    pandas.DataFrame
        One row per slide, by slide_id, with the columns `SLIDE_COLUMNS`.
    """
    import pyarrow as pa

    parts = [_of_tiles(path) for path in tiles]
    if not parts:
        return pd.DataFrame(columns=SLIDE_COLUMNS)
    # Tables of 0.1.0 lack the share of tissue and the origin of masks.
    ledger = pa.concat_tables(parts, promote_options="permissive").to_pandas().set_index("slide_id")
    ledger = ledger.reindex(columns=["batch", *ABOUT_SLIDE, "tiles", *FLAGS])
    flagged = [*FLAGS]
    # Where no mask was made, no slide was read: its tiles come from precomputed features.
    ledger[flagged] = ledger[flagged].div(ledger["tiles"], axis=0).round(4).where(ledger["mask"] != "")

    columns = ["slide_id", "status", "reason"]
    stains = pd.concat([pd.DataFrame(columns=columns), *(read_parquet(path, columns=columns) for path in stain)])
    stains = stains.set_index("slide_id").rename(columns={"status": "stain", "reason": "stain_reason"})
    ledger = ledger.join(stains)

    chosen = pd.concat([_of_patches(path) for path in patches])
    for column in chosen:
        ledger[column] = chosen[column].reindex(ledger.index).fillna(0).astype(int)

    ledger = ledger.join(_feature_status(features))
    ledger[["tissue_mm2", "tissue_share"]] = ledger[["tissue_mm2", "tissue_share"]].round(4)
    ledger = ledger.sort_index().reset_index(names="slide_id")
    return ledger[SLIDE_COLUMNS]


def _of_tiles(path: Path) -> Any:
    """Return what a batch's tiles tell of its slides as an Arrow table: millions of rows are not made of them."""
    import pyarrow as pa

    table = _read(path, ["slide_id", "tile", *FLAGS, *ABOUT_SLIDE])
    codes, names = _slides_of(table)
    # The rows of a slide stand together: what is counted is counted for each run of them.
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    of_run = codes[starts]

    def count(is_counted: np.ndarray) -> np.ndarray:
        in_run = np.add.reduceat(is_counted, starts, dtype=np.int64)
        return np.bincount(of_run, in_run, minlength=len(names)).astype(np.int64)

    is_tile = table["tile"].to_numpy() >= 0
    counts = {str(flag): count(is_tile & table[flag].to_numpy()) for flag in FLAGS}
    first = starts[np.unique(of_run, return_index=True)[1]]
    about = {name: _plain(table[name].take(first)) for name in ABOUT_SLIDE if name in table.column_names}
    return pa.table({"slide_id": names, "batch": [path.stem] * len(names), **about, "tiles": count(is_tile), **counts})


def _of_patches(path: Path) -> pd.DataFrame:
    """Return how many different tiles stand for each slide of a batch, and how many repeat one, by slide_id."""
    table = _read(path, ["slide_id", "tile"])
    codes, names = _slides_of(table)
    tile = table["tile"].to_numpy()
    is_patch = tile >= 0
    codes, tile = codes[is_patch], tile[is_patch]
    is_chosen = np.zeros((len(names), int(tile.max(initial=-1)) + 1), bool)
    is_chosen[codes, tile] = True
    unique = is_chosen.sum(axis=1)
    repeated = np.bincount(codes, minlength=len(names)) - unique
    return pd.DataFrame({"unique_patches": unique, "repeated_patches": repeated}, index=names)


def _read(path: Path, columns: list[str]) -> Any:
    """Return columns of a table of a batch as Arrow has them, each text kept once."""
    from pyarrow.parquet import ParquetFile

    with opened_parquet(path) as file:
        texts = [name for name in TEXTS if name in columns and name in file.schema_arrow.names]
        with ParquetFile(path, metadata=file.metadata, read_dictionary=texts) as again:
            return again.read(columns=columns)


def _slides_of(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the slide of each row, and the slides by their numbers."""
    if not len(table):  # its columns have no type
        return np.empty(0, np.int32), np.empty(0, object)
    slides = table["slide_id"].dictionary_encode().unify_dictionaries().combine_chunks()
    return slides.indices.to_numpy(), slides.dictionary.to_numpy(zero_copy_only=False)


def _plain(column: Any) -> Any:
    """Return a column whose texts were kept once each as one of texts."""
    return column.cast(column.type.value_type) if hasattr(column.type, "value_type") else column


def _feature_status(features: Iterable[Path]) -> pd.DataFrame:
    rows = {}
    for path in features:
        with open_features(path) as slides:
            try:
                with h5py.File(path, "r") as file:
                    for slide_id in slides:
                        status = _text(file, slide_id, "status")
                        rows[slide_id] = status, "" if status == "ok" else _text(file, slide_id, "reason")
            except UNREADABLE as error:
                raise DamagedFileError(path) from error
    return pd.DataFrame.from_dict(rows, orient="index", columns=["status", "reason"])


def _text(file: h5py.File, slide_id: str, name: str) -> str:
    """Return a text that stands with a slide; opening its group for that would take twice as long."""
    text = np.empty((), h5py.string_dtype())
    h5py.h5a.open(file.id, name.encode(), obj_name=slide_id.encode()).read(text)
    return text.item().decode()


def labelled_cases(cases: pd.DataFrame, tasks: Mapping[str, TaskKind]) -> set[str]:
    """Return the cases that have a label for at least one task (name to kind); all where no task asks for one."""
    if not tasks:
        return set(cases["case_id"])
    columns = [label_column(name, kind) for name, kind in tasks.items()]
    return set(cases.loc[cases[columns].notna().any(axis=1), "case_id"])


def sample_ledger(
    samples: pd.DataFrame,
    slides: pd.DataFrame,
    profiles: set[tuple[str, str]],
    labelled: set[str],
    *,
    pairing: PairingRule,
    require: Requirement = "paired",
) -> pd.DataFrame:
    """Return of each sample whether it is in use, and the first thing that it lacks.

    Parameters
    ----------
    samples : pandas.DataFrame
        The validated table.
    slides : pandas.DataFrame
        The slides' ledger.
    profiles
        (cohort, expression_id) of the profiles that exist.
    labelled
        Cases with at least one label.
    pairing
        ``closest`` leaves out the samples whose slide has a profile taken closer to it (`ksfusion.cohort.pairing`).
    require
        ``any`` takes samples that have a slide or a profile alone.

    Returns
    -------
    pandas.DataFrame
        With the columns `SAMPLE_COLUMNS`. ``reason``: of a sample that is not in use why, of one that is in use with a
        slide or a profile alone, what became of the other. ``modalities``: what a sample in use has.
    """
    status = dict(zip(slides["slide_id"], zip(slides["status"], slides["reason"], strict=True), strict=True))
    has_slides = bool(samples["slide_id"].any())

    def judge(row: Any) -> tuple[str, str]:
        """Return what a sample has, empty where it is not in use, and the first thing that it lacks."""
        slide_status, slide_reason = status.get(row.slide_id, ("failed", "missing_file"))
        of_slide = "" if slide_status == "ok" else slide_reason
        of_profile = "" if (row.cohort, row.expression_id) in profiles else "missing_profile"
        of_label = "" if row.case_id in labelled else "missing_label"
        if of_slide and of_profile and require == "any":
            return "", of_slide if row.slide_id else of_profile
        if require == "any":
            has = GENES_ONLY if of_slide else SLIDES_ONLY if of_profile else PAIRED
            # Where no sample has a slide, none lacks its own.
            return ("", of_label) if of_label else (has, (of_slide if has_slides else "") or of_profile)
        lack = of_slide or of_profile or of_label
        return "" if lack else PAIRED, lack

    ledger = samples[["sample_id", "case_id", "cohort", "slide_id", "expression_id"]].copy()
    ledger[MODALITIES], ledger["reason"] = zip(*map(judge, samples.itertuples()), strict=True)
    if pairing == "closest":
        paired = ledger[MODALITIES] == PAIRED
        ledger.loc[paired & ~is_closest(samples, paired), [MODALITIES, "reason"]] = "", "excluded_by_pairing"
    ledger["status"] = ledger[MODALITIES].map(lambda has: "ok" if has else "excluded")
    return ledger.sort_values("sample_id", ignore_index=True)[SAMPLE_COLUMNS]
