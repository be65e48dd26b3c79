"""Which cases train, validate and test in each fold; the split of a case is train, val or test.

The cases of external cohorts are external in every fold, and have no part in any of what follows.

Two aims conflict: splits should be stratified, and a case should never change its own because another was added. A
hash of each case_id by itself would never move a case, but would stratify by chance only. So there are two steps. The
first division of a study orders the cases of each stratum by a hash of the case_id, and cuts this order at the
fractions. Later ones start from ``splits.tsv`` where it was made with the same settings: a case that is in a split
stays there, and new cases go to the split that their stratum lacks most.

Guaranteed:

- At first every split of every stratum is less than one case away from its fraction (by site, which moves whole
  sites, only as nearly as these allow).
- While ``splits.tsv`` is there, no case changes its split because a case was added or removed or a label was corrected.
- Without it (a fresh folder) the same tables give the same splits, and one case more moves at most one other case of
  its stratum over each cut between two splits. Strata by a number are its quarters, whose limits one case more may
  move as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ksfusion.cohort.config import Splits
from ksfusion.cohort.split_files import read_split_file
from ksfusion.core.errors import UserError
from ksfusion.terms.splits import EXTERNAL, SPLIT_COLUMNS, SPLITS

# The second field of a TCGA barcode is the tissue source site.
TCGA_BARCODE = re.compile(r"TCGA-([A-Z0-9]{2})-[A-Z0-9]{4}.*")


def divide_cases(
    samples: pd.DataFrame,
    cases: pd.DataFrame,
    settings: Splits,
    *,
    stratify: str,
    earlier: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Divide the cases that have a sample into training, validation and test, in each fold.

    Parameters
    ----------
    samples : pandas.DataFrame
        Validated table of samples.
    cases : pandas.DataFrame, one row per case
        Validated table of cases, with the derived labels.
    settings
        Scheme, fractions, number of folds, seed, or the user's own file.
    stratify
        Column of ``cases`` that makes the strata, together with the cohort.
    earlier : pandas.DataFrame, optional
        Splits made before with the same settings (fold, case_id, split), which their cases keep.

    Returns
    -------
    pandas.DataFrame
        fold, case_id, split (``train``, ``val``, ``test`` or ``external``); every case once in each fold.

    Raises
    ------
    UserError
        If a split is empty, a case has no site or more than one, the user's file does not fit the cases, or a case or a
        site is in an external cohort and in another.
    """
    is_outside = samples["cohort"].isin(settings.external)
    inside, outside = samples[~is_outside], samples[is_outside]
    _refuse_both(inside, outside, "case_id", "case")
    everyone, samples = samples, inside
    units = _strata(samples, cases, stratify)
    earlier = None if earlier is None else earlier[earlier["case_id"].isin(units.index) & earlier["split"].isin(SPLITS)]
    kept = _splits(earlier, 0)
    if settings.file is not None:
        folds = _from_file(units, everyone, settings.file, settings)
    elif settings.scheme == "kfold":
        folds = _cross_validation(units, settings, earlier)
    elif settings.scheme == "site":
        _refuse_both(inside, outside, "site", "splits.scheme site: site")
        folds = {0: _by_site(units.index, samples, settings, kept)}
    else:
        folds = {0: _named(assign(units, settings.fractions, seed=settings.seed, kept=kept))}
    _refuse_empty_splits(folds)
    scored = dict.fromkeys(sorted(set(outside["case_id"])), EXTERNAL)
    folds = {fold: splits | scored for fold, splits in folds.items()}
    rows = [(fold, case_id, splits[case_id]) for fold, splits in sorted(folds.items()) for case_id in sorted(splits)]
    return pd.DataFrame(rows, columns=list(SPLIT_COLUMNS))


