"""How well methods find what was planted, as the report shows it: areas under the ROC curve over slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.attention.localisation import BY_SLIDE, ORACLE, read_localisation
from ksfusion.results.wording import DASH

# What the targets and the streams are called.
TARGET_LABELS = {"tumour": "Tumour", "immune": "Immune clusters", "vessels": "Vessels", "tme": "Immune or vessels"}
STREAM_LABELS = {"tumour": ", tumour stream", "tme": ", TME stream"}
ORACLE_LABEL = "Oracle: ridge taught what patches show"


class LocatedRow(TypedDict):
    """What finds the targets, and how well, in print."""

    label: str
    measure: str
    cells: list[str]


class LocalisationSection(TypedDict):
    """How well methods find what was planted."""

    targets: list[str]
    rows: list[LocatedRow]


def localisation_section(paths: Sequence[Path]) -> LocalisationSection | None:
    """Return the table of `make-localisation`, averaged over tasks, folds and seeds; None where there is none.

    Parameters
    ----------
    paths
        The table; at most one.
    """
    if not paths:
        return None
    table = read_localisation(paths[0])
    table = table[table["over"] == BY_SLIDE]
    means = table.groupby(["method", "measure", "stream", "target"], sort=False)["auc"].mean()
    rows = [
        LocatedRow(
            label=ORACLE_LABEL if method == ORACLE else METHODS[method].label + STREAM_LABELS.get(stream, ""),
            measure="" if method == ORACLE else measure,
            cells=[_printed(means.get((method, measure, stream, target), np.nan)) for target in TARGET_LABELS],
        )
        for method, measure, stream in table[["method", "measure", "stream"]].drop_duplicates().itertuples(index=False)
    ]
    return LocalisationSection(targets=list(TARGET_LABELS.values()), rows=rows)


def _printed(area: float) -> str:
    return DASH if pd.isna(area) else f"{area:.1f}"
