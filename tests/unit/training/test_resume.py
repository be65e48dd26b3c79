"""A training that is killed goes on after its last finished epoch, to the bytes it would have had."""

import itertools
import json
import subprocess
import sys
import types

import pytest
import torch
from killing import run_until_killed
from safetensors import safe_open
from safetensors.torch import save_file
from training_cohort import DIAGNOSIS, SURVIVAL

from ksfusion.core.checksums import PROVENANCE_KEY, SEAL_KEY, UNSEALED, seal
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.training import fit
from ksfusion.training.resume import FOLDER, TrainingState, key_of

# What is left of a finished run beside its files.
KEPT = ["outcome.json", "weights.safetensors"]


def files_of(folder) -> dict[str, bytes]:
    """Return the files of a run, hidden ones too; the history without seconds, which differ by nature."""
    assert sorted(path.name for path in (folder / FOLDER).iterdir() if path.name[0] != ".") == KEPT
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    history = read_tsv(folder / "history.tsv").drop(columns="seconds")
    made_by = json.dumps(read_provenance(folder / "history.tsv"))
    return {**files, "history.tsv": history.to_csv().encode(), ".history.tsv.provenance.json": made_by.encode()}


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_it_would_have(runs, cohort):
    arguments, folder = cohort.command("run"), cohort.folder / "run"
    # In the third of six steps of the third epoch.
    run_until_killed("ksfusion.training.fit", "training_step", 15, arguments)
    assert [path.name for path in folder.iterdir()] == [FOLDER]
    # In the validation of the fourth epoch.
    assert "after epoch 2" in run_until_killed("ksfusion.training.fit", "predict", 2, arguments)
    # The state of the fourth epoch is written, but has not yet taken the place of that of the third.
    assert "after epoch 3" in run_until_killed("pathlib", "Path.replace", 1, arguments)
    assert len(list((folder / FOLDER).iterdir())) == 2
    # All epochs are done, and some files of the run are there.
    assert "after epoch 3" in run_until_killed("ksfusion.training.checkpoint", "write_parquet", 1, arguments)
    assert (folder / "model.safetensors").is_file() and not (folder / "predictions.parquet").exists()

    cohort.train("run")
    assert files_of(folder) == files_of(runs["diagnosis", "ksfusion"])


@pytest.mark.slow
def test_seeds_of_one_process_are_those_of_each_alone_killed_or_not(cohort):
    """Snakemake removes what a job had finished when it is killed; the first seed's outcome brings it back."""
    folders = [cohort.folder / f"seed{seed}" for seed in (0, 1)]
    arguments = cohort.command("run", method="snn")
    arguments[arguments.index("--seed") + 1 : arguments.index("--seed") + 2] = ["0", "1"]
    place = arguments.index("--output") + 1
    arguments[place : place + 1] = map(str, folders)
    # In the second epoch of the second seed, of six epochs of six steps each.
    run_until_killed("ksfusion.training.fit", "training_step", 36 + 8, arguments)
    for path in folders[0].iterdir():
        if path.name != FOLDER:
            path.unlink()
    done = subprocess.run([sys.executable, "-m", "ksfusion", *arguments], capture_output=True, text=True, check=True)
    assert "kept as it was trained before" in done.stderr and "going on after epoch 1" in done.stderr
    for seed, folder in enumerate(folders):
        assert files_of(folder) == files_of(cohort.train(f"alone{seed}", method="snn", seed=seed))


@pytest.fixture
def interrupted(cohort, monkeypatch):
    """Return a cohort with a run of snn that ended within its second epoch."""
    calls = []

    def step(*args, **kwargs):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return training_step(*args, **kwargs)

    training_step = fit.training_step
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit, "training_step", step)
        cohort.train("run", method="snn")
    assert (cohort.folder / "run" / FOLDER).is_dir()
    return cohort


@pytest.mark.parametrize("change", ["lr", "task", "expression", "file"])
def test_a_state_of_something_else_is_not_used(interrupted, change, caplog):
    """Settings, inputs, or a file cut short: the result is that of a run which was never interrupted."""
    settings = {"lr": 2e-3} if change == "lr" else {}
    task = SURVIVAL if change == "task" else DIAGNOSIS
    if change == "expression":
        path = interrupted.folder / "expression.parquet"
        import pandas as pd

        (pd.read_parquet(path) * 2).to_parquet(path)
    if change == "file":
        (path,) = (interrupted.folder / "run" / FOLDER).iterdir()
        path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level("INFO"):
        again = interrupted.train("run", method="snn", task=task, **settings)
    assert "training starts anew" in caplog.text
    assert files_of(again) == files_of(interrupted.train("other", method="snn", task=task, **settings))


def test_an_unchanged_state_is_used(interrupted, caplog):
    with caplog.at_level("INFO"):
        again = interrupted.train("run", method="snn")
    assert "after epoch 1" in caplog.text
    assert files_of(again) == files_of(interrupted.train("other", method="snn"))


def steps_of_training(cohort, monkeypatch, **arguments) -> int:
    """Train into the folder of the run again, and return how many steps that took."""
    calls, training_step = [], fit.training_step
    with monkeypatch.context() as patch:
        patch.setattr(fit, "training_step", lambda *args, **kwargs: calls.append(1) or training_step(*args, **kwargs))
        cohort.train("run", method="snn", **arguments)
    return len(calls)


