"""The figures of the report, as SVG and PNG, with a list of their titles and captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import write_text
from ksfusion.results.plots.alpha import draw_alpha
from ksfusion.results.plots.classification import draw_confusion, draw_roc
from ksfusion.results.plots.panels import save_figure, sentence_figure
from ksfusion.results.plots.style import STYLE
from ksfusion.results.plots.survival import draw_survival
from ksfusion.results.plots.training import draw_training
from ksfusion.results.runs import Run, read_runs
from ksfusion.results.tables.layout import plain
from ksfusion.results.tables.scores import choose_methods

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_LIST, ALPHA_LIST = "figures.json", "alpha.json"
Draw = Callable[..., "Figure"]


@dataclass(frozen=True)
class FigureKind:
    """A figure drawn once per task."""

    name: str
    title: str
    caption: str
    draw: Draw
    task_kind: str | None = None


KINDS = (
    FigureKind(
        "roc",
        "ROC curves",
        "How well each class is told from the rest, on the test samples; curves and areas (in percent) are averaged "
        "over seeds. Black: mean of the classes that have test samples. Dashed: chance.",
        draw_roc,
        "classification",
    ),
    FigureKind(
        "confusion",
        "confusion matrices",
        "Rows: the class by the markers; columns: the predicted class; percent of the test samples of each row, all "
        "seeds together.",
        draw_confusion,
        "classification",
    ),
    FigureKind(
        "kaplan_meier",
        "Kaplan-Meier curves by predicted risk",
        "Kaplan-Meier curves of the test cases, halved at the median of their predicted risk (mean over seeds and over "
        "the samples of a case). Shaded: 95 % interval; ticks: censored cases; p: log-rank test between the halves.",
        draw_survival,
        "survival",
    ),
    FigureKind(
        "training",
        "training",
        "Loss on the training samples and the metric that chose the epoch on the validation samples. Thin: each seed; "
        "thick: their mean; dots: the epochs that were kept.",
        draw_training,
    ),
)
ALPHA_CAPTION = (
    "Test result of ksfusion for each weight alpha of the tumour's alignment loss against the microenvironment's "
    "(1 - alpha): mean over seeds, with the 95 % interval by bootstrap over cases."
)


def make_figures(
    run_dirs: Iterable[Path],
    output_dir: Path,
    *,
    tasks: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    caveats: Sequence[str] = (),
    only_alpha: bool = False,
    shared: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Draw the figures of every task as SVG and PNG, and list them in ``figures.json``.

    Parameters
    ----------
    run_dirs
        Folders of runs, each with ``predictions.parquet``, ``history.tsv`` and ``metrics.json``.
    output_dir
        Folder of the figures.
    tasks
        ``name``, ``kind`` and ``classes`` of each task.
    methods
        Names, in the order of the panels; variants with another alpha appear in the figure of alpha only.
    caveats
        Sentences that must stand in every caption.
    only_alpha
        Draw the figures of alpha alone, and list them in ``alpha.json``.
    shared
        Methods without runs of their own, see `ksfusion.results.runs.read_runs`.

    Returns
    -------
    list of dict
        ``name`` (of the files), ``task``, ``title`` and ``caption`` of each figure, in order.
    """
    from matplotlib import rc_context, style

    runs = read_runs(run_dirs, tasks, shared=shared)
    of_alpha = choose_methods(methods)["alpha"]
    shown = [method for method in methods if method == "ksfusion" or method not in of_alpha]
    settings = {"tasks": [dict(task) for task in tasks], "methods": list(methods), "caveats": list(caveats)}
    settings["shared"] = dict(shared or {})
    made_by = provenance("ksfusion.results.plots.figures", settings)
    figures = []

    def save(name: str, task: Mapping[str, Any], title: str, caption: str, figure: Figure) -> None:
        save_figure(figure, output_dir / name, as_json(made_by))
        caption = " ".join([caption, *caveats])
        figures.append({"name": name, "task": task["name"], "title": title, "caption": caption})

    with rc_context(), style.context(["default", STYLE]):
        for task in tasks:
            label = plain(task["name"]).capitalize()
            own = [run for run in runs if run.task == task["name"]]
            for kind in () if only_alpha else KINDS:
                if kind.task_kind in (None, task["kind"]):
                    title = f"{label}: {kind.title}"
                    figure = _draw(kind.draw, own, task, shown, title)
                    save(f"{kind.name}_{task['name']}", task, title, kind.caption, figure)
            if of_alpha:
                title = f"{label}: sensitivity to alpha"
                figure = _draw(draw_alpha, own, task, of_alpha, title)
                save(f"alpha_{task['name']}", task, title, ALPHA_CAPTION, figure)
    write_text(json.dumps(figures, indent=1) + "\n", output_dir / (ALPHA_LIST if only_alpha else FIGURE_LIST), made_by)
    return figures


def _draw(draw: Draw, runs: Sequence[Run], task: Mapping[str, Any], methods: Sequence[str], title: str) -> Figure:
    """Draw a figure, or say why not when no method has a result."""
    own = [run for run in runs if run.method in methods]
    if any(not run.reason for run in own):
        return draw(own, task=task, methods=methods, title=title)
    reasons = sorted({run.reason for run in own}) or ["no run"]
    return sentence_figure(title, f"Nothing to draw: {plain('; '.join(reasons))}.")
