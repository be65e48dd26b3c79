"""The leakage gate: no case, specimen, slide or profile may stand in two splits of a fold, under whatever name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.cohort.duplicates import MAX_DISTANCE, Pair, close_images, equal_profiles, equal_values
from ksfusion.core.errors import UserError, first_of
from ksfusion.terms.gene_columns import is_copy

LEAK, ALLOWED, SAME_CASE, SAME_SIDE, FINE = "leak", "allowed", "same case", "same side", "fine"
# Identifiers whose layout names the patient, in any case and with the signs that other programs put for a hyphen: a
# TCGA barcode's first three fields, wherever it stands in the name; the patient of CPTAC (slide C3L-00016-21) and the
# number after the W of an IvyGAP tumour (W22-1-1 was resected first, W22-2-1 is the recurrence of the same patient),
# with which the name begins.
BARCODE = re.compile(r"(?<![A-Z0-9])TCGA[-._]([A-Z0-9]{2})[-._]([A-Z0-9]{4})(?![A-Z0-9])", re.IGNORECASE)
CPTAC = re.compile(r"(C3[LN])[-._](\d{5})(?!\d)", re.IGNORECASE)
IVYGAP_TUMOUR = re.compile(r"(W\d+)[-._]\d{1,2}[-._]\d{1,2}(?![A-Z0-9])", re.IGNORECASE)
IVYGAP_PATIENT = re.compile(r"W\d+", re.IGNORECASE)
SPECIMENS = ("slide_specimen_id", "expression_specimen_id")
NAMES = (
    "case_id", "tumour_id", *SPECIMENS, "slide_block_id", "expression_block_id", "slide_id", "expression_id"
)  # fmt: skip
REMEDIES = {
    "case_on_two_sides": "put it on one",
    "same_patient": "give them one case_id",
    "same_tumour": "give them one case_id, or each its own tumour_id",
    "same_specimen": "give them one case_id, or each its own specimen id",
    "same_file": "remove one, or list the pair in cohort.allow_duplicates",
    "same_image": "remove one, or list the pair in cohort.allow_duplicates",
    "same_profile": "remove one, or list the pair in cohort.allow_duplicates",
}


class LeakageFinding(NamedTuple):
    """Two things that are one, or what was looked at; a row of ``leakage.tsv``."""

    check: str
    first: str
    second: str
    detail: str
    verdict: str


def find_leaks(
    samples: pd.DataFrame,
    splits: pd.DataFrame,
    slides: pd.DataFrame,
    profiles: pd.DataFrame,
    *,
    allowed: Iterable[tuple[str, str]] = (),
) -> list[LeakageFinding]:
    """Compare the names, slides and profiles of all samples, and the splits that their cases are in.

    Parameters
    ----------
    samples : pandas.DataFrame
        The validated table.
    splits : pandas.DataFrame
        fold, case_id, split.
    slides : pandas.DataFrame, slides x (digest, thumbnail_hash)
        Indexed by slide_id; each slide once.
    profiles : pandas.DataFrame, profiles x genes
        Indexed by cohort and expression_id; a profile's further genes of a symbol are not looked at, nor are genes that
        a cohort lacks.
    allowed
        Pairs of slide_id or expression_id that may be the same file, image or profile.

    Returns
    -------
    list of LeakageFinding
        What was found, the leaks among it with the verdict ``leak``.
    """
    gate = Gate(samples, splits, allowed)
    # Further genes of a symbol, which stand last, are missing in some cohorts: that would hide equal profiles.
    profiles = _in_all_cohorts(profiles.iloc[:, : sum(not is_copy(name) for name in profiles.columns)])
    return [*gate.cases(), *gate.names(), *gate.slides(slides), *gate.profiles(profiles)]


def _in_all_cohorts(profiles: pd.DataFrame) -> pd.DataFrame:
    """Return profiles without the genes of which a cohort has no value, which would hide equal profiles."""
    there = np.ones(len(profiles.columns), dtype=bool)
    for _, table in profiles.groupby(level="cohort"):
        # What the first profile has is there.
        places = np.flatnonzero(there & table.iloc[0].isna().to_numpy())
        there[places] = table.iloc[:, places].notna().any().to_numpy()
    return profiles if there.all() else profiles.loc[:, there]


def refuse_leaks(findings: Iterable[LeakageFinding]) -> None:
    """Raise a UserError with the leaks, if there are any: which two, in which splits, and the remedy."""
    leaks = defaultdict(list)
    for row in findings:
        if row.verdict == LEAK:
            of = " and ".join(name for name in (row.first, row.second) if name)
            leaks[row.check].append(f"{row.check}: {of}: {row.detail}; {REMEDIES[row.check]}")
    if leaks:
        raise UserError("\n".join(line for lines in leaks.values() for line in first_of(lines)))


def patient_of(name: str, *, is_case: bool = False) -> str:
    """Return the patient that an identifier names by its layout, empty where it names none.

    Parameters
    ----------
    name
        Name of a case, tumour, specimen, block, slide or profile.
    is_case
        A case may be called as the patient, W22; of a slide that is only a name.
    """
    if found := BARCODE.search(name):
        return f"TCGA-{found[1]}-{found[2]}".upper()
    if found := CPTAC.match(name):
        return f"{found[1]}-{found[2]}".upper()
    if found := IVYGAP_TUMOUR.match(name):
        return found[1].upper()
    return name.upper() if is_case and IVYGAP_PATIENT.fullmatch(name) else ""


class Gate:
    """The samples and the splits of their cases.

    Parameters
    ----------
    samples
        The validated table.
    splits
        fold, case_id, split.
    allowed
        Pairs of ids that may be duplicates.
    """

    def __init__(self, samples: pd.DataFrame, splits: pd.DataFrame, allowed: Iterable[tuple[str, str]]) -> None:
        self._samples = samples
        self._splits = splits
        self._allowed = {frozenset(pair) for pair in allowed}
        by_fold = splits.drop_duplicates(["fold", "case_id"]).pivot(index="fold", columns="case_id", values="split")
        self._splits_of = {case_id: tuple(by_fold[case_id]) for case_id in by_fold}

    def _differ(self, first: str, second: str) -> str:
        """Return in which splits two cases are in the first fold that parts them; empty where none does."""
        pairs = zip(self._splits_of.get(first, ()), self._splits_of.get(second, ()), strict=False)
        return next((f"{one} and {other}" for one, other in pairs if one != other), "")

    def cases(self) -> Iterator[LeakageFinding]:
        """Yield cases that a fold has in two splits."""
        for (fold, case_id), splits in self._splits.groupby(["fold", "case_id"])["split"]:
            if splits.nunique() > 1:
                detail = f"fold {fold} has it in {' and '.join(sorted(set(splits)))}"
                yield LeakageFinding("case_on_two_sides", case_id, "", detail, LEAK)
        detail = f"{self._splits['case_id'].nunique()} cases in {self._splits['fold'].nunique()} folds"
        yield LeakageFinding("cases", "", "", detail, FINE)

    def names(self) -> Iterator[LeakageFinding]:
        """Yield cases that share a patient, a tumour or a specimen; blocks are often A1, A2, ... in each case."""
        patients: dict[str, set[str]] = defaultdict(set)
        for column in NAMES:
            for name, case_id in self._samples[[column, "case_id"]].drop_duplicates().itertuples(index=False):
                if patient := patient_of(name, is_case=column == "case_id"):
                    patients[patient].add(case_id)
        yield from self._shared("same_patient", patients, always=True)
        yield from self._shared("same_tumour", self._cases_by("tumour_id"))
        yield from self._shared("same_specimen", self._cases_by(*SPECIMENS))

    def _cases_by(self, *columns: str) -> dict[str, set[str]]:
        """Return the cases of each name that stands in one of the columns."""
        found: dict[str, set[str]] = defaultdict(set)
        for column in columns:
            for name, cases in self._samples[self._samples[column] != ""].groupby(column)["case_id"]:
                found[name].update(cases)
        return found

    def _shared(self, check: str, cases_of: dict[str, set[str]], *, always: bool = False) -> Iterator[LeakageFinding]:
        for name, cases in sorted(cases_of.items()):
            first, *others = sorted(cases)
            for second in others:
                splits = self._differ(first, second)
                detail = f"both have {name}, in {splits}" if splits else f"both have {name}"
                yield LeakageFinding(check, first, second, detail, LEAK if splits or always else SAME_SIDE)

    def slides(self, slides: pd.DataFrame) -> Iterator[LeakageFinding]:
        """Yield slides that are the same file, or nearly the same image."""
        case_of = dict(zip(self._samples["slide_id"], self._samples["case_id"], strict=True))
        slides = slides[slides.index.isin(case_of)]
        digests, hashes = ({k: v for k, v in slides[name].items() if v} for name in ("digest", "thumbnail_hash"))
        files = list(equal_values(digests))
        yield from self._duplicates("same_file", files, case_of)
        same = {frozenset(pair[:2]) for pair in files}
        images, nearest = close_images(hashes)
        yield from self._duplicates("same_image", [pair for pair in images if frozenset(pair[:2]) not in same], case_of)
        yield LeakageFinding("slides", "", "", f"{len(digests)} files, {len(hashes)} images", FINE)
        if nearest:
            detail = f"of all images that are none of these the closest two; {nearest.detail}; a copy is below"
            yield LeakageFinding("nearest_images", nearest.first, nearest.second, f"{detail} {MAX_DISTANCE:.0%}", FINE)

    def profiles(self, profiles: pd.DataFrame) -> Iterator[LeakageFinding]:
        """Yield profiles that are identical to the last digit."""
        names = self._samples["cohort"] + "/" + self._samples["expression_id"]
        case_of = dict(zip(names, self._samples["case_id"], strict=True))
        yield from self._duplicates("same_profile", equal_profiles(profiles, case_of), case_of)
        compared = sum(f"{cohort}/{name}" in case_of for cohort, name in profiles.index)
        yield LeakageFinding("profiles", "", "", f"{compared} profiles of {profiles.shape[1]} genes", FINE)

    def _duplicates(self, check: str, pairs: Iterable[Pair], case_of: dict[str, str]) -> Iterator[LeakageFinding]:
        for first, second, detail in pairs:
            cases = case_of[first], case_of[second]
            names = frozenset(name.rpartition("/")[2] for name in (first, second))
            if cases[0] == cases[1]:
                verdict = SAME_CASE
            else:
                verdict = ALLOWED if names in self._allowed else LEAK
                splits = self._differ(*cases)
                detail += f"; cases {cases[0]} and {cases[1]}" + (f", in {splits}" if splits else "")
            yield LeakageFinding(check, first, second, detail, verdict)
