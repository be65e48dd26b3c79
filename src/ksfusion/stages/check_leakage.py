"""The leakage gate, which runs before any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.cohort.config import CheckLeakageSettings
from ksfusion.cohort.leakage import LeakageFinding, find_leaks, refuse_leaks
from ksfusion.core.parquet import read_parquet, read_wide_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_tsv
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.split_table import read_splits


def check_leakage(
    samples: Path,
    splits: Path,
    profiles: Path,
    output: Path,
    *,
    settings: CheckLeakageSettings,
    tiles: Sequence[Path] = (),
) -> None:
    """Fail where a case, specimen, slide or profile stands in two splits of a fold.

    Parameters
    ----------
    samples
        The validated samples, of `check-cohort`.
    splits
        Sides of the cases, of `split-cases`.
    profiles
        Expression of all cohorts, of `read-expression`.
    output
        Gets what was compared and found: check, first, second, detail, verdict. Written also where a leak is found.
    settings
        Pairs that may be duplicates.
    tiles
        Tiles of all batches, which say what each slide looks like; none of a study without slides.

    Raises
    ------
    UserError
        With the leaks: which two, in which splits, and the remedy.
    """
    columns = ["slide_id", "digest", "thumbnail_hash"]
    slides = pd.concat([pd.DataFrame(columns=columns), *(read_parquet(path, columns=columns) for path in tiles)])
    findings = find_leaks(
        read_parquet(samples),
        read_splits(splits)[0],
        slides.drop_duplicates("slide_id").set_index("slide_id").sort_index(),
        read_wide_parquet(profiles, PROFILE_KEYS),
        allowed=settings.allow_duplicates,
    )
    table = pd.DataFrame(findings, columns=LeakageFinding._fields)
    write_tsv(table, output, provenance(__name__, settings.record()))
    refuse_leaks(findings)
