"""Validation cases that are held out of every choice (training.calibration_fraction)."""

import pandas as pd
import pytest
from training_cohort import DIAGNOSIS, epochs, read_metrics

from ksfusion.core.ids import stable_hash
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.training.config import FitBaselineSettings, Training, TrainModelSettings
from ksfusion.training.data import read_fold

pytestmark = pytest.mark.usefixtures("one_thread")
TASK = epochs(DIAGNOSIS, 3)


def sides(folder):
    return read_parquet(folder / "predictions.parquet").drop_duplicates("case_id").set_index("case_id")["split"]


def test_about_that_share_of_the_validation_cases_is_held_out_by_their_ids(drawn):
    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="pg")
    held_out = data.holding_out(0.5).samples.set_index("case_id")["split"]
    before = data.samples.set_index("case_id")["split"]
    val = set(before.index[before == "val"])
    by_hand = {case for case in val if stable_hash(f"calibration {case}") < 2**31}
    assert 0 < len(by_hand) < len(val)
    assert set(held_out.index[held_out == "calibration"]) == by_hand
    assert (held_out[held_out != "calibration"] == before[held_out != "calibration"]).all()
    assert data.holding_out(0) is data and data.holding_out(None) is data


def test_held_out_cases_have_no_say_in_the_epoch(cohort):
    """Wrong labels of the held-out cases change neither epoch nor weights; those of other validation cases do."""
    first = cohort.train("first", task=TASK, calibration_fraction=0.5)
    found = sides(first)
    held_out, chosen_on = (found.index[found == side].tolist() for side in ("calibration", "val"))
    assert held_out and chosen_on
    cohort.relabel(held_out, label_diagnosis=0)
    second = cohort.train("second", task=TASK, calibration_fraction=0.5)
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    before, after = (read_metrics(folder) for folder in (first, second))
    assert (before["val"], before["best_epoch"]) == (after["val"], after["best_epoch"])
    cohort.relabel(chosen_on, label_diagnosis=0)
    third = read_metrics(cohort.train("third", task=TASK, calibration_fraction=0.5))
    assert third["val"] != before["val"]


def test_without_it_nothing_changes(cohort):
    """What is recorded, and so what a job depends on, is what it was before the setting existed."""
    run = TrainModelSettings.of_task(TASK, Training(), METHODS["snn"])
    assert "calibration_fraction" not in run.as_json()
    assert FitBaselineSettings(task=DIAGNOSIS).record().keys() == {"task", "clinical"}
    held = TrainModelSettings.of_task(TASK, Training(calibration_fraction=0.5), METHODS["snn"])
    assert held.record()["training"]["calibration_fraction"] == 0.5
    splits = read_tsv(cohort.folder / "splits.tsv", dtype=str).set_index("case_id")["split"]
    found = sides(cohort.train("plain", task=TASK))
    pd.testing.assert_series_equal(found, splits.loc[found.index], check_names=False)
