"""The demo cohort: invented cases whose slides, expression, labels and survival follow from planted latent scores.

The model
---------
1. A case has one of the four diagnoses, with the frequencies in `DIAGNOSES`.
2. Its latent scores, both in 0..1, are drawn round the mean of its diagnosis: ``tumour`` (how dense and atypical the
   tumour is) and ``tme`` (how much microenvironment: lymphocytes, vessels).
3. Grade: a glioblastoma is G4; an astrocytoma, grade 4 is G4, or G3 with a homozygous CDKN2A deletion; the others are
   G3 where ``tumour`` is above the mean of their diagnosis, else G2. The markers follow from diagnosis and grade.
4. Survival: the log hazard is ``HAZARD_OF[diagnosis] + 2.5 tumour + 1.5 tme``; times are exponential with a median of
   about three years at the cohort's mean hazard, censored at a uniform time of follow-up.
5. Slides and expression are drawn from diagnosis and latent scores only (`ksfusion.demo.slides`,
   `ksfusion.demo.expression`), never from the labels.

One cohort has the layout of the GDC; the other that of IvyGAP, all glioblastomas, with several blocks per tumour.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
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
    tumour: float
    tme: float
    log_hazard: float


DIAGNOSES = {
    "glioblastoma": Diagnosis(0.34, 0.78, 0.62, 1.0),
    "astrocytoma_g4": Diagnosis(0.18, 0.66, 0.50, 0.4),
    "astrocytoma": Diagnosis(0.24, 0.36, 0.36, -0.4),
    "oligodendroglioma": Diagnosis(0.24, 0.44, 0.28, -1.0),
}
LATENT_SD = 0.13
GDC_CASES, IVY_CASES = 88, 12


def draw_cases(seed: int = SEED) -> pd.DataFrame:
    """Draw the cases with their latent scores, labels and survival.

    Returns
    -------
    pandas.DataFrame
        case_id, cohort, diagnosis, tumour, tme, site, idh, codel_1p19q, cdkn2a, grade, survival_days, event, age, sex.
    """
    random = np.random.default_rng(seed)
    names = list(DIAGNOSES)
    frequencies = [DIAGNOSES[name].frequency for name in names]
    rows = []
    for number in range(GDC_CASES + IVY_CASES):
        ivy = number >= GDC_CASES
        diagnosis = "glioblastoma" if ivy else str(random.choice(names, p=frequencies))
        model = DIAGNOSES[diagnosis]
        tumour = float(np.clip(random.normal(model.tumour, LATENT_SD), 0.02, 0.98))
        tme = float(np.clip(random.normal(model.tme, LATENT_SD), 0.02, 0.98))
        days, event = _draw_survival(random, model.log_hazard + 2.5 * tumour + 1.5 * tme)
        rows.append(
            {
                "case_id": f"KI-{number - GDC_CASES + 1:03d}" if ivy else f"KG-{number + 1:03d}",
                "cohort": IVY_COHORT if ivy else GDC_COHORT,
                "diagnosis": diagnosis,
                "tumour": round(tumour, 4),
                "tme": round(tme, 4),
                "site": SITES - 1 if ivy else int(random.integers(SITES - 1)),
                **_markers(random, diagnosis, tumour > model.tumour),
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
    mean_log_hazard = sum(
        model.frequency * (model.log_hazard + 2.5 * model.tumour + 1.5 * model.tme) for model in DIAGNOSES.values()
    )
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
    """Return every sample of the demo with its slide's size and its case's latent scores."""
    cases = draw_cases(SEED)
    samples = draw_samples(cases, SEED).drop(columns=["site"])
    return samples.merge(cases[["case_id", "diagnosis", "tumour", "tme", "site"]], on="case_id")


def planted_profiles(expression_ids: Collection[str]) -> pd.DataFrame:
    """Return profiles of the demo as `ksfusion.demo.expression.write_expression` draws them.

    Parameters
    ----------
    expression_ids
        Which profiles; the demo's sample table names them.
    """
    planted = planted_samples()
    profiles = planted[planted["expression_id"].isin(set(expression_ids))].drop_duplicates("expression_id").copy()
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
