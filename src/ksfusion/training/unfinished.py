"""A run that has no model: one that was skipped, or has failed or collapsed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd

from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.checkpoint import run_name, write_run
from ksfusion.training.data import FoldData
from ksfusion.training.fit import HISTORY_COLUMNS, Fitted
from ksfusion.training.objective import OBJECTIVES
from ksfusion.training.predict import prediction_table

log = logging.getLogger(__name__)

# Skipped: its training samples cannot teach it. Unsuited: the method is not for such a task. Collapsed: its output was
# the same for every sample.
Status: TypeAlias = Literal["skipped", "failed", "unsuited", "collapsed"]


def write_unfinished_run(
    folder: Path,
    data: FoldData,
    task: TaskOutcome,
    run: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    status: Status,
    reason: str,
    fitted: Fitted | None = None,
) -> None:
    """Write the files of a run that has no model, and why; a warning says so too.

    Parameters
    ----------
    folder
        The run's folder.
    data
        The samples of its fold.
    task
        Task that was to be predicted.
    run
        Its task, method, fold and seed.
    config
        Contents of its ``config.json``.
    status, reason
        Entries of its ``metrics.json``.
    fitted
        Its training, where that came to an end: its history and its epoch are kept.
    """
    log.warning("%s: %s: %s", run_name(run), status, reason.removeprefix(f"{status}: "))
    nothing = pd.DataFrame(columns=OBJECTIVES[task.kind].columns(task), dtype=float)
    write_run(
        folder,
        weights={},
        config=config,
        predictions=prediction_table(data, run["fold"], nothing).iloc[:0],
        history=pd.DataFrame(columns=HISTORY_COLUMNS) if fitted is None else fitted.history,
        metrics={
            **run,
            "status": status,
            "reason": reason,
            **({"best_epoch": None, "val": {}} if fitted is None else fitted.describe()),
            "test": {},
        },
    )
