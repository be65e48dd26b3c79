"""Regression, and survival by Cox or with other cuts: what is asked of a model, and training on a planted signal."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sksurv.metrics import concordance_index_censored
from training_cohort import SURVIVAL, read_metrics

from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.terms.tasks import SurvivalModel, TaskOutcome
from ksfusion.training.checkpoint import load_model
from ksfusion.training.config import TrainedTask
from ksfusion.training.coordination import coordinate_classifier
from ksfusion.training.objective import Regression, objective_class
from ksfusion.training.strategy import Strategy

pytestmark = pytest.mark.usefixtures("one_thread")

NUMBER = TrainedTask(name="age", kind="regression", epochs=8)
COX = SURVIVAL.model_copy(update={"survival": SurvivalModel(loss="cox")})


def fitted(values, weights=None):
    train = pd.DataFrame({"y": values})
    weights = np.ones(len(values)) if weights is None else np.array(weights)
    return objective_class(NUMBER).fit(train, weights, NUMBER, Strategy())


def test_a_number_is_learned_on_the_scale_of_the_training_samples():
    objective = fitted([10.0, 20, 30], [1, 1, 2])
    # Mean (10 + 20 + 60) / 4, variance (12.5^2 + 2.5^2 + 2 x 7.5^2) / 4.
    assert (objective.mean, objective.sd) == pytest.approx((22.5, np.sqrt(275 / 4)))
    truth = objective.truth(pd.DataFrame({"y": [22.5, 22.5 + objective.sd]}))
    torch.testing.assert_close(truth["value"], torch.tensor([0.0, 1.0]))
    assert objective.predictions(torch.tensor([[0.0], [1.0]]))["predicted"].tolist() == pytest.approx(
        [22.5, 22.5 + objective.sd]
    )
    loss = objective.loss(torch.tensor([[1.0], [1.0]]), truth, torch.tensor([3.0, 1.0]))
    assert float(loss) == pytest.approx(0.75)


def test_epochs_are_chosen_by_r2():
    objective = fitted([0.0, 2.0])
    truth = objective.truth(pd.DataFrame({"y": [0.0, 1, 2, 3]}))
    logits = torch.tensor([[-1.0], [0.0], [1.0], [1.0]])  # one off by one of a spread of 5
    assert objective.score(logits, truth) == pytest.approx(1 - 1 / 5)
    same = objective.truth(pd.DataFrame({"y": [1.0, 1]}))
    assert np.isnan(objective.score(logits[:2], same))
    assert objective.why_undefined(same) == "no two different values among 2 validation samples"
    assert Regression.reason_to_skip(pd.DataFrame({"y": [4.0, 4]})) == "training samples have no two different values"
    assert not Regression.reason_to_skip(pd.DataFrame({"y": [4.0, 5]}))


def test_the_stream_that_is_nearer_to_the_truth_keeps_its_gradient():
    """Opposed gradients: the first stream alone, doubled, is right, the second wrong, so that the second gives way."""
    classifier = torch.nn.Linear(2, 1)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[0.5, 0.5]]))
        classifier.bias.zero_()
    classifier.weight.grad = torch.tensor([[1.0, -1.0]])
    embeddings = {"tumour": torch.tensor([[1.0], [-1]]), "tme": torch.tensor([[-3.0], [3]])}
    objective, truth = fitted([0.0, 1]), {"value": torch.tensor([1.0, -1])}
    record = coordinate_classifier(classifier, embeddings, truth, confidence=objective.confidence)
    assert record.projected == 1
    torch.testing.assert_close(classifier.weight.grad, torch.tensor([[1.0, 0.0]]))


def plant_number(cohort):
    """Give each case a number that its class shifts, and one case none."""
    cases = read_parquet(cohort.folder / "cases.parquet")
    label = cases["label_diagnosis"].astype(float).fillna(0)
    noise = np.random.default_rng(0).normal(size=len(cases))
    cases["value_age"] = (40 + 15 * label + 4 * noise).where(cases.index != 3)
    cases.to_parquet(cohort.folder / "cases.parquet")


@pytest.mark.parametrize("method", ["snn", "ksfusion"])
def test_a_planted_number_is_found(cohort, method):
    plant_number(cohort)
    folder = cohort.train("number", task=NUMBER, method=method)
    predictions = read_parquet(folder / "predictions.parquet")
    assert list(predictions) == ["sample_id", "case_id", "cohort", "fold", "split", "y", "predicted"]
    assert predictions["y"].isna().sum() > 0 and predictions["predicted"].notna().all()
    known = predictions.dropna().query("split == 'test'")
    assert spearmanr(known["y"], known["predicted"]).statistic > 0.6
    assert 30 < known["predicted"].mean() < 80
    metrics, history = read_metrics(folder), read_tsv(folder / "history.tsv")
    assert metrics["selected_by"] == "r2"
    assert metrics["val"]["r2"] == pytest.approx(history["val_metric"].max())
    # R2 and the loss name the same epoch.
    assert metrics["best_epoch"] == history["epoch"][history["val_loss"].idxmin()]
    assert load_model(folder) is not None
    again = cohort.train("again", task=NUMBER, method=method)
    assert read_parquet(again / "predictions.parquet").equals(predictions)


def test_a_number_that_does_not_vary_is_skipped(cohort):
    plant_number(cohort)
    cohort.relabel(cohort.cases_of("train"), value_age=50.0)
    metrics = read_metrics(cohort.train("number", task=NUMBER, method="snn"))
    assert (metrics["status"], metrics["reason"]) == ("skipped", "training samples have no two different values")


@pytest.mark.parametrize("method", ["snn", "ksfusion"])
def test_cox_finds_the_planted_survival_and_has_curves(cohort, method):
    folder = cohort.train("cox", task=COX, method=method)
    predictions, config = read_parquet(folder / "predictions.parquet"), json.loads((folder / "config.json").read_text())
    hazards = predictions[[f"hazard_{number}" for number in range(4)]].to_numpy(float)
    assert ((hazards >= 0) & (hazards <= 1)).all()
    known = predictions.dropna().query("split == 'train'")
    event = known["event"].to_numpy(bool)
    assert concordance_index_censored(event, known["days"].to_numpy(), known["risk"].to_numpy())[0] > 0.6
    assert config["n_outputs"] == 1 and len(config["bins"]) == 3 and len(config["baseline"]) == 4
    # Breslow's curve: at each death one by the hazards of those still followed.
    dead = known[known["event"] == 1]
    steps = [1 / np.exp(known.loc[known["days"] >= day, "risk"]).sum() for day in dead["days"]]
    curve = [
        np.sum(np.array(steps)[(dead["days"] <= end).to_numpy()]) for end in (*config["bins"], known["days"].max())
    ]
    assert config["baseline"] == pytest.approx(curve)
    expected = 1 - np.exp(-np.outer(np.exp(predictions["risk"]), np.diff(curve, prepend=0)))
    np.testing.assert_allclose(hazards, expected, rtol=1e-9)


def test_cuts_in_days_reach_the_run(cohort):
    task = SURVIVAL.model_copy(update={"survival": SurvivalModel(cuts=[50, 200])})
    folder = cohort.train("cuts", task=task, method="snn")
    assert json.loads((folder / "config.json").read_text())["bins"] == [50, 200]
    columns = list(read_parquet(folder / "predictions.parquet"))
    assert columns[5:] == ["hazard_0", "hazard_1", "hazard_2", "risk", "days", "event"]


def test_a_run_that_was_skipped_has_the_columns_of_its_task(cohort):
    cohort.relabel(cohort.cases_of("train"), event_survival=0)
    for loss in ("nll", "cox"):
        task = SURVIVAL.model_copy(update={"survival": SurvivalModel(loss=loss, intervals=3)})
        folder = cohort.train(loss, task=task, method="snn")
        columns = list(read_parquet(folder / "predictions.parquet"))
        assert columns[5:] == ["hazard_0", "hazard_1", "hazard_2", "risk", "days", "event"]
        assert read_metrics(folder)["reason"] == "no event among the training samples"


def test_what_is_not_said_of_survival_is_the_papers():
    model = TaskOutcome(name="s", kind="survival").survival_model
    assert (model.intervals, model.loss, model.cuts) == (4, "nll", "quartiles")
