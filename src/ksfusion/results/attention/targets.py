"""What patches show, where it is known: what the demo has planted, or regions that the user has annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.demo.targets import planted_targets

PLACE = ["slide_id", "x", "y"]
# Of a patch, that must lie in the regions of a class.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class TargetFiles:
    """The files that say which patches there are, and what they show: the demo's truth, or annotated regions.

    Parameters
    ----------
    features
        ``features/{batch}.h5`` of all batches.
    truth
        What was drawn on each tile of the demo, of `draw-demo-slides`.
    regions
        Else the regions of `read-regions`; slides without any are left out.
    """

    features: Sequence[Path]
    truth: Path | None = None
    regions: Path | None = None


@dataclass(frozen=True, eq=False)
class Targets:
    """What the patches of some slides show.

    Attributes
    ----------
    table : pandas.DataFrame
        slide_id, x, y, and a column of bool for each target.
    """

    table: pd.DataFrame

    @classmethod
    def read(cls, files: TargetFiles) -> Targets:
        """Read what was drawn on each tile of the demo, or the annotated regions.

        Raises
        ------
        UserError
            If neither is given.
        """
        if files.truth:
            return cls(planted_targets(read_parquet(files.truth)))
        if files.regions:
            return cls(read_parquet(files.regions))
        raise UserError("--regions: names no file, and --truth neither; give either")

    @property
    def names(self) -> list[str]:
        """The targets."""
        return [name for name in self.table if name not in PLACE]

    @property
    def slides(self) -> set[str]:
        """The slides of which it is known."""
        return set(self.table["slide_id"])

    def of(self, patches: pd.DataFrame) -> pd.DataFrame:
        """Return patches, given by slide_id, x and y, with what they show.

        Raises
        ------
        UserError
            If a patch is not among those of its slide.
        """
        known = patches.merge(self.table, on=PLACE, how="left", validate="many_to_one", indicator="found")
        lost = known[known["found"] != "both"]
        if len(lost):
            row = lost.iloc[0]
            raise UserError(f"{row.slide_id}: it is not known what the patch at {row.x}, {row.y} shows; run again")
        return known.drop(columns="found").astype(dict.fromkeys(self.names, bool))
