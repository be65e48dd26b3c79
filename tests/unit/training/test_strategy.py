"""What a method asks of training: losses of its own, and the released code's ways."""

import json

import numpy as np
import pandas as pd
import pytest
from training_cohort import DIAGNOSIS, SURVIVAL, epochs, read_metrics

from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.training.objective import Classification
from ksfusion.training.step import training_step

pytestmark = pytest.mark.slow


def test_translation_losses_are_part_of_the_loss(cohort):
    history = read_tsv(cohort.train("run", method="cmta", task=epochs(DIAGNOSIS, 1)) / "history.tsv")
    parts = history["task_loss"] + 0.5 * (history["translation_patches"] + history["translation_genes"])
    np.testing.assert_allclose(history["train_loss"], parts, rtol=1e-5)


def test_released_survival_intervals_are_quartiles_of_all_training_cases(cohort):
    folder = cohort.train("run", method="ksfusion-released", task=epochs(SURVIVAL, 1))
    cases = read_parquet(cohort.folder / "cases.parquet").set_index("case_id")
    days = cases.loc[cohort.cases_of("train"), "days_survival"]
    bins = json.loads((folder / "config.json").read_text())["bins"]
    np.testing.assert_allclose(bins, days.quantile([0.25, 0.5, 0.75]))


@pytest.mark.parametrize(("batch_size", "expected"), [(8, [8] * 4), (20, [20]), (50, [37])])
def test_released_training_drops_the_last_batch_unless_it_is_the_only_one(cohort, monkeypatch, batch_size, expected):
    """Of 48 training samples the first eight cases have 11: every third case has two."""
    seen = []

    def spy(*args, **kwargs):
        seen.append(len(args[-1]))
        return training_step(*args, **kwargs)

    cohort.relabel(cohort.cases_of("train")[:8], label_diagnosis=pd.NA)
    monkeypatch.setattr("ksfusion.training.fit.training_step", spy)
    cohort.train("run", method="ksfusion-released", task=epochs(DIAGNOSIS, 1), batch_size=batch_size)
    assert seen == expected


@pytest.mark.parametrize("method", ["ksfusion-released", "ksfusion"])
def test_the_learning_rate_is_stepped_by_epoch_where_the_released_code_does(cohort, monkeypatch, method):
    """(1 + cos 0) / 2, (1 + cos 60 degrees) / 2 and (1 + cos 120 degrees) / 2 of the first, in three epochs.

    By step, the middle of an epoch of two steps has (1 + cos 30 degrees) / 2 and so on.
    """
    seen = []

    def spy(model, optimiser, *args, **kwargs):
        seen.append(optimiser.param_groups[0]["lr"])
        return training_step(model, optimiser, *args, **kwargs)

    monkeypatch.setattr("ksfusion.training.fit.training_step", spy)
    folder = cohort.train("run", method=method, task=epochs(DIAGNOSIS, 3), batch_size=24)
    root = np.sqrt(3)
    by_step = [1, (2 + root) / 4, 0.75, 0.5, 0.25, (2 - root) / 4]
    by_epoch = [1, 1, 0.75, 0.75, 0.25, 0.25]
    np.testing.assert_allclose(seen, 1e-3 * np.array(by_epoch if method == "ksfusion-released" else by_step))
    np.testing.assert_allclose(read_tsv(folder / "history.tsv")["learning_rate"], [1e-3, 0.75e-3, 0.25e-3])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "best", "name"), [("ksfusion-released", 3, "auc_or_accuracy"), ("ksfusion", 2, "auc")]
)
def test_released_training_keeps_an_epoch_for_its_accuracy_too(cohort, monkeypatch, method, best, name):
    """The third epoch is kept for its accuracy; the next two are below its AUC and its accuracy, if not the first's.

    The last has its AUC and a lower loss: no improvement for the released code.
    """
    scores, accuracies = iter([0.5, 0.6, 0.55, 0.54, 0.5, 0.55]), iter([0.5, 0.4, 0.7, 0.6, 0.7, 0.7])
    losses = iter([0.9, 0.8, 0.8, 0.8, 0.8, 0.7])
    loss = Classification.loss

    def validated(self, logits, *args, **kwargs):
        value = loss(self, logits, *args, **kwargs)
        return value if logits.requires_grad else value * 0 + next(losses)

    monkeypatch.setattr(Classification, "loss", validated)
    monkeypatch.setattr(Classification, "score", lambda *_: next(scores))
    monkeypatch.setattr(Classification, "accuracy", lambda *_: next(accuracies))
    metrics = read_metrics(cohort.train("run", method=method, task=epochs(DIAGNOSIS, 6)))
    assert (metrics["best_epoch"], metrics["selected_by"]) == (best, name)
