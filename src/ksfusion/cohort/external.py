"""External cohorts: what they are to a split, and what is wrong with them, told before any job.

Read with the standard library alone: the Snakefile asks each time it is parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ksfusion.cohort.config import Splits
from ksfusion.core.errors import first_of
from ksfusion.core.near_names import did_you_mean


def split_problems(splits: Splits, rows: Sequence[Mapping[str, str]], path: str, source: str) -> Iterator[str]:
    """Yield a line for what the cases do not allow of the split that is configured.

    Parameters
    ----------
    splits
        Division of the cases.
    rows
        Rows of the table of samples.
    path
        That table, for messages.
    source
        Name of the configuration in messages.
    """
    cohorts = sorted({row["cohort"] for row in rows})
    inside = [row for row in rows if row["cohort"] not in splits.external]
    for name in splits.external:
        if name not in cohorts:
            yield (
                f"{source}: splits.external: no sample of {path} is of cohort {name}; it has {', '.join(cohorts)}: "
                f"correct the name, or leave it out{did_you_mean(name, cohorts)}"
            )
    if not inside:
        yield f"{source}: splits.external: names all cohorts of {path}, so that none is left to train on; leave one out"
        return
    outside = {row["case_id"]: row["cohort"] for row in rows if row["cohort"] in splits.external}
    on_both = {row["case_id"]: row["cohort"] for row in inside if row["case_id"] in outside}
    yield from first_of(
        [
            f"{path}: case {case_id} has samples of cohort {cohort} and of {outside[case_id]}, which splits.external "
            "names; leave out one of them"
            for case_id, cohort in sorted(on_both.items())
        ]
    )
    cases = len({row["case_id"] for row in inside})
    if splits.scheme == "kfold" and splits.k > cases:
        yield f"{source}: splits.k: {splits.k} folds of {cases} cases leave some without any; lower it"
