"""Which of the ids that a table of samples names are no profile's of a source. Light: asked before any job starts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from ksfusion.core.data_files import check_is_data, open_data
from ksfusion.core.workbooks import is_workbook
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.gdc import gdc_files_by_id
from ksfusion.genes.expression.header import HDF5_MAGIC, PARQUET_MAGIC, PROFILE_ID, read_header
from ksfusion.genes.sets.known import known_among
from ksfusion.terms.published_files import FPKM_TABLE
from ksfusion.terms.units import GDC_STAR, IVYGAP

# Returns the ids of a source's profiles, given those that are looked for; None where it takes more to say.
IdReader = Callable[[ExpressionSource, Collection[str]], Collection[str] | None]


def ids_at_hand(source: ExpressionSource, wanted: Collection[str]) -> Collection[str] | None:
    """Return the ids of a source's profiles where names of files or the first line of a table say them.

    Parameters
    ----------
    source
        The source.
    wanted
        Ids that are looked for.

    Returns
    -------
    collection of str
        The ids, of a table with other columns beside them; None where they stand below each other, or in a file that
        is no text.

    Raises
    ------
    UserError
        If the files are not such that `ksfusion.genes.expression.profiles.read_expression` can read them.
    """
    path = Path(source.path)
    if source.format == GDC_STAR:
        return gdc_files_by_id(path, Path(source.sample_sheet) if source.sample_sheet else None)
    if source.format == IVYGAP:
        return _header(path / FPKM_TABLE)[1:]
    if source.format != "matrix" or check_is_data(path).startswith((PARQUET_MAGIC, HDF5_MAGIC)) or is_workbook(path):
        return None
    names = [name.removesuffix(source.suffix or "") for name in _header(path)]
    found, genes = len(set(wanted) & set(names)), len(known_among(names))
    # In a table of samples x genes known genes are in the header, and one of them may have a sample's name.
    return None if PROFILE_ID in names or genes > found else names


def _header(path: Path) -> list[str]:
    with open_data(path) as file:
        return read_header(file, path)[0]
