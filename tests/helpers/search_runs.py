"""Searches of settings on the drawn cohort."""

import json

from training_cohort import DIAGNOSIS, SETTINGS

from ksfusion.core.storage import read_tsv
from ksfusion.training.search import search_settings

SPACE = {"lr": [1e-4, 1e-2], "weight_decay": [1e-4, 1e-1], "dropout": [0.0, 0.5]}


SHORT = {**DIAGNOSIS, "epochs": 3}


def search(cohort, name: str, *, task=SHORT, method="snn", space=SPACE, n_trials=3, **settings):
    """Search, and return the choice and the table of trials, in files of a folder of that name."""
    folder = cohort.folder / name
    search_settings(
        *cohort.files,
        chosen=folder / "chosen.json",
        trials=folder / "trials.tsv",
        task=task,
        method=method,
        fold=0,
        seed=0,
        settings={**SETTINGS, **settings},
        space=space,
        n_trials=n_trials,
    )
    return json.loads((folder / "chosen.json").read_text()), read_tsv(folder / "trials.tsv")
