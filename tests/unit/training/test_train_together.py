"""Trainings of several methods in one job: the files of each alone, and nothing trained anew for another one."""

from pathlib import Path

import pytest
from training_cohort import DIAGNOSIS, SETTINGS

from ksfusion.core.errors import UserError
from ksfusion.stages.train_together import train_together
from ksfusion.training import fit
from ksfusion.training.config import TrainModelSettings

FILES = ["model.safetensors", "config.json", "predictions.parquet", "metrics.json"]
STEPS = 36  # of six epochs of six steps each


def own_settings(**changes):
    return TrainModelSettings(task=DIAGNOSIS, training=SETTINGS.model_copy(update=changes))


def train(cohort, monkeypatch, *, methods, seeds=(0,), settings=None) -> list[str]:
    """Train methods together; return the method of each training, by the number of steps."""
    steps, training_step = [], fit.training_step

    def counted(model, *args, **kwargs):
        steps.append(type(model).__name__)
        return training_step(model, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "training_step", counted)
        train_together(
            cohort.files,
            [cohort.folder / name / f"seed{seed}" for name in methods for seed in seeds],
            method=methods,
            fold=0,
            seed=seeds,
            settings=settings or [own_settings()] * len(methods),
            device="cpu",
        )
    assert len(steps) % STEPS == 0
    return steps[::STEPS]


def test_they_are_what_each_is_alone_and_are_trained_once(cohort, monkeypatch):
    assert train(cohort, monkeypatch, methods=["snn", "attmil"]) == ["SNN", "AttMIL"]
    for method in ("snn", "attmil"):
        alone, together = cohort.train(f"alone-{method}", method=method), cohort.folder / method / "seed0"
        assert [(together / name).read_bytes() for name in FILES] == [(alone / name).read_bytes() for name in FILES]
    # Another seed, another method, other settings of one of them: that is trained alone.
    assert train(cohort, monkeypatch, methods=["snn", "attmil"], seeds=(0, 1)) == ["SNN", "AttMIL"]
    assert train(cohort, monkeypatch, methods=["snn", "concat", "attmil"]) == ["Concatenation"]
    changed = [own_settings(), own_settings(lr=2e-3)]
    assert train(cohort, monkeypatch, methods=["snn", "attmil"], settings=changed) == ["AttMIL"]


def test_each_has_its_own_folder_and_settings(cohort):
    given = {"files": cohort.files, "method": ["snn", "attmil"], "fold": 0, "seed": [0], "device": "cpu"}
    with pytest.raises(UserError, match=r"--output: 1 folders for 2 methods with 1 seeds"):
        train_together(output=[Path("a")], settings=[own_settings()] * 2, **given)
    with pytest.raises(UserError, match=r"--settings: 1 settings and 0 chosen ones for 2 methods"):
        train_together(output=[Path("a"), Path("b")], settings=[own_settings()], **given)
