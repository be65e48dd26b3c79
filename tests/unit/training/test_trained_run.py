"""What the stages after a training read of its run, and runs brought together by their task."""

import json

import pytest

from ksfusion.core.errors import UserError
from ksfusion.training.trained_run import TrainedRun, runs_by_task

TASKS = {
    "grading": {"name": "grading", "kind": "classification", "classes": ["low", "high"], "epochs": 2},
    "survival": {"name": "survival", "kind": "survival", "epochs": 2},
}


@pytest.fixture
def run(tmp_path):
    """Return what writes a run's own words."""

    def write(task, seed, *, method="snn", metrics=None, **more):
        folder = tmp_path / task / f"seed{seed}"
        folder.mkdir(parents=True)
        config = {"task": TASKS[task], "method": method, "fold": 1, "seed": seed, **more}
        (folder / "config.json").write_text(json.dumps(config))
        if metrics:
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return folder

    return write


def test_what_a_run_says_of_itself(run):
    found = TrainedRun.read(run("survival", 3, n_outputs=4, metrics={"status": "ok", "reason": ""}))
    assert (found.task.kind, found.method.modalities, found.fold, found.seed) == ("survival", "g", 1, 3)
    assert found.has_model and found.reason == ""
    for number, (reason, expected) in enumerate({"one class": "one class", "": "failed"}.items()):
        failed = TrainedRun.read(run("grading", number, metrics={"status": "failed", "reason": reason}))
        assert not failed.has_model and failed.reason == expected


def test_the_method_of_a_run_must_be_known(run):
    with pytest.raises(UserError, match="nothing-like-it"):
        _ = TrainedRun.read(run("grading", 0, method="nothing-like-it")).method


def test_runs_are_brought_together_by_task_in_the_order_given(run, tmp_path):
    folders = [run("survival", 0), run("grading", 0), run("survival", 1)]
    first, second = tmp_path / "survival.tsv", tmp_path / "grading.tsv"
    found = list(runs_by_task(folders, output=[first, second], stability=[second, first]))
    assert [[own.folder for own in runs] for runs, _ in found] == [[folders[0], folders[2]], [folders[1]]]
    assert [files for _, files in found] == [[first, second], [second, first]]


@pytest.mark.parametrize("count", [1, 3])
def test_each_task_needs_a_file_of_its_own(run, tmp_path, count):
    folders, tables = [run("survival", 0), run("grading", 0)], [tmp_path / f"{number}.tsv" for number in range(3)]
    expected = rf"--stability: {count} files for the 2 tasks of the runs \(survival, grading\); give each task its own"
    with pytest.raises(UserError, match=expected):
        list(runs_by_task(folders, output=tables[:2], stability=tables[:count]))
