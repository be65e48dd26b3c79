"""What each gene of the demo is bound to tell of diagnosis, grade and survival, by the stated model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ksfusion.demo.cohort import DIAGNOSES as KINDS
from ksfusion.demo.expression import (
    DIAGNOSES,
    GENE_NOISE,
    OWN_EFFECTS,
    PROGRAMME_NOISE,
    PROGRAMMES,
    TME_CATEGORY_NOISE,
    TME_NOISE,
    TME_SLOPE,
)


def planted_effects(genes: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return how far each gene of the sets follows what tasks predict, by the model of `ksfusion.demo.expression`.

    Parameters
    ----------
    genes
        As `draw_genes` returns them.
    cases
        Rows of `ksfusion.demo.cohort.draw_cases`.

    Returns
    -------
    pandas.DataFrame
        task, class (of survival ``risk``), symbol, and ``correlation`` over the cases of the gene's level with the
        class, or the log hazard, as the model has it: the noise of programme, category and gene included, that of
        counting left out.
    """
    genes = genes[genes["niche"] != ""].reset_index(drop=True)
    kind = cases["programme"].map(dict(zip(DIAGNOSES, range(len(DIAGNOSES)), strict=True))).to_numpy()
    tme = TME_SLOPE * (cases["gene_tme"].to_numpy() - 0.5)
    score = dict.fromkeys(genes.loc[genes["niche"] == "tme", "category"], tme)
    for programme, (means, slope) in PROGRAMMES.items():
        score[programme] = np.array(means)[kind] + slope * (cases["gene_tumour"].to_numpy() - 0.5)
    noise = {"tumour": PROGRAMME_NOISE**2, "tme": TME_NOISE**2 + TME_CATEGORY_NOISE**2}
    loading = genes["loading"].to_numpy()
    own = np.array([OWN_EFFECTS.get(symbol, (0.0,) * len(DIAGNOSES)) for symbol in genes["symbol"]])[:, kind]
    levels = loading[:, None] * np.stack([score[category] for category in genes["category"]]) + own  # (genes, cases)
    variance = levels.var(axis=1) + loading**2 * genes["niche"].map(noise).to_numpy() + GENE_NOISE**2
    centred = levels - levels.mean(axis=1, keepdims=True)
    return pd.concat(
        [
            pd.DataFrame({"task": task, "class": name, "symbol": genes["symbol"]}).assign(
                correlation=centred @ (of - of.mean()) / len(of) / of.std() / np.sqrt(variance)
            )
            for (task, name), of in planted_outcomes(cases).items()
        ],
        ignore_index=True,
    )


def planted_outcomes(cases: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Return of each task and class whether cases are of it, 0 or 1, and of survival's ``risk`` their log hazard."""
    found = {("diagnosis", name): (cases["diagnosis"] == name).to_numpy(float) for name in DIAGNOSES}
    found |= {("grading", name): (cases["grade"] == name).to_numpy(float) for name in ("G2", "G3", "G4")}
    # As `ksfusion.demo.cohort.draw_cases` has it.
    of_diagnosis = np.array([KINDS[name].log_hazard for name in cases["diagnosis"]])
    found["survival", "risk"] = of_diagnosis + (2.5 * cases["tumour"] + 1.5 * cases["tme"]).to_numpy(float)
    return found
