"""Which cases train, validate and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ksfusion.errors import UserError
from ksfusion.provenance import provenance
from ksfusion.storage import read_parquet, write_tsv

SPLITS = ("train", "val", "test")


def assign_split(case_id: str, fractions: Sequence[float], seed: int) -> str:
    """Return the side of a case: its hash, read as a number in [0, 1), falls in one of three consecutive intervals.

    A case's side depends on its id and the seed alone: a new case moves no other, and a corrected label moves nobody.

    Parameters
    ----------
    case_id
        The case.
    fractions
        Shares of train, validation and test.
    seed
        Another seed, another split.
    """
    digest = hashlib.sha256(f"{seed}:{case_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < fractions[0]:
        return "train"
    return "val" if position < fractions[0] + fractions[1] else "test"


def split_sides(case_ids: Sequence[str], fractions: Sequence[float], seed: int) -> list[str]:
    """Return the side of each case.

    Raises
    ------
    UserError
        If one side gets no case at all.
    """
    sides = [assign_split(case_id, fractions, seed) for case_id in case_ids]
    if empty := [side for side in SPLITS if side not in sides]:
        raise UserError(
            f"splits: {len(case_ids)} cases leave {' and '.join(empty)} without any; "
            "change splits.fractions or splits.seed, or add cases"
        )
    return sides


def split_cases(cases: Path, output: Path, *, splits: dict[str, Any]) -> None:
    """Write ``splits.tsv`` (fold, case_id, split) for the holdout scheme.

    Raises
    ------
    UserError
        If one side gets no case at all.
    """
    import pandas as pd

    case_ids = sorted(read_parquet(cases, columns=["case_id"])["case_id"])
    sides = split_sides(case_ids, splits["fractions"], splits["seed"])
    table = pd.DataFrame({"fold": 0, "case_id": case_ids, "split": sides})
    write_tsv(table, output, provenance("ksfusion.cohort.splits", splits))
