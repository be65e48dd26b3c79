"""AnnData files (h5ad): what they are is looked at before anything is read, so that none is read as it comes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ksfusion.core.data_files import check_is_data
from ksfusion.core.errors import UserError
from ksfusion.core.hdf5_probe import can_be_read
from ksfusion.core.memory import check_fits_memory
from ksfusion.genes.expression.header import plain_name
from ksfusion.genes.expression.numeric_table import refuse_duplicates
from ksfusion.genes.expression.readers import SYMBOL_COLUMNS, Expression
from ksfusion.genes.sets.symbols import symbols_of_ids

# Columns of var that hold the Ensembl ids of symbols, in small letters and digits.
ID_COLUMNS = {"geneid", "geneids", "ensembl", "ensemblid", "ensemblgeneid", "featureid"}
SPARSE = {"csr_matrix", "csc_matrix", "csr", "csc"}
# What a group of a 10x file holds, whatever its version.
TENX = {"barcodes", "data", "indices", "indptr", "shape"}
SAVED_AGAIN = "read it with {reader} and save it with write_h5ad"


def read_h5ad(path: Path) -> Expression:
    """Read an AnnData file: obs_names are the expression ids, var_names the genes, X the values.

    Symbols beside Ensembl ids stand in a column of var, or ids beside symbols.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    UserError
        If it is another kind of HDF5 file, X is missing, is no matrix of numbers or larger than memory, a sparse X
        points outside the genes, anndata cannot read a part of it, or a profile's name stands twice.
    """
    data = _checked(path, _read)
    genes = [str(name) for name in data.var_names]
    profiles = pd.DataFrame(_dense(data.X, path), index=_ids(data.obs_names, path), columns=genes, copy=False)
    return Expression(profiles, _symbols_of_var(genes, data.var))


def read_h5ad_ids(path: Path) -> list[str]:
    """Read the expression ids of an AnnData file, and nothing else of it.

    Raises
    ------
    UserError
        As `read_h5ad`, but for what is wrong in the values.
    """
    return _ids(_checked(path, _read_obs).index, path)


def _ids(names: pd.Index, path: Path) -> list[str]:
    ids = [str(name).strip() for name in names]
    refuse_duplicates(ids, path)
    return ids


def _checked(path: Path, read: Callable[[Path], Any]) -> Any:
    """Return what is read of a file that is AnnData; a UserError where it is none or is damaged."""
    check_is_data(path)
    if not can_be_read(path):
        raise UserError(f"{path}: is a damaged HDF5 file; download it again, or save it again with anndata")
    try:
        with h5py.File(path) as file:
            _check_layout(file, path)
        return read(path)
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path}: does not fit into memory; keep only the profiles and genes of the study") from None
    # Whatever a damaged or foreign file makes h5py and anndata raise is the file's fault: it is named.
    except Exception as error:
        raise _unreadable(path, error) from None


def _check_layout(file: h5py.File, path: Path) -> None:
    """Raise a UserError if a file is no AnnData, or its X is no matrix of numbers that fits into memory."""
    if "X" not in file:
        raise UserError(f"{path}: {_what_else(file)}")
    x = file["X"]
    if isinstance(x, h5py.Group):
        kind = _text(x.attrs.get("encoding-type", x.attrs.get("h5sparse_format", "")))
        if kind not in SPARSE or not {"data", "indices", "indptr"} <= set(x):
            raise UserError(f"{path}: X is {kind or 'a group'}, no matrix; write the expression values there")
        shape, values = x.attrs.get("shape", x.attrs.get("h5sparse_shape", ())), x["data"]
        stored = values.nbytes + x["indices"].nbytes
    else:
        shape, values, stored = x.shape or (), x, 0 if x.dtype == np.float32 else x.nbytes
    if values.dtype.kind not in "iufb":
        holds = "text" if h5py.check_string_dtype(values.dtype) or values.dtype.kind in "SUO" else str(values.dtype)
        raise UserError(f"{path}: X holds {holds}, no numbers; write the expression values there")
    if len(shape) != 2:
        raise UserError(f"{path}: X has {len(shape)} dimensions; it must have profiles x genes")
    n_profiles, n_genes = map(int, shape)
    # Python's integers: the product may be larger than a file can be.
    needed = n_profiles * n_genes * np.dtype(np.float32).itemsize + stored
    check_fits_memory(path, f"the values of {n_profiles:,} profiles x {n_genes:,} genes", needed)


def _what_else(file: h5py.File) -> str:
    """Return what an HDF5 file without X is, and the remedy."""
    groups = {name for name, item in file.items() if isinstance(item, h5py.Group)}
    if any(len(TENX & set(file[name])) >= len(TENX) - 1 for name in groups):
        reader = SAVED_AGAIN.format(reader="scanpy.read_10x_h5")
        return f"is a 10x HDF5 matrix, not h5ad; {reader}, one profile for each sample"
    if {"row_attrs", "col_attrs"} <= groups:
        return f"is a loom file, not h5ad; {SAVED_AGAIN.format(reader='anndata.io.read_loom')}"
    if {"obs", "var"} & set(file):
        return "has no X; write the expression values there"
    return f"is an HDF5 file that is no h5ad: it has {', '.join(sorted(file)[:5]) or 'nothing'}, and no X, obs and var"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read(path: Path) -> Any:
    import anndata

    with warnings.catch_warnings():
        # Names that repeat are met above: profiles are refused, genes resolved. What else anndata has to say of a file,
        # such as that its encoding is an old one, changes no value.
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(path)


def _read_obs(path: Path) -> Any:
    from anndata.io import read_elem

    with warnings.catch_warnings(), h5py.File(path) as file:
        warnings.simplefilter("ignore")
        return read_elem(file["obs"])


def _unreadable(path: Path, error: Exception) -> UserError:
    said = " ".join(str(error).split())
    if found := re.search(r"encoding_type='([^']*)', encoding_version='([^']*)'", said):
        return UserError(
            f"{path}: has a part encoded as {found[1]} {found[2]}, which the anndata installed here cannot read; save "
            "it again without that part, or with this version of anndata"
        )
    said = said[:200] or type(error).__name__
    return UserError(f"{path}: is not a readable h5ad file ({said}); download it again, or save it again with anndata")


def _dense(values: Any, path: Path) -> np.ndarray:
    """Return X as float32, profiles x genes.

    Of a sparse matrix all indices are looked at first: one outside the genes would be written into a neighbour, or
    into other memory.
    """
    from scipy import sparse

    if not sparse.issparse(values):
        return np.asarray(values).astype(np.float32, copy=False)
    try:
        values.check_format(full_check=True)
    except ValueError as error:
        raise UserError(f"{path}: X is a damaged sparse matrix ({_outside(values) or error}); save it again") from None
    return values.astype(np.float32, copy=False).toarray()


def _outside(values: Any) -> str:
    """Return which indices of a sparse matrix lie outside of it, empty where that is not what is wrong."""
    along, counted = (1, "genes") if values.format == "csr" else (0, "profiles")
    number = values.shape[along]
    lowest, highest = (int(bound) for bound in (values.indices.min(initial=0), values.indices.max(initial=0)))
    if values.indices.size and int(values.indices.min()) == 1 and highest == number:
        return f"its indices count the {number} {counted} from 1; they must start at 0"
    if lowest < 0 or highest >= number:
        wrong = lowest if lowest < 0 else highest
        return f"index {wrong} lies outside of its {number} {counted}, which count from 0"
    return ""


def _symbols_of_var(genes: list[str], var: pd.DataFrame) -> dict[str, str]:
    columns = {plain_name(str(name)): var[name].astype("string").fillna("") for name in var.columns}
    pairs: dict[str, str] = {}
    for name, values in columns.items():
        if name in SYMBOL_COLUMNS:
            pairs |= symbols_of_ids(genes, values)
        elif name in ID_COLUMNS:
            pairs |= symbols_of_ids(values, genes)
    return pairs
