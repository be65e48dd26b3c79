"""The trials of a search, kept on disk so that a search that was killed goes on after its last finished one."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import OptunaError
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from ksfusion.core.checksums import checksum
from ksfusion.core.provenance import as_json
from ksfusion.training.resume import FOLDER

log = logging.getLogger(__name__)

STUDY = "search"
# The attributes of a trial, and of the study for the configured settings, that hold a row of the table, and the
# checksum of that and of what was drawn.
ROW, CHECKSUM = "row", "checksum"
# What Optuna raises where a line of the journal makes no sense.
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, OptunaError)


class Trials:
    """What a search has tried, in Optuna's journal beside the search's outputs.

    The journal is text, a line for each change. A trial is finished when its row is in it.

    Parameters
    ----------
    folder
        Folder of the search's outputs.
    key
        Digest of what the search is made from, see `ksfusion.training.resume.key_of`: a journal of another key is
        removed.
    seed
        Seed of the settings that are drawn. What a trial draws depends on it, on its number and on the trials before
        it, and not on what this process has drawn already.
    """

    def __init__(self, folder: Path, key: str, seed: int) -> None:
        self._folder, self._seed = folder / FOLDER, seed
        self._journal = self._folder / f"{key[:32]}.journal"
        self._study = self._open()
        self._finish_interrupted()
        if rows := self.rows():
            log.info("going on after trial %d, which an interrupted search had finished", rows[-1]["trial"])

    def _open(self) -> optuna.Study:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Journals of other keys; and the lock of a process that was killed, which Optuna would wait for.
        for path in self._folder.iterdir():
            if path != self._journal:
                if path.suffix == self._journal.suffix:
                    log.info("%s: is of other settings, code or inputs: the search starts anew", path)
                path.unlink()
        self._drop_torn_line()
        try:
            study = self._study_of_journal()
            _refuse_damaged(study)
            return study
        except UNREADABLE as error:
            log.warning("%s: cannot be read (%r): the search starts anew", self._journal, error)
            self._journal.unlink(missing_ok=True)
            return self._study_of_journal()

    def _drop_torn_line(self) -> None:
        """Cut off a last line that its process did not finish: the next one would be written behind it."""
        if self._journal.is_file():
            with self._journal.open("rb+") as file:
                file.truncate(file.read().rfind(b"\n") + 1)

    def _study_of_journal(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = str(self._journal)
        # Optuna's other lock is a symbolic link, which not every file system has.
        storage = optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
        return optuna.create_study(storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True)

    def _finish_interrupted(self) -> None:
        """Report to Optuna a trial interrupted between its row and its result; one without a row has failed."""
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._tell(trial.number, trial.user_attrs.get(ROW, {}).get("value", math.nan))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the finished trials, in order."""
        kept = [self._study.user_attrs, *(trial.user_attrs for trial in self._study.get_trials(deepcopy=False))]
        return [attributes[ROW] for attributes in kept if ROW in attributes]

    def ask(self, number: int) -> optuna.Trial:
        """Start a trial that draws its settings; ``number`` counts from 1."""
        (seed,) = np.random.SeedSequence([self._seed, number]).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(seed=int(seed))
        return self._study.ask()

    def keep(self, row: Mapping[str, Any], trial: optuna.Trial | None) -> None:
        """Keep the row of a finished trial; without a trial, that of the configured settings.

        Parameters
        ----------
        row
            ``trial``, the settings, ``value`` (NaN where the trial failed) and whatever else the table shows.
        trial
            Trial of `ask`.
        """
        if trial is None:
            self._study.set_user_attr(CHECKSUM, _checksum_of(row))
            self._study.set_user_attr(ROW, dict(row))
        else:
            trial.set_user_attr(CHECKSUM, _checksum_of(row, trial))
            trial.set_user_attr(ROW, dict(row))
            self._tell(trial.number, row["value"])

    def _tell(self, number: int, value: float) -> None:
        if math.isnan(value):
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, value)

    def remove(self) -> None:
        """Remove the journal: the search is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _checksum_of(row: Mapping[str, Any], trial: optuna.Trial | optuna.trial.FrozenTrial | None = None) -> str:
    drawn = [trial.params, repr(sorted(trial.distributions.items()))] if trial is not None else []
    return checksum(as_json([row, *drawn]).encode())


def _refuse_damaged(study: optuna.Study) -> None:
    """Raise ValueError where a finished trial is not what was kept of it."""
    for attributes, trial in [(study.user_attrs, None), *((one.user_attrs, one) for one in study.get_trials())]:
        if ROW not in attributes:
            continue
        row = attributes[ROW]
        told = trial.value if trial is not None and trial.state == TrialState.COMPLETE else row["value"]
        if attributes.get(CHECKSUM) != _checksum_of(row, trial) or as_json(told) != as_json(row["value"]):
            raise ValueError(f"trial {row.get('trial')} is damaged")
