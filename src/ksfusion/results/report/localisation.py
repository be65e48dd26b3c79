"""How well methods find what was planted, or annotated, as the report shows it: areas over slides."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.attention.localisation import BY_SLIDE, CHANCE, ORACLE, read_localisation
from ksfusion.results.wording import DASH

# What the targets and the streams are called.
TARGET_LABELS = {"tumour": "Tumour", "immune": "Immune clusters", "vessels": "Vessels", "tme": "Immune or vessels"}
STREAM_LABELS = {"tumour": ", tumour stream", "tme": ", TME stream"}
# In the place of methods.
BESIDE = {CHANCE: "Chance: a random number", ORACLE: "Oracle: ridge taught what patches show"}


PLANTED = {
    "question": "Does it find what was planted?",
    "about": "what was drawn there against all other tissue",
    "note": "what counts as tumour, immune cluster and vessel is in docs/demo.md",
}
ANNOTATED = {
    "question": "Does it find the annotated regions?",
    "about": "the annotated regions of each class against all other patches of the annotated slides",
    "note": "the files that were read, and those that could not be, in results/regions.tsv",
}


class LocatedRow(TypedDict):
    """What finds the targets, and how well, in print."""

    label: str
    measure: str
    cells: list[str]


class LocalisationSection(TypedDict):
    """How well methods find what was planted, or annotated."""

    question: str
    about: str
    note: str
    targets: list[str]
    rows: list[LocatedRow]


def localisation_section(path: Path | None, *, planted: bool) -> LocalisationSection | None:
    """Return the table of `make-localisation`, averaged over tasks, folds and seeds; None where there is none.

    Parameters
    ----------
    path
        The table, where there is one.
    planted
        Whether the targets are the demo's; else they are regions that the user has annotated.
    """
    if path is None:
        return None
    table = read_localisation(path)
    table = table[table["over"] == BY_SLIDE]
    labels = TARGET_LABELS if planted else {}
    targets = list(labels) or list(table["target"].unique())
    means = table.groupby(["method", "measure", "stream", "target"], sort=False)["auc"].mean()
    rows = [
        LocatedRow(
            label=BESIDE.get(method) or METHODS[method].label + STREAM_LABELS.get(stream, ""),
            measure="" if method in BESIDE else measure,
            cells=[_printed(means.get((method, measure, stream, target), np.nan)) for target in targets],
        )
        for method, measure, stream in table[["method", "measure", "stream"]].drop_duplicates().itertuples(index=False)
    ]
    said = PLANTED if planted else ANNOTATED
    return LocalisationSection(
        question=said["question"],
        about=said["about"],
        note=said["note"],
        targets=[labels.get(target, target) for target in targets],
        rows=rows,
    )


def _printed(area: float) -> str:
    return DASH if pd.isna(area) else f"{area:.1f}"
