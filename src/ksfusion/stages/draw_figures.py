"""The figures stage: curves, matrices and training of every task, as SVG and PNG, and a list of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import write_text
from ksfusion.results.config import Comparing, Times
from ksfusion.results.plots.figures import ALPHA_LIST, FIGURE_LIST, FigureEntry, figures_of_task
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.runs import external_cohorts, read_runs
from ksfusion.results.stage_settings import Compared, DrawFiguresSettings
from ksfusion.results.tables.differences import read_comparisons
from ksfusion.results.tables.subgroups import read_subgroups


def draw_figures(
    runs: Sequence[Path],
    output: Path,
    *,
    settings: DrawFiguresSettings,
    comparisons: Path | None = None,
    subgroups: Path | None = None,
) -> None:
    """Draw the figures of every task, on external cohorts too, as SVG and PNG, and list them in figures.json.

    The list holds ``name`` (of the files), ``task``, ``title`` and ``caption`` of each figure, in order. The figures of
    alpha alone have the list ``alpha.json``.

    Parameters
    ----------
    runs
        Folders of runs, each with ``predictions.parquet``, ``history.tsv`` and ``metrics.json``; for the figures of
        alpha and the calibration of survival ``config.json`` too.
    output
        Folder of the figures.
    settings
        Tasks and methods in the order of the figures and their panels, the times of the calibration of survival, and
        whether only alpha is drawn.
    comparisons
        The table of `make-comparisons`, which the first figure of a task shows.
    subgroups
        The table of `make-subgroups`, of which a figure is drawn.

    Raises
    ------
    UserError
        If a run's files are missing or not what they should be, or two runs are the same.
    """
    found = read_runs(runs, settings.tasks, shared=settings.shared, curves=not settings.only_alpha)
    of_settings = (block.of(settings).record() for block in (Compared, Comparing, Times))
    made_by = provenance(__name__, {key: value for record in of_settings for key, value in record.items()})
    compared, grouped = read_comparisons(comparisons, settings), read_subgroups(subgroups)
    listed: list[FigureEntry] = []
    shown = partial(
        figures_of_task,
        methods=settings.methods,
        caveats=settings.caveats,
        study=settings.title,
        times=settings.times,
        resamples=settings.resamples,
    )
    cohorts = [] if settings.only_alpha else external_cohorts(found)
    with drawing_style():
        for task in settings.tasks:
            inside = shown(found, task, only_alpha=settings.only_alpha, comparisons=compared, subgroups=grouped)
            drawn = [("", inside)]
            for number, cohort in enumerate(cohorts, start=1):
                on_cohort = [run.on_external(cohort) for run in found]
                drawn.append((f"_external{number}", shown(on_cohort, task, external=cohort)))
            for ending, figures in drawn:
                for entry, figure in figures:
                    entry["name"] += ending
                    save_figure(figure, output / entry["name"], as_json(made_by))
                    listed.append(entry)
    list_name = ALPHA_LIST if settings.only_alpha else FIGURE_LIST
    write_text(json.dumps(listed, indent=1) + "\n", output / list_name, made_by)
