"""How the study's test results vary over draws of its cases, by which a drop elsewhere gets an interval.

The study's cases are not in a bundle; what each metric is in each bootstrap draw of them is, and tells no case.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ksfusion.bundles.manifest import AGAIN
from ksfusion.bundles.study import StudyResults
from ksfusion.core.errors import UserError
from ksfusion.results.config import Times
from ksfusion.results.further_measures import FurtherMeasures
from ksfusion.results.measures import paper_measure
from ksfusion.results.metrics.names import UNORDERED
from ksfusion.results.runs import read_runs
from ksfusion.results.tables.folds import LEVELS
from ksfusion.results.tables.scores import DrawsOfScores, result_table

DRAWS = "draws.safetensors"


def draws_of_study(study: StudyResults) -> DrawsOfScores:
    """Return the draws of the study's test results: of all metrics of its tables, over all folds and cohorts."""
    task = study.shown_task()
    runs = read_runs([run.folder for run in study.runs], [task], curves=True)
    draws: DrawsOfScores = {}
    for measures in (paper_measure, FurtherMeasures(Times().times)):
        asked = {"tasks": [task], "methods": [study.method], "measures": measures}
        result_table(runs, **asked, resamples=study.resamples(), draws=draws)  # type: ignore[arg-type]
    return {key: drawn for key, drawn in draws.items() if key[2] not in UNORDERED}


def write_draws(draws: DrawsOfScores, folder: Path) -> None:
    """Write the draws into a bundle; of no result there are none, and no file."""
    arrays = {f"{level} {metric}": drawn.astype(np.float32) for (_, _, metric, level), drawn in draws.items()}
    if arrays:
        save_file(arrays, folder / DRAWS)


def read_draws(folder: Path, method: str, task: str) -> DrawsOfScores:
    """Read the draws of a bundle; one that was made without them has none.

    Raises
    ------
    UserError
        If the file is something else.
    """
    path = folder / DRAWS
    if not path.is_file():
        return {}
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: holds no draws ({str(error).splitlines()[0]}); {AGAIN}") from None
    found: DrawsOfScores = {}
    for level in LEVELS:
        for name, drawn in arrays.items():
            if name.startswith(f"{level} "):
                found[method, task, name.removeprefix(f"{level} "), level] = drawn.astype(float)
    return found
