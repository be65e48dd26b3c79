"""Subgroups of the test samples by a column of the user's tables: what they are called, and what is no subgroup.

Read with the standard library alone: the Snakefile asks each time it is parsed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from ksfusion.results.config import Subgrouping

UNKNOWN = "unknown"
# More different numbers than these are no subgroups, nor are more different words than those.
MOST_NUMBERS, MOST_WORDS = 12, 100

Table = Sequence[Mapping[str, str]]


def column_of(name: str, samples: Table, cases: Table) -> dict[str, str]:
    """Return the values of a column by sample_id, as text, empty where unknown.

    It is taken from the samples, or from the cases where the samples have no such column, or nothing in it.

    Parameters
    ----------
    name
        Name of the column.
    samples, cases
        The rows of the two tables.
    """
    own = {row["sample_id"]: row.get(name, "") for row in samples}
    if any(own.values()):
        return own
    of_case = {row["case_id"]: row.get(name, "") for row in cases}
    return {row["sample_id"]: of_case.get(row["case_id"], "") for row in samples}


def group_of(value: str, edges: Sequence[float]) -> str:
    """Return the subgroup of a value: itself, or the range between two edges that it is in, the lower one included."""
    if not value:
        return UNKNOWN
    if not edges:
        return value
    position = bisect_right(edges, float(value))
    if not position:
        return f"below {edges[0]:g}"
    return f"{edges[-1]:g} and above" if position == len(edges) else f"{edges[position - 1]:g} to {edges[position]:g}"


def groups_in_order(values: Sequence[str], edges: Sequence[float]) -> list[str]:
    """Return the subgroups of values: ranges by their edges, others sorted, the unknown last."""
    found = {group_of(value, edges) for value in values}
    numbers = [edges[0] - 1, *edges] if edges else sorted(found - {UNKNOWN}, key=_as_number)
    ordered = [group_of(str(value), edges) for value in numbers]
    return [group for group in (*ordered, UNKNOWN) if group in found]


def _as_number(value: str) -> tuple[float, str]:
    return (float(value), "") if _is_number(value) else (float("inf"), value)


def _is_number(value: str) -> bool:
    try:
        return float(value) == float(value)
    except ValueError:
        return False


def subgroup_problems(settings: Subgrouping, samples: Table, cases: Table, *, source: str) -> Iterator[str]:
    """Yield a line for each column of ``results.subgroups`` that makes no subgroups.

    Parameters
    ----------
    settings
        Columns of the subgroups, and limits at which numbers are cut.
    samples, cases
        The rows of the two tables.
    source
        Name of the configuration in messages.
    """
    known = dict.fromkeys(name for row in (*samples[:1], *cases[:1]) for name in row)
    for name in settings.subgroups:
        if name not in known:
            yield (
                f"{source}: results.subgroups: there is no column {name} in the tables of samples and cases "
                f"({', '.join(known)}); correct it"
            )
            continue
        values = {value for value in column_of(name, samples, cases).values() if value}
        words = sorted(value for value in values if not _is_number(value))
        if name in settings.ranges and words:
            yield f"{source}: results.ranges: {name} has {words[0]!r}, no number; correct it, or remove the range"
        elif name not in settings.ranges and not words and len(values) > MOST_NUMBERS:
            lowest, highest = min(map(float, values)), max(map(float, values))
            yield (
                f"{source}: results.subgroups: {name} has {len(values)} numbers, from {lowest:g} to {highest:g}; say "
                f"where they are cut, such as results.ranges: {{{name}: [{(lowest + highest) / 2:g}]}}"
            )
        elif name not in settings.ranges and len(values) > MOST_WORDS:
            yield f"{source}: results.subgroups: {name} has {len(values)} values; leave it out"
