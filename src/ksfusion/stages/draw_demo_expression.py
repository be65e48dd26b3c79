"""Draw the expression profiles of the demo cohort, and apart from them the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ksfusion.core.ids import stable_hash
from ksfusion.core.storage import write_tsv
from ksfusion.demo.cohort import IVY_COHORT, SEED, draw_cases, planted_samples
from ksfusion.demo.expression import write_expression


def draw_demo_expression(expression_ids: Sequence[str], folder: Path, truth: Path) -> None:
    """Draw expression profiles of the demo cohort, and write the planted truth of the cases.

    Parameters
    ----------
    expression_ids
        Which profiles; the demo's sample table names them.
    folder
        Where ``gdc/`` and ``ivygap/`` go.
    truth
        Table of the planted truth, one row per case; no stage of the pipeline reads it.
    """
    planted = planted_samples()
    profiles = planted[planted["expression_id"].isin(set(expression_ids))].drop_duplicates("expression_id").copy()
    profiles["layout"] = np.where(profiles["cohort"] == IVY_COHORT, "ivygap", "gdc-star")
    profiles["library"] = [stable_hash(text) / 2**32 - 0.5 for text in profiles["expression_id"]]
    profiles["tumor_name"] = profiles["case_id"]
    profiles["block_name"] = profiles["slide_block_id"]
    profiles["specimen_name"] = profiles["sample_id"]
    write_expression(profiles, folder, SEED)
    cases = draw_cases(SEED)
    write_tsv(cases[cases["case_id"].isin(set(profiles["case_id"]))], truth)
