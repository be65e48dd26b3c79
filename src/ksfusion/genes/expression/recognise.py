"""What a file or folder of expression is: its format, the unit that its values look like, and its profiles."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ksfusion.core.errors import UserError
from ksfusion.genes.expression.files import gdc_files
from ksfusion.genes.expression.gdc import gdc_files_by_id
from ksfusion.genes.expression.h5ad import read_h5ad
from ksfusion.genes.expression.matrix import read_matrix
from ksfusion.genes.expression.numeric_table import read_numeric_table
from ksfusion.genes.expression.units import HIGHEST_LOG, MILLION, ROUNDING
from ksfusion.terms.published_files import IVYGAP_FILES, SAMPLES_TABLE
from ksfusion.terms.units import GDC_STAR, IVYGAP, ExpressionUnit

SHEETS = "gdc_sample_sheet*.tsv"


class Recognised(NamedTuple):
    """A source of expression.

    Attributes
    ----------
    format, unit
        As in the configuration.
    ids
        Of its profiles.
    guessed
        Whether the unit is judged by the values alone.
    sample_sheet
        That of the GDC portal, where it lies in the folder or beside it: profiles are then named by it.
    """

    format: str
    unit: ExpressionUnit
    ids: list[str]
    guessed: bool
    sample_sheet: Path | None = None


def recognise(path: Path) -> Recognised:
    """Look at a file or folder of expression.

    Raises
    ------
    UserError
        If it is no expression, or cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path}: is not there; correct the path")
    if path.is_dir():
        if all((path / name).is_file() for name in IVYGAP_FILES):
            samples = read_numeric_table(path / SAMPLES_TABLE, columns=["rna_well_id"], text=["rna_well_id"])
            return Recognised(IVYGAP, "fpkm", samples.texts("rna_well_id"), guessed=False)
        if gdc_files(path):
            return _gdc(path)
        raise UserError(f"{path}: is neither a folder of the GDC's STAR gene counts nor IvyGAP's; name the table in it")
    if path.suffix == ".h5ad":
        profiles = read_h5ad(path).profiles
        return Recognised("h5ad", guess_unit(profiles.to_numpy()), list(map(str, profiles.index)), guessed=True)
    profiles = read_matrix(path, "").profiles
    return Recognised("matrix", guess_unit(profiles.to_numpy()), list(map(str, profiles.index)), guessed=True)


def _gdc(path: Path) -> Recognised:
    """Recognise a folder of STAR gene counts: without the sample sheet its profiles have the names of files alone."""
    sheets = [*sorted(path.glob(SHEETS)), *sorted(path.parent.glob(SHEETS))]
    sheet = sheets[-1] if sheets else None
    return Recognised(GDC_STAR, "tpm", list(gdc_files_by_id(path, sheet)), guessed=False, sample_sheet=sheet)


def guess_unit(values: np.ndarray) -> ExpressionUnit:
    """Return the unit that values look like.

    Parameters
    ----------
    values : numpy.ndarray, (profiles, genes)
        Values of the file.

    Returns
    -------
    str
        ``zscore`` with values below 0; ``log`` without high ones; ``counts`` where all are whole; ``tpm`` where
        profiles add up to a million; else ``fpkm``.
    """
    known = values[np.isfinite(values)]
    if not known.size or known.min() < 0:
        return "zscore"
    if known.max() < HIGHEST_LOG:
        return "log"
    if (known == np.rint(known)).all():
        return "counts"
    sums = np.nansum(values, axis=1, dtype=np.float64)
    return "tpm" if np.median(np.abs(sums - MILLION)) < ROUNDING * MILLION else "fpkm"
