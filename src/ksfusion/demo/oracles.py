"""What could be known of the demo's cases: plain models that read the planted latents in place of slides and genes.

Each is a ridge on standardised latents with the penalty of one observation: logistic regression over the classes, or
Cox regression. The kinds (``look``, ``programme``) are indicators. One that reads both views adds their effects up.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ksfusion.demo.cohort import DIAGNOSES, GENE_LATENTS, SLIDE_LATENTS
from ksfusion.terms.oracles import ORACLES

VIEWS = {"p": SLIDE_LATENTS, "g": GENE_LATENTS}
PENALTY = 1.0


def known_latents(cases: pd.DataFrame, oracle: str) -> np.ndarray:
    """Return what an oracle knows of cases.

    Parameters
    ----------
    cases
        Rows of `ksfusion.demo.cohort.draw_cases`.
    oracle
        A key of `ksfusion.terms.oracles.ORACLES`.

    Returns
    -------
    numpy.ndarray of shape (n, 6 for each view)
        Indicators of the four kinds, and the amounts of tumour and microenvironment.
    """
    _, modalities = ORACLES[oracle]
    parts = []
    for kind, *amounts in (VIEWS[modality] for modality in modalities):
        parts += [cases[[kind]].to_numpy() == np.array(list(DIAGNOSES)), cases[amounts].to_numpy()]
    return np.concatenate(parts, axis=1).astype(float)


def predict_classes(known: np.ndarray, y: np.ndarray, asked: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the probabilities (m, n_classes) that an oracle gives.

    Parameters
    ----------
    known, y : numpy.ndarray of shape (n, d) and (n,)
        Training data: latents and class numbers, of which there are two at least.
    asked : numpy.ndarray of shape (m, d)
        Latents of those it is asked about.
    n_classes
        Number of classes; one that is not learned has probability 0.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / PENALTY, max_iter=1000)).fit(known, y)
    probabilities = np.zeros((len(asked), n_classes))
    probabilities[:, model.classes_.astype(int)] = model.predict_proba(asked)
    return probabilities


def predict_risk(known: np.ndarray, days: np.ndarray, event: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the risk (m,) that an oracle gives.

    Parameters
    ----------
    known, days, event : numpy.ndarray of shape (n, d), (n,) and (n,)
        Training data: latents, times, and whether the case died, as one at least did.
    asked : numpy.ndarray of shape (m, d)
        Latents of those it is asked about.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    model = make_pipeline(StandardScaler(), CoxPHSurvivalAnalysis(alpha=PENALTY))
    risk: np.ndarray = model.fit(known, Surv.from_arrays(event.astype(bool), days)).predict(asked)
    return risk
