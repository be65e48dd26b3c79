"""The first metric of each task by subgroup, as the report shows it: a table for each task and column."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import pandas as pd

from ksfusion.methods.registry import METHODS
from ksfusion.results.config import COHORT
from ksfusion.results.metrics.names import NAN, metric_label
from ksfusion.results.report.comparisons import printed_p
from ksfusion.results.statistics import COVERAGE, LEAST_CASES
from ksfusion.results.tables.layout import Cell
from ksfusion.results.tables.scores import TEST, with_split
from ksfusion.results.wording import heading, plain
from ksfusion.terms.splits import EXTERNAL

# The section of their figures, in which they stand.
SECTION = "figures-subgroups"
NOTES = (
    f"Each cell: the mean on the test samples of the subgroup, below it its {COVERAGE} % interval by bootstrap over "
    f"the subgroup's cases. p: of the null that the subgroups of {LEAST_CASES} cases and more do not differ (Wald's "
    "test over draws of cases, approximate); it is not corrected for the number of tests, of which one in twenty falls "
    "below 0.05 where nothing differs.",
    "All metrics, and the same by case, stand in results/tables/subgroups.tsv.",
)


class SubgroupRow(TypedDict):
    """A method: its metric in each subgroup, and the p-value of their heterogeneity, empty where it was not tested."""

    label: str
    cells: list[Cell]
    p: str


class SubgroupTable(TypedDict):
    """A task by the subgroups of a column, each with its number of samples, and what is missing."""

    heading: str
    metric: str
    groups: list[tuple[str, int]]
    rows: list[SubgroupRow]
    notes: Sequence[str]


def subgroup_tables(
    table: pd.DataFrame | None, titles: Mapping[str, str], caveats: Sequence[str] = (), *, external: str = ""
) -> list[SubgroupTable]:
    """Return the tables of the test samples by subgroup; none where there are no subgroups.

    Parameters
    ----------
    table
        The table of `ksfusion.stages.make_subgroups`.
    titles
        Titles of tasks, by name, of those that have one.
    caveats
        Sentences that stand first below each.
    external
        The external cohort whose samples are meant; empty for the test samples.
    """
    if table is None:
        return []
    own = with_split(table)
    own = own[(own["level"] == "sample") & (own["split"] == (EXTERNAL if external else TEST))]
    own = own[own[COHORT] == external] if external and len(own) else own
    tables = []
    for (task, column), rows in own.groupby(["task", "subgroup"], sort=False):
        metric = rows["metric"].iloc[0]
        printed = f"{heading(task, titles)} by {plain(column)}"
        tables.append(_table(rows[rows["metric"] == metric], printed, metric, caveats))
    return tables


def _table(rows: pd.DataFrame, printed: str, metric: str, caveats: Sequence[str]) -> SubgroupTable:
    sizes = rows.groupby("value", sort=False)["n"].max()
    cells = {
        (row.method, row.value): Cell(row.mean, row.ci_low, row.ci_high, NAN, best=False, n=int(row.n), metric=metric)
        for row in rows.itertuples()
    }
    nothing = Cell(NAN, NAN, NAN, NAN, best=False)
    p = rows.groupby("method")["p"].first()
    return SubgroupTable(
        heading=printed,
        metric=metric_label(metric),
        groups=[(str(value), int(n)) for value, n in sizes.items()],
        rows=[
            SubgroupRow(
                label=METHODS[method].label,
                cells=[cells.get((method, value), nothing) for value in sizes.index],
                p="" if math.isnan(p[method]) else printed_p(p[method]),
            )
            for method in rows["method"].unique()
        ],
        notes=[*caveats, *_missing(rows)],
    )


def _missing(rows: pd.DataFrame) -> Iterator[str]:
    """Yield what is missing, and of which subgroups."""
    told = rows.assign(reason=rows["reason"].str.split("; ")).explode("reason")
    for reason, own in told[told["reason"] != ""].groupby("reason", sort=False):
        values = own["value"].unique()
        about = "" if len(values) == rows["value"].nunique() else f"{', '.join(values)}: "
        yield f"{about}{reason}."
