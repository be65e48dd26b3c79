"""What a file or folder of expression is: its format, the unit that its values look like, and its profiles."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ksfusion.core.errors import UserError
from ksfusion.genes.expression.files import gdc_files
from ksfusion.genes.expression.h5ad import read_h5ad
from ksfusion.genes.expression.matrix import read_matrix
from ksfusion.genes.expression.numeric_table import read_numeric_table
from ksfusion.terms.published_files import IVYGAP_FILES, SAMPLES_TABLE
from ksfusion.terms.units import GDC_STAR, IVYGAP, ExpressionUnit

# A log2 of reads, TPM or FPKM stays below this; what is not a log exceeds it in some gene.
HIGHEST_LOG = 30
MILLION, ROUNDING = 1e6, 0.05
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
    files = [Path(name) for name, _ in gdc_files(path)]
    sheets = [*sorted(path.glob(SHEETS)), *sorted(path.parent.glob(SHEETS))]
    if not sheets:
        ids = [file.parent.name or file.name.split(".")[0] for file in files]
        return Recognised(GDC_STAR, "tpm", ids, guessed=False)
    columns = ["File ID", "File Name", "Sample ID"]
    sheet = read_numeric_table(sheets[-1], columns=columns, text=columns)
    rows = zip(*(sheet.texts(column) for column in columns), strict=True)
    there = {(file.parent.name, file.name) for file in files}
    ids = [sample for file_id, name, sample in rows if {(file_id, name), ("", name)} & there]
    return Recognised(GDC_STAR, "tpm", list(dict.fromkeys(ids)), guessed=False, sample_sheet=sheets[-1])


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
