"""Temperatures: against torch's own fit, a planted truth, and the likelihood that training uses."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, logit, softmax
from sklearn.metrics import log_loss

from ksfusion.bundles.calibration import calibrated, fit_temperature, mean_by_case
from ksfusion.bundles.config import FoldCalibration, Temperature
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.losses import interval_of, survival_loss

CLASSES = TaskOutcome(name="grade", kind="classification", classes=["a", "b", "c"])
SURVIVAL = TaskOutcome(name="survival", kind="survival")
NUMBER = TaskOutcome(name="score", kind="regression")
COLUMNS = ["prob_a", "prob_b", "prob_c"]
HAZARDS = ["hazard_0", "hazard_1", "hazard_2", "hazard_3"]
CUTS = [100.0, 200.0, 400.0]


def drawn_classes(n, temperature, seed=0):
    """Draw cases whose classes follow probabilities that a model then states too sharply by a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 3))
    true = softmax(logits, axis=1)
    y = (true.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    cases = pd.DataFrame(softmax(logits * temperature, axis=1), columns=COLUMNS)
    return cases.assign(case_id=[f"C{number}" for number in range(n)], y=y)


def test_the_temperature_of_classes_is_the_planted_one():
    found = fit_temperature(drawn_classes(5000, 2.5), pd.DataFrame(columns=["y"]), CLASSES, ()).temperature
    assert found.value == pytest.approx(2.5, rel=0.1)
    assert found.cases == 5000 and found.centre == []
    assert found.loss_calibrated < found.loss_raw - 0.05


def test_the_temperature_of_classes_is_that_of_an_optimiser_of_torch():
    cases = drawn_classes(60, 1.7, seed=3)
    found = fit_temperature(cases, pd.DataFrame(columns=["y"]), CLASSES, ()).temperature
    log = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    logits, y = torch.tensor(np.log(cases[COLUMNS].to_numpy())), torch.tensor(cases["y"].to_numpy())
    optimiser = torch.optim.LBFGS([log], max_iter=200, tolerance_grad=1e-10)

    # Platt's targets, by hand: of n cases of a class (n + 1) / (n + 2), the rest to the two others alike.
    own = [(np.sum(cases["y"] == label) + 1) / (np.sum(cases["y"] == label) + 2) for label in cases["y"]]
    targets = torch.tensor(
        [[p if k == label else (1 - p) / 2 for k in range(3)] for p, label in zip(own, cases["y"], strict=True)]
    )

    def step():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits / log.exp(), targets)
        loss.backward()
        return loss

    optimiser.step(step)
    assert found.value == pytest.approx(float(log.detach().exp()), rel=1e-3)
    assert found.loss_raw == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-9)
    shown = calibrated(cases, FoldCalibration(temperature=found), CLASSES)[COLUMNS].to_numpy()
    assert shown == pytest.approx(softmax(np.log(cases[COLUMNS].to_numpy()) / found.value, axis=1), rel=1e-9)
    assert (shown.argmax(axis=1) == cases[COLUMNS].to_numpy().argmax(axis=1)).all()


def test_cases_that_are_all_told_right_make_no_model_certain():
    """Without Platt's targets any smaller temperature is likelier, and a new case that is wrong costs any amount."""
    cases = drawn_classes(300, 1.0, seed=1)
    right = cases[cases[COLUMNS].to_numpy().argmax(axis=1) == cases["y"]].head(30)
    found = fit_temperature(right, pd.DataFrame(columns=["y"]), CLASSES, ()).temperature
    assert 0.2 < found.value < 1.5
    others = cases.iloc[100:]
    shown = calibrated(others, FoldCalibration(temperature=found), CLASSES)
    plain, scaled = (log_loss(own["y"], own[COLUMNS]) for own in (others, shown))
    assert scaled < plain + 0.1


def test_a_temperature_at_the_lower_end_of_its_range_is_none():
    """Everybody dies in the first interval, as the curves say: only the sharpest fits."""
    cases = drawn_survival(40, 1.0).assign(days=50.0, event=1.0)
    cases[HAZARDS] = expit(np.array([1.0, -1.0, -1.0, -1.0]))
    train = cases.assign(**dict.fromkeys(HAZARDS, 0.3))
    found = fit_temperature(cases, train, SURVIVAL, CUTS)
    assert found.temperature is None
    assert found.no_temperature.startswith("the 40 validation cases are too few to tell one")


def drawn_survival(n, temperature, seed=0):
    random = np.random.default_rng(seed)
    centre = np.array([-1.5, -1.0, -0.8, -0.5])
    true = centre + random.normal(0, 1, (n, 1))
    dies = random.random((n, 4)) < expit(true)
    interval = np.where(dies.any(axis=1), dies.argmax(axis=1), 3)
    starts, ends = np.array([0, *CUTS]), np.array([*CUTS, 800.0])
    days = starts[interval] + (ends - starts)[interval] * random.uniform(0.1, 0.9, n)
    event = dies[np.arange(n), interval].astype(float)
    cases = pd.DataFrame(expit(centre + (true - centre) * temperature), columns=HAZARDS)
    return cases.assign(case_id=[f"C{number}" for number in range(n)], risk=true[:, 0], days=days, event=event)


