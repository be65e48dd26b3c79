"""One answer for a patient, from numbers that are worked out by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ksfusion.bundles.config import FoldCalibration, Temperature
from ksfusion.bundles.members import Member
from ksfusion.predictions.answers import Curve, Spread, alive_at, answer_of, counting_folds, percentile
from ksfusion.predictions.charts import curve_chart
from ksfusion.predictions.page_text import member_rows, notes, sentence
from ksfusion.results.config import ShownTask

CLASSES = ShownTask(name="mgmt", kind="classification", classes=["a", "b"])
SURVIVAL = ShownTask(name="survival", kind="survival")


def member(fold, seed, *, reference=(), cuts=()):
    made = Member(fold, seed, Path(f"{fold}/{seed}"))
    vars(made).update(reference=np.array(reference, float), config={"bins": list(cuts)})
    return made


def fold_of(*members, temperature=None, scores=(), why=""):
    known = temperature and Temperature(value=temperature, cases=9, loss_raw=1, loss_calibrated=1)
    calibration = FoldCalibration(temperature=known, no_temperature="" if known else "too few", scores=list(scores),
                                  no_scores=why)  # fmt: skip
    return SimpleNamespace(number=members[0].fold, members=members, calibration=calibration)


def classes(*shares):
    """Return the table of a member: of each sample of case P the probability of class b; and another case."""
    rows = [{"sample_id": f"s{n}", "case_id": "P", "prob_a": 1 - b, "prob_b": b} for n, b in enumerate(shares)]
    return pd.DataFrame([*rows, {"sample_id": "x", "case_id": "Q", "prob_a": 1.0, "prob_b": 0.0}])


def test_two_samples_and_two_models_are_one_answer():
    one, two = member(0, 0), member(0, 1)
    tables = {one: classes(0.2, 0.4), two: classes(0.7, 0.9)}
    answer = answer_of("P", tables, [fold_of(one, two)], {}, CLASSES, level=0.9)
    # Of each model the mean over samples, 0.3 and 0.8; their mean, and sd with one degree of freedom less.
    assert answer.values["prob_b"] == Spread(
        pytest.approx(0.55), pytest.approx(0.5 / 2**0.5), pytest.approx(0.3), pytest.approx(0.8)
    )
    assert [entry["values"]["prob_b"] for entry in answer.members] == pytest.approx([0.3, 0.8])
    assert answer.calibrated == {} and answer.no_temperature == "too few" and answer.conformal is None


def test_a_temperature_of_two_takes_roots():
    one = member(0, 0)
    answer = answer_of(
        "P", {one: classes(0.9)}, [fold_of(one, temperature=2.0, why="none held out")], {}, CLASSES, level=0.9
    )
    # sqrt(0.9) / (sqrt(0.9) + sqrt(0.1)) = 3 / 4
    assert answer.calibrated["prob_b"] == pytest.approx(0.75)
    assert answer.values["prob_b"].mean == pytest.approx(0.9)
    assert answer.conformal == {"classes": [], "level": 0.9, "reason": "none held out"}


def test_the_set_holds_classes_whose_score_is_no_larger_than_the_quantile():
    one = member(0, 0)
    # Nine scores and level 0.9: rank ceil(0.9 x 10) = 9, the largest. A class is in where 1 - p <= 0.5.
    held_out = [0.05 * number for number in range(1, 9)] + [0.5]
    for share, inside in ((0.9, ["b"]), (0.5, ["a", "b"])):
        folds = [fold_of(one, temperature=1.0, scores=held_out)]
        answer = answer_of("P", {one: classes(share)}, folds, {}, CLASSES, level=0.9)
        assert answer.conformal == {"classes": inside, "level": 0.9, "reason": ""}


def test_models_that_a_case_taught_are_left_out_but_where_it_taught_all():
    folds = [fold_of(member(0, 0)), fold_of(member(1, 0)), fold_of(member(2, 0))]

    def counting(splits):
        return [fold.number for fold in counting_folds(splits, folds)]

    assert counting({}) == [0, 1, 2]
    assert counting({0: "train", 1: "test", 2: "val"}) == [1]
    assert counting({0: "calibration", 1: "external", 2: "train"}) == [1]
    assert counting({0: "train", 1: "train", 2: "val"}) == [0, 1, 2]
    tables = {fold.members[0]: classes(share) for fold, share in zip(folds, (0.9, 0.2, 0.9), strict=True)}
    answer = answer_of("P", tables, folds, {0: "train", 1: "test", 2: "val"}, CLASSES, level=0.9)
    assert answer.values["prob_b"].mean == pytest.approx(0.2) and np.isnan(answer.values["prob_b"].sd)
    assert answer.record()["values"]["prob_b"]["sd"] is None


@pytest.mark.parametrize(("value", "share"), [(0, 0), (1, 12.5), (2.5, 50), (3, 62.5), (9, 100)])
def test_a_percentile_counts_equal_ones_half(value, share):
    assert percentile(value, np.array([1.0, 2.0, 3.0, 4.0])) == share
    assert np.isnan(percentile(value, np.empty(0)))


def survival_table(*hazards, risk):
    values = {f"hazard_{number}": value for number, value in enumerate(hazards)}
    return pd.DataFrame([{"sample_id": "s", "case_id": "P", **values, "risk": risk}])


def test_survival_of_two_folds_with_other_cuts():
    one = member(0, 0, reference=[-3, -2, -1, 0], cuts=[100, 200])
    two = member(1, 0, reference=[-3, -2, -1, 0], cuts=[150, 400])
    tables = {one: survival_table(0.5, 0.5, 0.1, risk=-0.5), two: survival_table(0.2, 0.5, 0.1, risk=-2.5)}
    answer = answer_of("P", tables, [fold_of(one), fold_of(two)], {}, SURVIVAL, level=0.9)
    # Three of four lie below -0.5, one below -2.5.
    assert [entry["percentile"] for entry in answer.members] == [75, 25]
    assert answer.percentile.mean == 50 and answer.group == "low"
    # Alive after 100 days: 0.5 and 1; after 150: 0.5 and 0.8; after 200: 0.25 and 0.8. Further the first is not known.
    assert answer.curve.days == [100, 150, 200]
    assert answer.curve.alive == pytest.approx([0.75, 0.65, 0.525])
    assert answer.calibrated_curve is None


def test_a_curve_falls_at_its_days_and_is_not_known_beyond_the_last():
    curve = Curve([10.0, 20.0], [0.6, 0.3])
    assert [alive_at(curve, day) for day in (0, 9.9, 10, 19, 20)] == [1, 1, 0.6, 0.6, 0.3]
    assert np.isnan(alive_at(curve, 20.1))


def test_a_number_has_a_percentile_and_no_temperature():
    age = ShownTask(name="age", kind="regression", title="Age")
    models = [member(0, seed, reference=[20, 40, 60, 80]) for seed in range(2)]
    tables = {
        one: pd.DataFrame([{"sample_id": "s", "case_id": "P", "predicted": value}])
        for one, value in zip(models, (50.0, 70.0), strict=True)
    }
    answer = answer_of("P", tables, [fold_of(*models, why="no classes")], {}, age, level=0.9).record()
    assert (answer["values"]["predicted"]["mean"], answer["percentile"]["mean"]) == (60, 62.5)
    assert sentence(answer, age) == "60 (models: 50 to 70), above 62 % of the training cases."
    rows = member_rows(answer, age)
    assert rows["member_columns"] == ["Age", "Percentile"]
    assert [row["numbers"] for row in rows["members"]] == [["50.000", "50"], ["70.000", "75"]]


def test_survival_in_a_sentence_and_a_drawing():
    one = member(0, 0, reference=[-3, -2, -1, 0], cuts=[100, 200])
    tables = {one: survival_table(0.5, 0.5, 0.1, risk=-0.5)}
    answer = answer_of("P", tables, [fold_of(one, temperature=None)], {}, SURVIVAL, level=0.9).record()
    assert sentence(answer, SURVIVAL) == "High risk, higher than that of 75 % of the training cases."
    assert "Not calibrated: too few." in notes(answer, SURVIVAL)
    chart = curve_chart(answer)
    # From 100 % at the left, down to half after half the time, and to a quarter at the right end.
    left, right, top, bottom = chart.left, chart.right, chart.top, chart.bottom
    middle, half, quarter = (left + right) / 2, (top + bottom) / 2, top + 0.75 * (bottom - top)
    corners = [(left, top), (middle, top), (middle, half), (right, half), (right, quarter)]
    assert chart.mean == " ".join(f"{x:g},{round(y, 1):g}" for x, y in corners)
    # 200 days are 6.6 months.
    assert [text for _, text in chart.months] == ["0", "2", "4", "6"]
    assert chart.months[1][0] == pytest.approx(left + (right - left) * 2 * 365.25 / 12 / 200, abs=0.1)
