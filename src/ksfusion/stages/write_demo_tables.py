"""The demo's tables of samples and cases, which are committed under ``resources/demo/``."""

from __future__ import annotations

from pathlib import Path

from ksfusion.core.storage import write_tsv
from ksfusion.demo.cohort import case_table, sample_table


def write_demo_tables(output: Path) -> None:
    """Write the demo's tables of samples and cases.

    Parameters
    ----------
    output
        Folder that gets samples.tsv and cases.tsv, what a user would have: without the planted truth.
    """
    write_tsv(sample_table(), output / "samples.tsv")
    write_tsv(case_table(), output / "cases.tsv")