def test_the_temperature_of_survival_is_the_planted_one():
    """Hazards are spread too far about their mean logits by a factor, which the temperature takes back."""
    found = fit_temperature(drawn_survival(4000, 2.0), drawn_survival(4000, 2.0, seed=1), SURVIVAL, CUTS).temperature
    assert found.value == pytest.approx(2.0, rel=0.1)
    assert found.centre == pytest.approx([-1.5, -1.0, -0.8, -0.5], abs=0.1)


def test_the_loss_of_survival_is_that_of_training():
    cases = drawn_survival(50, 1.5)
    found = fit_temperature(cases, cases, SURVIVAL, CUTS).temperature
    logits = torch.tensor(logit(cases[HAZARDS].to_numpy()))
    interval = torch.tensor(interval_of(cases["days"], CUTS))
    ones = torch.ones(50, dtype=torch.float64)
    by_torch = survival_loss(logits, interval, torch.tensor(cases["event"].to_numpy()), weights=ones)
    assert found.loss_raw == pytest.approx(float(by_torch), rel=1e-9)


def test_a_temperature_of_one_changes_nothing_and_a_high_one_gives_the_mean_curve():
    cases, centre = drawn_survival(20, 1.0), [-2.0, -1.0, 0.0, 1.0]

    def at(value):
        one = Temperature(value=value, centre=centre, cases=20, loss_raw=1, loss_calibrated=1)
        return calibrated(cases, FoldCalibration(temperature=one), SURVIVAL)

    assert at(1.0)[HAZARDS].to_numpy() == pytest.approx(cases[HAZARDS].to_numpy(), rel=1e-9)
    assert at(1e6)[HAZARDS].to_numpy() == pytest.approx(np.tile(expit(centre), (20, 1)), abs=1e-4)
    # Risks, and the ranks by them, are told without it.
    assert (at(5.0)["risk"] == cases["risk"]).all()


def test_where_there_is_no_temperature_it_says_why():
    few = fit_temperature(drawn_classes(4, 1.0), pd.DataFrame(columns=["y"]), CLASSES, ())
    assert few.temperature is None and few.no_temperature == "4 validation cases; 5 are the fewest"
    unlabelled = drawn_classes(20, 1.0).assign(y=np.nan)
    assert "0 validation cases" in fit_temperature(unlabelled, unlabelled, CLASSES, ()).no_temperature
    number = fit_temperature(pd.DataFrame(), pd.DataFrame(), NUMBER, ())
    assert number.temperature is None and "number" in number.no_temperature
    assert calibrated(drawn_classes(4, 1.0), few, CLASSES) is None


def test_members_and_samples_of_a_case_are_averaged():
    """By hand: two members, and a case with two samples."""
    first = pd.DataFrame(
        {"sample_id": ["s1", "s2", "s3"], "case_id": ["B", "B", "A"], "cohort": "x", "split": "val", "y": [1, 1, 0],
         "prob_a": [0.2, 0.4, 0.9], "prob_b": [0.8, 0.6, 0.1], "prob_c": 0.0}
    )  # fmt: skip
    second = first.assign(prob_a=[0.6, 0.0, 0.7], prob_b=[0.4, 1.0, 0.3])
    found = mean_by_case([first, second], CLASSES)
    assert found["case_id"].tolist() == ["A", "B"] and found["y"].tolist() == [0, 1]
    assert found["prob_a"].tolist() == pytest.approx([0.8, 0.3])
    assert found["prob_b"].tolist() == pytest.approx([0.2, 0.7])


def test_survival_curves_are_averaged_and_not_their_hazards():
    """By hand: curves 0.5, 0.25 and 0.9, 0.9 have the mean 0.7, 0.575, whose hazards are 0.3 and 1 - 0.575 / 0.7."""
    rows = pd.DataFrame(
        {"sample_id": ["s1"], "case_id": ["A"], "cohort": "x", "split": "val", "hazard_0": [0.5], "hazard_1": [0.5],
         "risk": [-0.75], "days": [9.0], "event": [1]}
    )  # fmt: skip
    other = rows.assign(hazard_0=0.1, hazard_1=0.0, risk=-1.8)
    found = mean_by_case([rows, other], SURVIVAL)
    assert found[["hazard_0", "hazard_1"]].to_numpy()[0] == pytest.approx([0.3, 1 - 0.575 / 0.7])
    assert found["risk"].tolist() == pytest.approx([-1.275])
    assert found[["days", "event"]].to_numpy().tolist() == [[9.0, 1.0]]
