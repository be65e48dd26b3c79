"""Searches of settings on the drawn cohort."""

import json

from training_cohort import DIAGNOSIS, SETTINGS, epochs

from ksfusion.core.storage import read_tsv
from ksfusion.stages.search_settings import search_settings
from ksfusion.training.config import SearchSettings

SPACE = {"lr": (1e-4, 1e-2), "weight_decay": (1e-4, 1e-1), "dropout": (0.0, 0.5)}


SHORT = epochs(DIAGNOSIS, 3)


def settings_of(*, task=SHORT, space=SPACE, trials=3, **settings) -> SearchSettings:
    """Return the settings of a search, with some of training."""
    training = SETTINGS.model_copy(update=settings)
    return SearchSettings(task=task, training=training, space=space, trials=trials, seed=0)


def search(cohort, name: str, *, method="snn", **settings):
    """Search, and return the choice and the table of trials, in files of a folder of that name."""
    folder = cohort.folder / name
    search_settings(
        cohort.files,
        chosen=folder / "chosen.json",
        trials=folder / "trials.tsv",
        method=method,
        fold=0,
        settings=settings_of(**settings),
        device="cpu",
    )
    return json.loads((folder / "chosen.json").read_text()), read_tsv(folder / "trials.tsv")
