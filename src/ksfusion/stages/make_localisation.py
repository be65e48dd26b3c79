"""The table of where methods look, with what the features themselves would allow beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.feature_store import open_store
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.attention.localisation import (
    CHANCE,
    COLUMNS,
    ORACLE,
    as_text,
    locate_all,
    random_scores,
    read_localisation,
)
from ksfusion.results.attention.patch_oracle import patch_oracle
from ksfusion.results.attention.slide_picture import read_patches
from ksfusion.results.attention.targets import TargetFiles, Targets
from ksfusion.results.stage_settings import LocateAttentionSettings
from ksfusion.terms.split_table import read_splits, splits_of_fold


def make_localisation(
    located: Sequence[Path],
    *,
    target_files: TargetFiles,
    store: Path,
    samples: Path,
    splits: Path,
    output: Path,
    settings: LocateAttentionSettings,
) -> None:
    """Put the tables of where methods look into one, and add chance, and an oracle that is taught the targets.

    Parameters
    ----------
    located
        The tables of `locate-attention`.
    target_files
        The files of patches, and of what they show.
    store
        Folder of the features, of `build-store`.
    samples
        Ledger of the samples, of `write-ledger`.
    splits
        Table of folds, cases and their split, of `split-cases`.
    output
        The table (`ksfusion.results.attention.localisation.COLUMNS`).
    settings
        Number of bootstrap resamples.
    """
    used = read_tsv(samples, dtype=str).query("status == 'ok'").sort_values("sample_id")
    patches = read_patches(target_files.features, set(used["slide_id"]))
    targets, opened = Targets.read(target_files), open_store(store)
    rows = []
    for fold in sorted(read_splits(splits)[0]["fold"].unique()):
        in_fold = used.assign(split=used["case_id"].map(splits_of_fold(splits, int(fold), used["case_id"])))
        scored = patch_oracle(opened, patches, in_fold, targets)
        scored = scored.assign(**{CHANCE: random_scores(scored["sample_id"])})
        for target in targets.names:
            for name, score in ((CHANCE, CHANCE), (ORACLE, f"{ORACLE}:{target}")):
                for _, _, found in locate_all(scored, [score], [target], resamples=settings.resamples):
                    rows.append((name, "", int(fold), "", "", target, name, *found))
    tables = [read_localisation(path) for path in located]
    table = pd.concat([*tables, pd.DataFrame(rows, columns=COLUMNS)], ignore_index=True)
    write_tsv(as_text(table), output, provenance(__name__, settings.record()))
