"""What a training tells of itself: lines in a log, a bar on a terminal, TensorBoard where it is asked for."""

import io
import subprocess
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_cohort import DIAGNOSIS, epochs

from ksfusion.core.storage import read_tsv
from ksfusion.training.progress import Progress

SHORT = epochs(DIAGNOSIS, 2)
PROGRAM = """
import sys
from ksfusion.cli import main
main(sys.argv[1:])
print(sorted({"tensorboard", "optuna", "torch._dynamo"} & set(sys.modules)))
"""


def test_a_log_has_a_line_an_epoch(cohort, caplog):
    with caplog.at_level("INFO"):
        cohort.train("run", method="snn", task=SHORT)
    lines = [record.message for record in caplog.records if "epoch" in record.message]
    history = read_tsv(cohort.folder / "run" / "history.tsv")
    assert len(lines) == 2
    assert "method snn, fold 0, seed 0: epoch 2 of 2" in lines[1] and f"{history['train_loss'][1]:.4g}" in lines[1]


@pytest.mark.slow
def test_a_training_loads_nothing_that_it_does_not_need(cohort):
    command = [sys.executable, "-c", PROGRAM, *cohort.command("run", method="snn", task=SHORT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_terminal_has_a_bar(monkeypatch, caplog):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    row = {"epoch": 2, "train_loss": 0.5, "val_loss": 0.25, "val_metric": 75.0, "seconds": 1.0}
    with caplog.at_level("INFO"), Progress("a run", epochs=2, steps=3, done=1) as progress:
        for _ in range(3):
            progress.step()
        progress.epoch(row)
    assert "a run" in terminal.getvalue() and "6/6" in terminal.getvalue() and "val_loss=0.25" in terminal.getvalue()
    assert not caplog.records


def test_tensorboard_holds_the_history(cohort):
    folder = cohort.folder / "run"
    cohort.train_seeds({0: folder}, task=SHORT, tensorboard=True)
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    history = read_tsv(folder / "history.tsv")
    assert set(events.Tags()["scalars"]) == set(history) - {"epoch"}
    for name in ("train_loss", "val_metric", "coordination_cosine"):
        values = events.Scalars(name)
        assert [value.step for value in values] == [1, 2]
        np.testing.assert_allclose([value.value for value in values], history[name], rtol=1e-6)