def test_a_finished_run_is_not_trained_anew(cohort, monkeypatch):
    """Its files, which Snakemake deletes before a job is done again, are as they were; their weights take room once."""
    folder = cohort.train("run", method="snn")
    wanted = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for path in folder.iterdir():
        if path.name != FOLDER:
            path.unlink()
    assert steps_of_training(cohort, monkeypatch) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == wanted
    assert (folder / FOLDER / "weights.safetensors").samefile(folder / "model.safetensors")
    # Six epochs of six steps each.
    assert steps_of_training(cohort, monkeypatch, lr=2e-3) == 36
    assert steps_of_training(cohort, monkeypatch, lr=2e-3) == 0


def test_an_outcome_beside_the_state_of_other_settings_stays_what_it_is(cohort, monkeypatch):
    """Trained with A, interrupted with B, taken up with A again: then B is trained, and is B."""

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 8:  # in the second epoch
            raise KeyboardInterrupt
        return training_step(*args, **kwargs)

    calls, training_step = [], fit.training_step
    ours = files_of(cohort.train("run", method="snn"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit, "training_step", interrupted)
        cohort.train("run", method="snn", lr=2e-3)
    assert steps_of_training(cohort, monkeypatch) == 0
    assert files_of(cohort.folder / "run") == ours
    assert steps_of_training(cohort, monkeypatch, lr=2e-3) > 0
    assert files_of(cohort.folder / "run") == files_of(cohort.train("other", method="snn", lr=2e-3))


@pytest.mark.parametrize("file", ["outcome.json", "weights.safetensors"])
def test_a_damaged_outcome_is_not_used(cohort, monkeypatch, caplog, file):
    """Nor one of which a file is gone."""
    wanted = files_of(cohort.train("run", method="snn"))
    path = cohort.folder / "run" / FOLDER / file
    for content in (path.read_bytes()[:-20], None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        assert steps_of_training(cohort, monkeypatch) == 36
        assert files_of(cohort.folder / "run") == wanted
    assert "training starts anew" in caplog.text


@pytest.mark.parametrize("lacking", ["order", "best"])
def test_a_state_of_which_half_can_be_restored_makes_way(interrupted, lacking, caplog):
    """Sealed and of the same settings, with weights of a later epoch: nothing of them may stay."""
    (path,) = (interrupted.folder / "run" / FOLDER).iterdir()
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kept = json.loads(file.metadata()[PROVENANCE_KEY])
    del kept["rest"][lacking]
    save_file(tensors, path, metadata={PROVENANCE_KEY: json.dumps({**kept, SEAL_KEY: UNSEALED})})
    seal(path)
    again = interrupted.train("run", method="snn")
    assert "cannot be read" in caplog.text and "training starts anew" in caplog.text
    assert files_of(again) == files_of(interrupted.train("other", method="snn"))


def test_too_little_memory_is_not_a_broken_state(interrupted, monkeypatch, caplog):
    (path,) = (interrupted.folder / "run" / FOLDER).iterdir()
    before = path.read_bytes()

    def restore(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainingState, "restore", restore)
    with pytest.raises(torch.OutOfMemoryError):
        interrupted.train("run", method="snn")
    assert path.read_bytes() == before and "starts anew" not in caplog.text


@pytest.mark.parametrize("broken", ["a file", "a link to nothing", "a folder in the place of the outcome"])
def test_what_is_no_state_makes_way(cohort, broken, caplog):
    folder = cohort.folder / "run"
    folder.mkdir()
    if broken == "a file":
        (folder / FOLDER).write_text("")
    elif broken == "a link to nothing":
        (folder / FOLDER).symlink_to("nowhere")
    else:
        (folder / FOLDER / "outcome.json").mkdir(parents=True)
    assert files_of(cohort.train("run", method="snn")) == files_of(cohort.train("other", method="snn"))
    assert "that a run has written: removed" in caplog.text


def test_saving_takes_a_small_share_of_the_time(cohort, monkeypatch):
    """An hour for a save: the first epoch's state is kept, then none; of the last one the outcome is."""
    clock = itertools.count(step=3600)
    monkeypatch.setattr("ksfusion.training.resume.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    saved, tensors = [], TrainingState.tensors
    monkeypatch.setattr(TrainingState, "tensors", lambda state: saved.append(len(state.history)) or tensors(state))
    cohort.train("run", method="snn")
    assert saved == [1]
    # As long as two epochs' savings together take: every one.
    monkeypatch.setattr("ksfusion.training.resume.SHARE_OF_SAVING", 1)
    cohort.train("run", method="snn", lr=2e-3)
    assert saved[1:] == [1, 2, 3, 4, 5, 6]


def test_the_key_follows_contents_and_settings(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    features, table = tmp_path / "store" / "features.npy", tmp_path / "table.tsv"
    features.write_bytes(b"12345678")
    table.write_text("a")
    files = [tmp_path / "store", table]
    keys = [key_of({"lr": 1}, files), key_of({"lr": 2}, files)]
    table.write_text("b")
    keys.append(key_of({"lr": 1}, files))
    features.write_bytes(b"12345679")
    keys.append(key_of({"lr": 1}, files))
    assert len(set(keys)) == 4
    # Content counts, not the time; that of a large file is its size and time.
    table.write_text("b")
    assert key_of({"lr": 1}, files) == keys[-1]
    monkeypatch.setattr("ksfusion.training.resume.LARGE", 8)
    of_time = key_of({"lr": 1}, files)
    features.touch()
    assert key_of({"lr": 1}, files) != of_time
