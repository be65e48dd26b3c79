"""A search that is killed goes on after its last finished trial, to the bytes it would have had."""

import json
import math

import pytest
from killing import run_until_killed
from search_runs import search, settings_of
from training_cohort import Cohort

from ksfusion.training import search as module
from ksfusion.training.resume import FOLDER

# Of 13 trials the last two are drawn by the estimator: it wants ten that were drawn at random before them.
N_TRIALS = 12


def command(cohort: Cohort, name: str) -> list[str]:
    """Return the arguments of ``ksfusion`` that search the same as `search` does."""
    outputs = [f"--{what}={cohort.folder / name / what}" for what in ("chosen", "trials")]
    outputs = [f"{option}.{ending}" for option, ending in zip(outputs, ("json", "tsv"), strict=True)]
    place = ["--method", "snn", "--fold", "0", "--settings", json.dumps(settings_of(trials=N_TRIALS).record())]
    return ["search-settings", *cohort.file_options(), *place, *outputs, "--device", "cpu"]


def files_of(cohort: Cohort, name: str) -> dict[str, bytes]:
    """Return the files of a search, hidden ones too."""
    return {path.name: path.read_bytes() for path in (cohort.folder / name).iterdir()}


def journal(cohort: Cohort, name: str):
    (path,) = (cohort.folder / name / FOLDER).glob("*.journal")
    return path


@pytest.fixture(scope="module")
def uninterrupted(drawn, tmp_path_factory) -> dict[str, bytes]:
    folder = str(tmp_path_factory.mktemp("uninterrupted"))
    search(drawn, folder, trials=N_TRIALS)
    return files_of(drawn, folder)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_it_would_have(cohort, uninterrupted, caplog):
    arguments = command(cohort, "search")
    # In the fourth of 13 trials, of three epochs of six steps each.
    run_until_killed("ksfusion.training.fit", "training_step", 3 * 18 + 5, arguments)
    assert [path.name for path in (cohort.folder / "search").iterdir()] == [FOLDER]
    # The row of the sixth trial is kept, but Optuna has not yet been told.
    assert "after trial 2" in run_until_killed("optuna", "Study.tell", 4, arguments)
    # While a line is written: Optuna's lock stays behind.
    assert "after trial 5" in run_until_killed("os", "fsync", 20, arguments)
    assert len(list((cohort.folder / "search" / FOLDER).iterdir())) == 2
    # A last line that is half written.
    path = journal(cohort, "search")
    path.write_bytes(path.read_bytes()[:-7])
    # All trials are done, and some files of the search are there, which Snakemake removes.
    told = run_until_killed("ksfusion.stages.search_settings", "write_json", 1, arguments)
    assert "going on after trial" in told and f"trial {N_TRIALS}:" in told
    (cohort.folder / "search" / "trials.tsv").unlink()
    with caplog.at_level("INFO"):
        search(cohort, "search", trials=N_TRIALS)
    assert f"after trial {N_TRIALS}," in caplog.text and "epoch" not in caplog.text
    assert files_of(cohort, "search") == uninterrupted


@pytest.fixture
def interrupted(cohort, monkeypatch) -> Cohort:
    """Return a cohort with a search that ended within its third trial."""
    calls = []

    def fit(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fit_method(*args, **kwargs)

    fit_method = module.fit_method
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "fit_method", fit)
        search(cohort, "search")
    assert journal(cohort, "search").is_file()
    return cohort


@pytest.mark.parametrize(
    "change", [{"lr": 2e-3}, {"space": {"lr": [1e-4, 1e-3]}}, {"trials": 4}, {"method": "attmil"}], ids=str
)
def test_trials_of_another_search_are_not_used(interrupted, change, caplog):
    search(interrupted, "other", **change)
    with caplog.at_level("INFO"):
        search(interrupted, "search", **change)
    assert "other settings, code or inputs: the search starts anew" in caplog.text
    assert "going on" not in caplog.text
    assert files_of(interrupted, "search") == files_of(interrupted, "other")


def test_trials_of_other_inputs_are_not_used(interrupted, caplog):
    interrupted.relabel(interrupted.cases_of("train")[:9], label_diagnosis=0)
    search(interrupted, "other")
    with caplog.at_level("INFO"):
        search(interrupted, "search")
    assert "the search starts anew" in caplog.text and "going on" not in caplog.text
    assert files_of(interrupted, "search") == files_of(interrupted, "other")


def test_a_journal_that_cannot_be_read_is_not_used(interrupted, caplog):
    path = journal(interrupted, "search")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], bytes(40) + b"\n", *lines[1:]]))
    search(interrupted, "search")
    assert "cannot be read" in caplog.text and "going on" not in caplog.text
    search(interrupted, "other")
    assert files_of(interrupted, "search") == files_of(interrupted, "other")


@pytest.mark.slow
def test_a_flipped_bit_in_a_journal_changes_no_result(interrupted, caplog):
    search(interrupted, "other")
    wanted, path = files_of(interrupted, "other"), journal(interrupted, "search")
    whole = path.read_bytes()
    # A digit of what was drawn, of a result, of the range that is searched.
    for text in (b'"param_value_internal":', b'"value":', rb"\"low\":", b'"values":'):
        place = whole.index(text) + len(text)
        place += next(n for n, byte in enumerate(whole[place : place + 40]) if chr(byte).isdigit() and byte != 0x30)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        caplog.clear()
        search(interrupted, "search")
        assert "the search starts anew" in caplog.text, text
        assert files_of(interrupted, "search") == wanted


def test_a_trial_that_failed_is_not_run_again(cohort, monkeypatch, caplog):
    """It draws a rate at which the loss is not finite; the search is then interrupted in its third trial."""
    space = {"lr": [1e30, 1e31]}
    ended = []

    def fit(*args, **kwargs):
        if len(ended) == 2:
            raise KeyboardInterrupt
        ended.append(kwargs["settings"].lr)
        return fit_method(*args, **kwargs)

    fit_method = module.fit_method
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "fit_method", fit)
        search(cohort, "search", space=space, trials=2)
    with caplog.at_level("INFO"):
        _, trials = search(cohort, "search", space=space, trials=2)
    assert "going on after trial 1" in caplog.text
    assert (
        trials["lr"].tolist()[:2] == pytest.approx(ended)
        and math.isnan(trials["value"][1])
        and "not finite" in trials["reason"][1]
    )
    search(cohort, "other", space=space, trials=2)
    assert files_of(cohort, "search") == files_of(cohort, "other")
