"""Expression profiles of every cohort, in log units and under common gene symbols."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.errors import UserError
from ksfusion.genes.niches import ensembl_symbols
from ksfusion.genes.readers import read_gdc_star, read_h5ad, read_ivygap, read_matrix, without_version
from ksfusion.provenance import provenance
from ksfusion.storage import write_parquet

log = logging.getLogger(__name__)

UNITS = ("counts", "tpm", "fpkm", "log", "zscore")
FORMATS = ("gdc-star", "ivygap", "matrix", "h5ad")


def read_expression(path: Path | str, *, format: str, unit: str, suffix: str | None = None) -> pd.DataFrame:
    """Read the expression profiles of one cohort.

    Parameters
    ----------
    path
        A folder for ``gdc-star`` and ``ivygap``, a file for ``matrix`` and ``h5ad``.
    format
        ``gdc-star``: STAR gene counts as gdc-client lays them out, the expression_id is the file's folder (or, for a
        file directly in ``path``, its name up to the first dot). ``ivygap``: the atlas's ``fpkm_table.csv`` with
        ``rows-genes.csv``, the expression_id is the rna_well_id. ``matrix``: genes x samples or samples x genes, the
        expression_id is the sample's column name, or the row's ``expression_id`` (else its first text column).
        ``h5ad``: AnnData, the expression_id is the obs name.
    unit
        ``counts`` become log2(CPM + 1), counts per million over all genes of the file; ``tpm`` and ``fpkm`` become
        log2(x + 1); ``log`` and ``zscore`` are taken as they are.
    suffix
        Ending of the gene columns of a matrix (``_rnaseq``); columns without it are ignored.

    Returns
    -------
    DataFrame
        Profiles x genes, float32; index expression_id, columns HGNC symbols. Ensembl ids lose their version, and the
        genes of the shipped sets get their symbol. Of several genes with one symbol the one with the highest mean is
        kept. Missing values stay missing; a profile without any value or any count is left out.

    Raises
    ------
    UserError
        If a file is missing, lacks a column, holds no profile or a wrong value, or names a profile twice.
    """
    path = Path(path)
    if unit not in UNITS:
        raise UserError(f"{path}: unknown unit {unit!r}; use {', '.join(UNITS)}")
    if not path.exists():
        raise UserError(f"{path}: not found; check the path of cohort.expression")
    if (format in ("gdc-star", "ivygap")) != path.is_dir():
        raise UserError(f"{path}: format {format} wants a {'file' if path.is_dir() else 'folder'}")
    match format:
        case "gdc-star":
            profiles = read_gdc_star(path, unit)
        case "ivygap":
            profiles = read_ivygap(path, unit)
        case "matrix":
            profiles = read_matrix(path, suffix or "")
        case "h5ad":
            profiles = read_h5ad(path)
        case _:
            raise UserError(f"{path}: unknown format {format!r}; use {', '.join(FORMATS)}")
    if profiles.empty:
        raise UserError(f"{path}: no profile found; it has {len(profiles)} profiles of {profiles.shape[1]} genes")
    return _by_symbol(_log_units(profiles, unit, path), path)


def _log_units(profiles: pd.DataFrame, unit: str, path: Path) -> pd.DataFrame:
    """Bring raw values to log units, in place."""
    values = profiles.to_numpy()
    if np.isinf(values).any():
        raise UserError(f"{path}: {_first_cell(profiles, np.isinf(values))} is infinite; correct it")
    if unit in ("counts", "tpm", "fpkm"):
        if (values < 0).any():
            raise UserError(f"{path}: {_first_cell(profiles, values < 0)} is negative; {unit} cannot be: check unit")
        if unit == "counts":
            library_size = np.nansum(values, axis=1, dtype=np.float64, keepdims=True)
            # A profile without reads has no composition: it becomes missing, not zero.
            library_size[library_size == 0] = np.nan
            values *= (1e6 / library_size).astype(np.float32)
        values += 1
        np.log2(values, out=values)
    is_empty = np.isnan(values).all(axis=1)
    if is_empty.all():
        raise UserError(f"{path}: no profile holds a value; check unit and format")
    if is_empty.any():
        log.warning("%s: %d profiles without any value are left out", path, int(is_empty.sum()))
    return pd.DataFrame(values[~is_empty] if is_empty.any() else values, profiles.index[~is_empty], profiles.columns)


def _first_cell(profiles: pd.DataFrame, wrong: np.ndarray) -> str:
    row, column = np.argwhere(wrong)[0]
    return f"profile {profiles.index[row]}, gene {profiles.columns[column]}: {profiles.iat[row, column]:g}"


def _by_symbol(profiles: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Name genes by symbol and keep, of several genes with one symbol, the one with the highest mean."""
    symbol_of = ensembl_symbols()
    names = [without_version(name) for name in profiles.columns]
    symbols = pd.Index([symbol_of.get(name, name) for name in names], dtype=object)
    if symbols.has_duplicates:
        shared = np.flatnonzero(symbols.duplicated(keep=False))
        means = np.full(len(symbols), np.inf)
        means[shared] = profiles.iloc[:, shared].mean().fillna(-np.inf)
        best = pd.Series(means).groupby(symbols.to_numpy(), sort=False).idxmax().sort_values().to_numpy()
        log.info(
            "%s: %d genes share a symbol with a more expressed one and are dropped", path, len(symbols) - len(best)
        )
        profiles, symbols = profiles.iloc[:, best], symbols[best]
    return profiles.set_axis(symbols, axis=1).rename_axis(index="expression_id", columns=None)


def collect_profiles(sources: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Read all cohorts and write one table of the genes they share.

    Parameters
    ----------
    sources
        One mapping for each cohort with ``cohort``, ``format``, ``unit``, ``path`` and, optional, ``suffix``.
    output
        ``genes/profiles.parquet``: cohort, expression_id and one float32 column for each gene that all cohorts have,
        by symbol; rows by cohort and expression_id.

    Raises
    ------
    UserError
        As `read_expression`; or if two cohorts share no gene.
    """
    cohorts = {
        source["cohort"]: read_expression(
            source["path"], format=source["format"], unit=source["unit"], suffix=source.get("suffix")
        )
        for source in sorted(sources, key=lambda source: source["cohort"])
    }
    _refuse_disjoint(cohorts)
    shared = sorted(reduce(lambda left, right: left & right, (set(table.columns) for table in cohorts.values())))
    if not shared:
        raise UserError(f"cohorts {', '.join(cohorts)} have no gene in common; check the formats of cohort.expression")
    log.info("%d genes are shared by %s", len(shared), ", ".join(cohorts))
    names = list(cohorts)
    # Popping lets each cohort's full table go as soon as its shared genes are taken.
    table = pd.concat([cohorts.pop(name)[shared].sort_index() for name in names], keys=names)
    table.index.names = ["cohort", "expression_id"]
    made_by = provenance(__name__, {"sources": [{key: _plain(source[key]) for key in source} for source in sources]})
    write_parquet(table.reset_index(), output, made_by)


def _refuse_disjoint(cohorts: Mapping[str, pd.DataFrame]) -> None:
    names = list(cohorts)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            if cohorts[first].columns.intersection(cohorts[second].columns).empty:
                raise UserError(
                    f"cohorts {first} and {second} have no gene in common ({cohorts[first].columns[0]}, ... and "
                    f"{cohorts[second].columns[0]}, ...); use gene symbols in both"
                )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
