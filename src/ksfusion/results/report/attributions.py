"""Which genes the outputs of methods rest on, as the report shows it: figure, first genes, how stable they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.attribution.tables import ALL, PERMUTED, PLANTED, SEEDS, read_attributions, read_checks
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.attributions import CAPTION
from ksfusion.results.report.gallery import PageImage, page_image
from ksfusion.results.wording import DASH

MOST_GENES = 10
TITLE = "Genes that explain"
NOTES = (
    "Integrated gradients along the straight line from the mean of the training samples (zero for z-scores) to a test "
    "sample's genes, its slide as it is: the parts of all genes sum to the difference of the two outputs. Of classes "
    "the logit less the mean of all logits is explained, of survival the risk, of regression the number.",
    "Size: mean over test samples of the absolute part, then over seeds, with its standard deviation over these. "
    "Direction: correlation over samples of a gene's expression and its part; near 1 more of it always raises the "
    "output, near -1 it lowers it.",
    "Seeds agree: Spearman's rank correlation of the sizes of all genes, mean over pairs of seeds; 0 is chance. Genes "
    "that only vary much come first in a model of permuted labels too: with results.attributions.permuted it is told "
    "how far the ranks agree with such a model's. Planted genes, of the demo: the tenth of the genes that by its model "
    "follow the class most, and how many of them the first tenth by rank holds. What explains a model need not cause a "
    "disease.",
)


class GeneRow(TypedDict):
    """A gene in print."""

    gene: str
    niche: str
    category: str
    size: str
    direction: str


class ClassGenes(TypedDict):
    """The first genes of a class, of the risk, or of a number."""

    label: str
    rows: list[GeneRow]


class StabilityRow(TypedDict):
    """How far the genes of a class can be relied on, in print."""

    label: str
    cells: list[str]


class AttributedTask(TypedDict):
    """The genes of a task."""

    heading: str
    columns: list[str]
    stability: list[StabilityRow]
    classes: list[ClassGenes]


class AttributedMethod(TypedDict):
    """The genes of a method and fold."""

    title: str
    image: PageImage
    caption: str
    tasks: list[AttributedTask]


class AttributionSection(TypedDict):
    """Which genes the outputs of methods rest on."""

    title: str
    methods: list[AttributedMethod]
    notes: Sequence[str]


def attribution_section(paths: Sequence[Path], figures: Path, tasks: Sequence[ShownTask]) -> AttributionSection | None:
    """Return the gene attributions of methods; None where they were not asked.

    Parameters
    ----------
    paths
        The tables of `attribute-genes`, ``{task}/{method}/fold{fold}.tsv``, beside those of stability.
    figures
        Folder of the figures of `draw-attributions`.
    tasks
        The tasks, in their order.
    """
    if not paths:
        return None
    known = {(path.parent.name, path.stem, path.parents[1].name): path for path in paths}
    runs = dict.fromkeys((method, fold) for method, fold, _ in known)
    return AttributionSection(
        title=TITLE,
        methods=[
            AttributedMethod(
                title=f"{METHODS[method].label}, fold {fold.removeprefix('fold')}",
                image=page_image(figures / f"attributions_{method}_{fold}.png"),
                caption=CAPTION,
                tasks=[
                    _task(known[method, fold, task.name], task) for task in tasks if (method, fold, task.name) in known
                ],
            )
            for method, fold in runs
        ],
        notes=NOTES,
    )


def _task(path: Path, task: ShownTask) -> AttributedTask:
    table = read_attributions(path)
    checks = read_checks(path.with_name(f"{path.stem}.stability.tsv")).set_index(["class", "niche", "measure"])
    labels = dict(zip(task.classes, task.class_labels(), strict=True))
    shown = {SEEDS: "Seeds agree", PERMUTED: "As of permuted labels", PLANTED: "Planted genes found first"}
    columns = {
        measure: label for measure, label in shown.items() if measure in checks.index.get_level_values("measure")
    }
    outputs = [name for name in labels if name in set(table["class"])] or list(table["class"].unique())
    return AttributedTask(
        heading=task.heading,
        columns=list(columns.values()),
        stability=[
            StabilityRow(
                label=labels.get(name, name.capitalize()),
                cells=[_checked(checks, name, measure) for measure in columns],
            )
            for name in outputs
        ],
        classes=[
            ClassGenes(
                label=labels.get(name, name.capitalize()),
                rows=[_gene(row) for row in table[table["class"] == name].head(MOST_GENES).to_dict("records")],
            )
            for name in outputs
        ],
    )


def _checked(checks: pd.DataFrame, name: str, measure: str) -> str:
    """Return a measure of stability in print."""
    if (name, ALL, measure) not in checks.index:
        return DASH
    row = checks.loc[(name, ALL, measure)]
    if math.isnan(row["value"]):
        return DASH
    if measure == PLANTED:
        return f"{row['value']:.0f} % of {row['n']:.0f} (chance {row['by_chance']:.0f} %)"
    return f"{row['value']:.2f}"


def _gene(row: Mapping[str, object]) -> GeneRow:
    mean, sd, way = (float(str(row[name])) for name in ("mean", "sd", "direction"))
    return GeneRow(
        gene=str(row["gene"]),
        niche="TME" if row["niche"] == "tme" else str(row["niche"]).capitalize(),
        category=str(row["category"]),
        size=f"{mean:.3g}" + ("" if math.isnan(sd) else f" ± {sd:.2g}"),
        direction=DASH if math.isnan(way) else f"{way:+.2f}",
    )
