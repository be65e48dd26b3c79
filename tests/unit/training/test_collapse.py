"""A model whose output is the same for every sample has collapsed: it is a row with its reason and the remedy."""

import logging

import pandas as pd
import pytest
import torch
from training_cohort import DIAGNOSIS, SURVIVAL, epochs, read_metrics

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.config import ShownTask
from ksfusion.results.runs import read_runs
from ksfusion.results.tables.scores import result_table
from ksfusion.stages.fit_baseline import fit_baseline
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.checkpoint import load_model
from ksfusion.training.collapse import is_collapsed, why_collapsed
from ksfusion.training.config import FitBaselineSettings, RunSettings


@pytest.mark.parametrize(
    ("logits", "kind", "expected"),
    [
        ([[0.3, -0.3], [0.3, -0.3]], "classification", True),
        ([[0.3, -0.3], [0.30001, -0.3]], "classification", True),
        ([[0.3, -0.3], [0.3001, -0.3]], "classification", False),
        # What is common to all classes changes no probability.
        ([[0.3, -0.3], [5.3, 4.7]], "classification", True),
        ([[0.3, -0.3], [5.3, 4.7]], "survival", False),
        # float32's noise on large logits.
        ([[900.0], [900.005]], "survival", True),
        ([[900.0], [900.05]], "survival", False),
        ([[0.3, -0.3]], "classification", False),
        ([[0.3]], "regression", False),
    ],
)
def test_what_counts_as_the_same(logits, kind, expected):
    found = is_collapsed(torch.tensor(logits), kind)
    assert found is expected


def test_the_remedy_names_the_settings():
    logits = torch.zeros(3, 1)
    assert why_collapsed(logits, "survival", RunSettings(weight_decay=0.1, lr=0.01)) == (
        "collapsed: the output of the kept epoch is the same for every sample; lower training.weight_decay (0.1) or "
        "lower training.lr (0.01), or train for more epochs"
    )
    assert "weight_decay" not in why_collapsed(logits, "survival", RunSettings(weight_decay=0))
    assert why_collapsed(torch.tensor([[0.0], [1.0]]), "survival", RunSettings()) == ""


@pytest.mark.parametrize(
    ("method", "task"),
    [("snn", epochs(DIAGNOSIS, 30)), pytest.param("ksfusion", epochs(SURVIVAL, 12), marks=pytest.mark.slow)],
    ids=["snn", "ksfusion"],
)
def test_decay_that_takes_all_weights_to_zero_is_noticed(cohort, caplog, method, task):
    # Without validation labels the last epoch is kept.
    cohort.relabel(cohort.cases_of("val"), label_diagnosis=pd.NA, event_survival=pd.NA)
    with caplog.at_level(logging.WARNING):
        cohort.train_seeds({0: cohort.folder / "seed0"}, task=task, method=method, weight_decay=20.0, lr=0.02)
    ordinary = cohort.train("ordinary", task=epochs(task, 2), method=method, seed=1)
    folder = cohort.folder / "seed0"
    metrics = read_metrics(folder)
    assert metrics["status"] == "collapsed" and "lower training.weight_decay (20)" in metrics["reason"]
    assert metrics["reason"] in caplog.text and metrics["best_epoch"] == task.epochs
    assert len(read_tsv(folder / "history.tsv")) == task.epochs and read_parquet(folder / "predictions.parquet").empty
    with pytest.raises(UserError, match="collapsed, and has no model"):
        load_model(folder)
    assert read_metrics(ordinary)["status"] == "ok"
    # The tables have the reason in the place of a value, and say how many runs it is of.
    shown = ShownTask.of(task)
    collapsed = result_table(read_runs([folder], [shown]), tasks=[shown], methods=[method], resamples=100)
    assert collapsed["mean"].isna().all() and collapsed["reason"].str.startswith("collapsed: ").all()
    both = result_table(read_runs([folder, ordinary], [shown]), tasks=[shown], methods=[method], resamples=100)
    of_all = both[(both["cohort"] == "all") & (both["fold"] == "all")]
    assert of_all["mean"].notna().any() and of_all["reason"].str.startswith("1 of 2 runs skipped: collapsed: ").all()


def test_a_baseline_that_knows_nothing_is_not_called_so(cohort):
    """The cases are of one cohort: the same probabilities for each."""
    settings = FitBaselineSettings(task=TaskOutcome.of(DIAGNOSIS))
    folder = cohort.folder / "baseline"
    fit_baseline(cohort.files, [folder], method="cohort", fold=0, seed=[0], settings=[settings])
    assert read_metrics(folder)["status"] == "ok"
    assert read_parquet(folder / "predictions.parquet").filter(regex="prob").round(12).nunique().eq(1).all()
