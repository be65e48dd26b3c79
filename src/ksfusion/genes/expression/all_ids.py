"""The ids of a source's profiles, read from its files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.h5ad import read_h5ad_ids
from ksfusion.genes.expression.ids import ids_at_hand
from ksfusion.genes.expression.matrix import read_matrix


def read_ids(source: ExpressionSource, wanted: Collection[str] = ()) -> Collection[str]:
    """Return the ids of a source's profiles; a table of samples x genes is read whole for them.

    Parameters
    ----------
    source
        The source.
    wanted
        Ids that are looked for, see `ksfusion.genes.expression.ids.ids_at_hand`.

    Raises
    ------
    UserError
        If the files are not such that `ksfusion.genes.expression.profiles.read_expression` can read them.
    """
    at_hand = ids_at_hand(source, wanted)
    if at_hand is not None:
        return at_hand
    path = Path(source.path)
    if source.format == "h5ad":
        return read_h5ad_ids(path)
    return list(map(str, read_matrix(path, source.suffix or "").profiles.index))
