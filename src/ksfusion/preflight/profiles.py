"""Which expression ids of the table of samples are no profile's of their cohort's source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ksfusion.cohort.config import CohortFiles
from ksfusion.cohort.user_table import Row
from ksfusion.core.errors import UserError
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.ids import IdReader, ids_at_hand


class LostProfiles(NamedTuple):
    """A line for each cohort of which profiles are not there.

    Attributes
    ----------
    unreadable
        Of sources that the job which reads them will refuse.
    of_all
        Of cohorts that have none of theirs: a run stops before its first job.
    of_some
        Of cohorts that have some of theirs, and of those that may do without.
    """

    unreadable: list[str]
    of_all: list[str]
    of_some: list[str]


def lost_profiles(
    cohort: CohortFiles, sources: Iterable[ExpressionSource], samples: Iterable[Row], read: IdReader = ids_at_hand
) -> LostProfiles:
    """Compare the expression ids of the table of samples with those of the profiles that there are.

    Parameters
    ----------
    cohort
        The tables.
    sources
        The sources of expression to look at.
    samples
        The rows of the table of samples.
    read
        Returns the ids of a source's profiles; by default those alone that need no reading of whole files.
    """
    named = defaultdict(set)
    for row in samples:
        if row["expression_id"]:
            named[row["cohort"]].add(row["expression_id"])
    lost = LostProfiles([], [], [])
    for source in sources:
        wanted = sorted(named[source.cohort])
        try:
            there = read(source, wanted) if wanted else None
        except UserError as error:
            lost.unreadable.extend(str(error).splitlines())
            continue
        if there is None:
            continue
        known = set(there)
        missing = [name for name in wanted if name not in known]
        where = f"of the {len(wanted)} expression ids of cohort {source.cohort}"
        if missing and len(missing) == len(wanted):
            other = f" ({source.path} has such as {list(there)[-1]})" if known else ""
            # Who takes samples with one modality may name profiles that are not there.
            (lost.of_some if cohort.require == "any" else lost.of_all).append(
                f"{cohort.samples}: none {where} is that of a profile in {source.path}, such as {missing[0]}{other}; "
                "correct expression_id, or the path (docs/data.md says what the id is in each format)"
            )
        elif missing:
            become = "have no expression" if cohort.require == "any" else "be left out"
            lost.of_some.append(
                f"{cohort.samples}: {len(missing)} {where} are not those of profiles in {source.path}, such as "
                f"{missing[0]}; their samples will {become}"
            )
    return lost
