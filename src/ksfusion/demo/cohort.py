"""The demo cohort: invented cases whose slides, expression, labels and survival follow from planted latent scores.

The model
---------
1. A case has three axes: ``malignancy``, ``lineage`` and ``tme`` (microenvironment). Of each there are two views, one
   that its slides show and one that its genes do: standard normals with a correlation of `SHARED`. What the case is, is
   the mean of its two views, brought to unit variance. In each view ``tme`` has a correlation of `TME_FOLLOWS` with
   malignancy.
2. Diagnosis: the more malignant `MALIGNANT` of all cases are glioblastomas where lineage is low and astrocytomas, grade
   4 where it is high; the others are astrocytomas where it is low and oligodendrogliomas where it is high. The borders
   give the frequencies in `DIAGNOSES`. By the same borders the slides' own view has the look of one of the four
   diagnoses (``look``), and that of the genes its programme (``programme``): often not the case's.
3. Amounts: ``tumour`` (how dense and atypical the tumour is) and ``tme``, in 0..1, rise in proportion to malignancy and
   tme, of the case and of each view (``slide_tumour``, ``gene_tumour``, ...).
4. Grade: a glioblastoma is G4; an astrocytoma, grade 4 is G4, or G3 with a homozygous CDKN2A deletion; of the others
   the more malignant half is G3, the rest G2. The markers follow from diagnosis and grade.
5. Survival: the log hazard is that of the diagnosis (`DIAGNOSES`) plus 2.5 tumour + 1.5 tme; times are exponential with
   a median of about three years at the cohort's mean hazard, censored at a uniform time of follow-up.
6. Slides are drawn from the look and the amounts of their view, expression from the programme and the amounts of its
   own (`ksfusion.demo.appearance`, `ksfusion.demo.expression`), neither from the labels. So each label is half in the
   slides and half in the genes, and whole only in both (docs/demo.md says how much).

One cohort has the layout of the GDC; the other that of IvyGAP, all glioblastomas, with several blocks per tumour.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.ids import stable_hash
from ksfusion.terms.units import GDC_STAR, IVYGAP

SEED = 20240
GDC_COHORT, IVY_COHORT = "demo-gdc", "demo-ivygap"
SITES = 6


@dataclass(frozen=True)
class Diagnosis:
    """What the model says of one diagnosis."""

    frequency: float
    log_hazard: float


DIAGNOSES = {
    "glioblastoma": Diagnosis(0.34, 1.0),
    "astrocytoma_g4": Diagnosis(0.18, 0.4),
    "astrocytoma": Diagnosis(0.24, -0.4),
    "oligodendroglioma": Diagnosis(0.24, -1.0),
}
MALIGNANT = DIAGNOSES["glioblastoma"].frequency + DIAGNOSES["astrocytoma_g4"].frequency
# Correlation of what the slides show of an axis with what the genes do. Nought: each has half of it, which the other
# does not know; one: each has it all.
SHARED = 0.2
# Correlation of the microenvironment with malignancy, in each view.
TME_FOLLOWS = 0.5
# Mean and standard deviation of the amounts.
TUMOUR, TME = (0.56, 0.20), (0.46, 0.18)
GDC_CASES, IVY_CASES = 88, 12


# What of a case its slides are drawn from, and what its expression is: kind, amount of tumour, of microenvironment.
SLIDE_LATENTS = ("look", "slide_tumour", "slide_tme")
GENE_LATENTS = ("programme", "gene_tumour", "gene_tme")


@dataclass(frozen=True)
class View:
    """The axes of a case, as its slides or its genes show them, or as they are: each a standard normal."""

    malignancy: float
    lineage: float
    tme: float

    @property
    def diagnosis(self) -> str:
        """Return the diagnosis of a case whose axes these are."""
        high, low = list(DIAGNOSES)[:2], list(DIAGNOSES)[2:]
        first, second = high if self.malignancy > _quantile(1 - MALIGNANT) else low
        share = DIAGNOSES[first].frequency / (DIAGNOSES[first].frequency + DIAGNOSES[second].frequency)
        return first if self.lineage < _quantile(share) else second

    def amounts(self) -> tuple[float, float]:
        """Return the amounts of tumour and of microenvironment, 0..1."""
        scaled = (
            mean + sd * value for (mean, sd), value in zip((TUMOUR, TME), (self.malignancy, self.tme), strict=True)
        )
        tumour, tme = (round(min(max(amount, 0.02), 0.98), 4) for amount in scaled)
        return tumour, tme


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def draw_views(random: np.random.Generator) -> tuple[View, View, View]:
    """Draw a case: what its slides show, what its genes show, and what it is."""
    common, *own = random.normal(size=(3, 3))
    seen = [math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * alone for alone in own]
    for view in seen:
        view[2] = TME_FOLLOWS * view[0] + math.sqrt(1 - TME_FOLLOWS**2) * view[2]
    whole = sum(seen) / math.sqrt(2 * (1 + SHARED))
    slides, genes, case = (View(*map(float, view)) for view in (*seen, whole))
    return slides, genes, case


def draw_cases(seed: int = SEED, *, gdc: int = GDC_CASES, ivy: int = IVY_CASES) -> pd.DataFrame:
    """Draw the cases with their latent scores, labels and survival.

    Parameters
    ----------
    seed
        Seed of all draws.
    gdc, ivy
        Number of cases of each cohort; those of the IvyGAP layout are glioblastomas.

    Returns
    -------
    pandas.DataFrame
        case_id, cohort, diagnosis, tumour, tme, look, slide_tumour, slide_tme, programme, gene_tumour, gene_tme, site,
        idh, codel_1p19q, cdkn2a, grade, survival_days, event, age, sex.
    """
    random = np.random.default_rng(seed)
    rows = []
    for number in range(gdc + ivy):
        is_ivy = number >= gdc
        slides, genes, case = draw_views(random)
        while is_ivy and case.diagnosis != "glioblastoma":
            slides, genes, case = draw_views(random)
        diagnosis, (tumour, tme) = case.diagnosis, case.amounts()
        days, event = _draw_survival(random, DIAGNOSES[diagnosis].log_hazard + 2.5 * tumour + 1.5 * tme)
        rows.append(
            {
                "case_id": f"KI-{number - gdc + 1:03d}" if is_ivy else f"KG-{number + 1:03d}",
                "cohort": IVY_COHORT if is_ivy else GDC_COHORT,
                "diagnosis": diagnosis,
                "tumour": tumour,
                "tme": tme,
                SLIDE_LATENTS[0]: slides.diagnosis,
                **dict(zip(SLIDE_LATENTS[1:], slides.amounts(), strict=True)),
                GENE_LATENTS[0]: genes.diagnosis,
                **dict(zip(GENE_LATENTS[1:], genes.amounts(), strict=True)),
                "site": SITES - 1 if is_ivy else int(random.integers(SITES - 1)),
                # Half of the less malignant cases.
                **_markers(random, diagnosis, case.malignancy > _quantile((1 - MALIGNANT) / 2)),
                "survival_days": days,
                "event": event,
                "age": int(np.clip(random.normal(60 if diagnosis == "glioblastoma" else 44, 11), 18, 88)),
                "sex": str(random.choice(["female", "male"])),
            }
        )
    return pd.DataFrame(rows)


def _markers(random: np.random.Generator, diagnosis: str, aggressive: bool) -> dict[str, str]:
    """Return markers and grade from which the diagnosis follows (the reverse of `ksfusion.cohort.labels.diagnose`)."""
    if diagnosis == "glioblastoma":
        cdkn2a = "homdel" if random.random() < 0.55 else "intact"
        return {"idh": "WT", "codel_1p19q": "non-codel", "cdkn2a": cdkn2a, "grade": "G4"}
    if diagnosis == "astrocytoma_g4":
        grade = "G4" if random.random() < 0.75 else "G3"
        cdkn2a = "homdel" if grade == "G3" or random.random() < 0.5 else "intact"
        return {"idh": "Mutant", "codel_1p19q": "non-codel", "cdkn2a": cdkn2a, "grade": grade}
    codel = "codel" if diagnosis == "oligodendroglioma" else "non-codel"
    return {"idh": "Mutant", "codel_1p19q": codel, "cdkn2a": "intact", "grade": "G3" if aggressive else "G2"}


def _draw_survival(random: np.random.Generator, log_hazard: float) -> tuple[int, int]:
    mean_log_hazard = sum(model.frequency * model.log_hazard for model in DIAGNOSES.values())
    mean_log_hazard += 2.5 * TUMOUR[0] + 1.5 * TME[0]
    median = 3 * 365.25 * math.exp(mean_log_hazard - log_hazard)
    time = random.exponential(median / math.log(2))
    follow_up = random.uniform(365, 10 * 365.25)
    return max(1, round(min(time, follow_up))), int(time <= follow_up)


def draw_samples(cases: pd.DataFrame, seed: int = SEED) -> pd.DataFrame:
    """Draw the samples of the cases, with the physical size and scale of each slide.

    Most cases have one slide and one profile; some have a second slide that shares the profile, and tumours of the
    IvyGAP layout may have a second block with a profile of its own. One sample has no slide and one has no profile, as
    real tables do.

    Returns
    -------
    pandas.DataFrame
        The columns of the sample table, and case-level latents, slide_width_um, slide_height_um, slide_mpp.
    """
    random = np.random.default_rng([seed, 1])
    rows: list[dict[str, Any]] = []
    for case in cases.itertuples():
        ivy = case.cohort == IVY_COHORT
        count = 2 if random.random() < (0.33 if ivy else 0.05) else 1
        for number in range(1, count + 1):
            slide_id = f"{case.case_id}-W{number}" if ivy else f"{case.case_id}-DX{number}"
            block = f"{case.case_id}-{number}" if ivy else ""
            profile = f"3{1000 * int(case.case_id[3:]) + number}" if ivy else _uuid(random)
            if number > 1 and not ivy:
                profile = rows[-1]["expression_id"]
            width, height, mpp = _slide_size(random)
            rows.append(
                {
                    "sample_id": slide_id,
                    "case_id": case.case_id,
                    "cohort": case.cohort,
                    "slide": f"slides/{slide_id}.tiff",
                    "expression_id": profile,
                    "site": f"site-{case.site}",
                    "tumour_id": f"{case.case_id}-T",
                    "slide_block_id": block,
                    "expression_block_id": block,
                    "slide_width_um": width,
                    "slide_height_um": height,
                    "slide_mpp": mpp,
                }
            )
    samples = pd.DataFrame(rows)
    samples.loc[samples["sample_id"] == "KG-017-DX1", "slide"] = ""
    samples.loc[samples["sample_id"] == "KG-043-DX1", "expression_id"] = ""
    return samples


def _uuid(random: np.random.Generator) -> str:
    digits = random.bytes(16).hex()
    return "-".join((digits[:8], digits[8:12], "4" + digits[13:16], "a" + digits[17:20], digits[20:]))


def _slide_size(random: np.random.Generator) -> tuple[float, float, float]:
    """Draw width and height in micrometres and the scale: about one slide in eight was scanned at 0.25 um/px."""
    fine = random.random() < 0.12
    area_mm2 = random.uniform(0.6, 0.9) if fine else random.choice([random.uniform(1.3, 2.2), 2.7], p=[0.92, 0.08])
    aspect = random.uniform(0.8, 1.3)
    width = 1000 * math.sqrt(area_mm2 * aspect)
    height = 1000 * math.sqrt(area_mm2 / aspect)
    return round(width / 8) * 8.0, round(height / 8) * 8.0, 0.25 if fine else 0.5


def planted_samples() -> pd.DataFrame:
    """Return every sample of the demo with its slide's size and what its case's slides and genes show."""
    cases = draw_cases(SEED)
    samples = draw_samples(cases, SEED).drop(columns=["site"])
    return samples.merge(cases[["case_id", *SLIDE_LATENTS, *GENE_LATENTS, "site"]], on="case_id")


def planted_profiles(expression_ids: Collection[str]) -> pd.DataFrame:
    """Return profiles of the demo as `ksfusion.demo.expression.write_expression` draws them.

    Parameters
    ----------
    expression_ids
        Profiles to draw; the demo's table of samples names them.
    """
    planted = planted_samples()
    profiles = planted[planted["expression_id"].isin(set(expression_ids))].drop_duplicates("expression_id").copy()
    profiles[["diagnosis", "tumour", "tme"]] = profiles[list(GENE_LATENTS)]
    profiles["layout"] = np.where(profiles["cohort"] == IVY_COHORT, IVYGAP, GDC_STAR)
    profiles["library"] = [stable_hash(text) / 2**32 - 0.5 for text in profiles["expression_id"]]
    profiles["tumor_name"] = profiles["case_id"]
    profiles["block_name"] = profiles["slide_block_id"]
    profiles["specimen_name"] = profiles["sample_id"]
    return profiles


CASE_TABLE = ["case_id", "idh", "codel_1p19q", "cdkn2a", "grade", "survival_days", "event", "age", "sex"]
SAMPLE_TABLE = [
    "sample_id",
    "case_id",
    "cohort",
    "slide",
    "expression_id",
    "site",
    "tumour_id",
    "slide_block_id",
    "expression_block_id",
]


def sample_table(seed: int = SEED) -> pd.DataFrame:
    """Return the demo's samples as a user would have them, without the planted truth."""
    return draw_samples(draw_cases(seed), seed)[SAMPLE_TABLE]


def case_table(seed: int = SEED) -> pd.DataFrame:
    """Return the demo's cases as a user would have them, without the planted truth."""
    table = draw_cases(seed)[CASE_TABLE].astype(object)
    # Real tables have gaps: a grade and a marker that were never reported, a patient lost at once.
    table.loc[table["case_id"] == "KG-009", "grade"] = ""
    table.loc[table["case_id"] == "KG-030", "codel_1p19q"] = ""
    table.loc[table["case_id"] == "KG-051", ["survival_days", "event"]] = ""
    return table
