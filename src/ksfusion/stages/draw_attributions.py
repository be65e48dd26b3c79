"""The figure of the genes that a method's outputs rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.provenance import as_json, provenance
from ksfusion.methods.registry import METHODS
from ksfusion.results.attribution.tables import read_attributions
from ksfusion.results.plots.attributions import draw_attribution_ranks
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.stage_settings import DrawTasksSettings


def draw_attributions(attributions: Sequence[Path], output: Path, *, settings: DrawTasksSettings) -> None:
    """Draw the first genes of each niche and task as SVG and PNG.

    Parameters
    ----------
    attributions
        ``attributions/{task}/{method}/fold{fold}.tsv`` of one method and fold, in the order of the tasks.
    output
        The files to write, without their suffix.
    settings
        What tasks and classes are called.
    """
    method, fold = attributions[0].parent.name, attributions[0].stem.removeprefix("fold")
    title = f"Genes that {METHODS[method].label} rests on, fold {fold}"
    tables = [read_attributions(path) for path in attributions]
    with drawing_style():
        figure = draw_attribution_ranks(tables, tasks=settings.tasks, title=title, study=settings.title)
        save_figure(figure, output, as_json(provenance(__name__, settings.record())))