def _refuse_both(inside: pd.DataFrame, outside: pd.DataFrame, column: str, what: str) -> None:
    """Raise UserError where a case, or a site, is in an external cohort and in another."""
    first, second = (rows[rows[column] != ""].groupby(column)["cohort"].min() for rows in (inside, outside))
    for name in first.index.intersection(second.index)[:1]:
        raise UserError(
            f"{what} {name} has samples of cohort {first[name]} and of {second[name]}, which splits.external names; "
            "leave out one of them"
        )


def assign(
    units: pd.DataFrame, shares: Sequence[float], *, seed: int | str, kept: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Divide units (cases, or sites) over parts (splits, or folds), so that each has its share of each stratum.

    Parameters
    ----------
    units : pandas.DataFrame
        Units by id: ``stratum`` and ``size`` (number of cases: 1, or those of a site).
    shares
        Fraction of each part; they sum to 1.
    seed
        Seed of the hash that orders the units.
    kept
        Number of the part, from 0, of each unit that has one already.

    Returns
    -------
    dict
        Id of each unit to the number of its part.
    """
    parts: dict[str, int] = {}
    kept = kept or {}
    for stratum, rows in units.groupby("stratum", sort=True):
        sizes = rows["size"].to_dict()
        ordered = sorted(sizes, key=lambda unit: _hash(seed, unit))
        known = {unit: kept[unit] for unit in ordered if unit in kept}
        if known:
            parts |= _fill(ordered, sizes, shares, known)
        else:
            parts |= _cut(ordered, sizes, shares, rounding=_hash(seed, f"stratum {stratum}"))
    return parts


def _hash(seed: int | str, name: str) -> float:
    """Return a number in [0, 1) that depends on nothing but seed and name."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _cut(ordered: Sequence[str], sizes: Mapping[str, int], shares: Sequence[float], rounding: float) -> dict[str, int]:
    """Cut the ordered units of a stratum at the cumulated shares of its cases.

    ``rounding``, in [0, 1), is added to each cut less one half: it decides which way fractions of a case are rounded.
    Each stratum has its own, so that small strata do not all lack the same part.
    """
    total = sum(sizes.values())
    cuts = [sum(shares[: number + 1]) * total + rounding - 0.5 for number in range(len(shares) - 1)]
    parts, before = {}, 0
    for unit in ordered:
        parts[unit] = sum(before + sizes[unit] / 2 >= cut for cut in cuts)
        before += sizes[unit]
    return parts


def _fill(
    ordered: Sequence[str], sizes: Mapping[str, int], shares: Sequence[float], known: Mapping[str, int]
) -> dict[str, int]:
    """Give each unit of a stratum without a part the one that is then furthest below its share of the cases."""
    parts = dict(known)
    counts = [sum(sizes[unit] for unit in known if known[unit] == part) for part in range(len(shares))]
    for unit in ordered:
        if unit not in parts:
            total = sum(counts) + sizes[unit]
            lacking = [share * total - count for share, count in zip(shares, counts, strict=True)]
            parts[unit] = lacking.index(max(lacking))
            counts[parts[unit]] += sizes[unit]
    return parts


def _strata(samples: pd.DataFrame, cases: pd.DataFrame, stratify: str) -> pd.DataFrame:
    """Return the cases that have a sample, each with its stratum (cohort and label; a missing label is one too).

    A label that is a number (of a regression task) counts by its quarter, cut at the quartiles of the cases.
    """
    cohorts = samples.groupby("case_id")["cohort"].min()
    labels = cases.set_index("case_id")[stratify].reindex(cohorts.index)
    if pd.api.types.is_float_dtype(labels):
        quarters = np.searchsorted(labels.quantile([0.25, 0.5, 0.75]), labels, side="right")
        labels = pd.Series(quarters, index=labels.index).where(labels.notna())
    strata = cohorts + " " + labels.astype("object").where(labels.notna(), "unknown").astype(str)
    return pd.DataFrame({"stratum": strata, "size": 1})


def _named(numbers: Mapping[str, int]) -> dict[str, str]:
    return {unit: SPLITS[number] for unit, number in numbers.items()}


def _splits(table: pd.DataFrame | None, fold: int) -> dict[str, int]:
    """Return the split, as a number from 0, of each case in a fold of earlier ones; empty where there is none."""
    if table is None:
        return {}
    rows = table[table["fold"] == fold]
    return {case_id: SPLITS.index(split) for case_id, split in zip(rows["case_id"], rows["split"], strict=True)}


def _cross_validation(units: pd.DataFrame, settings: Splits, earlier: pd.DataFrame | None) -> dict[int, dict[str, str]]:
    """Test every case in one of k folds; the others train and validate in proportion to their fractions."""
    k, seed = settings.k, settings.seed
    tests = pd.DataFrame(columns=["case_id", "fold"]) if earlier is None else earlier[earlier["split"] == "test"]
    test_fold = assign(units, [1 / k] * k, seed=seed, kept=dict(zip(tests["case_id"], tests["fold"], strict=True)))
    folds = {}
    for fold in range(k):
        others = units[[test_fold[case_id] != fold for case_id in units.index]]
        splits = dict.fromkeys(units.index, "test")
        folds[fold] = splits | _train_and_validate(others, settings, fold, _splits(earlier, fold))
    return folds


def _train_and_validate(units: pd.DataFrame, settings: Splits, fold: int, kept: Mapping[str, int]) -> dict[str, str]:
    train, val = settings.fractions[:2]
    shares = [train / (train + val), val / (train + val)]
    return _named(assign(units, shares, seed=f"{settings.seed}:fold {fold}", kept=kept))


def _by_site(
    case_ids: Sequence[str], samples: pd.DataFrame, settings: Splits, kept: Mapping[str, int]
) -> dict[str, str]:
    """Divide whole tissue source sites, so that splits have their fractions of the cases as nearly as sites allow."""
    found: dict[str, set[str]] = {case_id: set() for case_id in case_ids}
    for case_id, site in zip(samples["case_id"], samples["site"], strict=True):
        if site:
            found[case_id].add(site)
        elif barcode := TCGA_BARCODE.fullmatch(case_id):
            found[case_id].add(barcode[1])
    for case_id, sites in found.items():
        if len(sites) != 1:
            what = f"has sites {', '.join(sorted(sites))}" if sites else "has no site and is no TCGA barcode"
            raise UserError(f"splits.scheme site: case {case_id} {what}; give it one in the column site of the samples")
    site_of = {case_id: site for case_id, (site,) in found.items()}
    sizes = pd.Series(site_of).value_counts()
    units = pd.DataFrame({"stratum": "", "size": sizes})
    kept_sites = {site_of[case_id]: split for case_id, split in kept.items() if case_id in site_of}
    splits = _named(assign(units, settings.fractions, seed=settings.seed, kept=kept_sites))
    return {case_id: splits[site] for case_id, site in site_of.items()}


def _from_file(units: pd.DataFrame, samples: pd.DataFrame, file: str, settings: Splits) -> dict[int, dict[str, str]]:
    """Take the splits of the user's file; in a fold without validation cases some training cases become them."""
    case_of_slide = dict(zip(samples["slide_id"], samples["case_id"], strict=True))
    external = set(samples["case_id"]) - set(units.index)
    folds: dict[int, dict[str, str]] = {}
    for entry in read_split_file(file, set(units.index), case_of_slide, external=external):
        folds.setdefault(entry.fold, {})[entry.name] = entry.split
    for fold, splits in folds.items():
        if "val" not in splits.values():
            training = units.loc[[case_id for case_id, split in splits.items() if split == "train"]]
            splits |= _train_and_validate(training, settings, fold, {})
    return folds


def _refuse_empty_splits(folds: Mapping[int, Mapping[str, str]]) -> None:
    for fold, splits in folds.items():
        if empty := [split for split in SPLITS if split not in splits.values()]:
            raise UserError(
                f"splits: {len(splits)} cases leave {' and '.join(empty)} of fold {fold} without any; "
                "change splits.fractions, splits.seed or splits.file, or add cases"
            )
