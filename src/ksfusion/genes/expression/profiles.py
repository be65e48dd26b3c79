"""Expression profiles of every cohort, in log units and under common gene symbols."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from ksfusion.core.errors import UserError
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.counts import LIBRARY_SIZE_COLUMNS, counts_to_log
from ksfusion.genes.expression.h5ad import read_h5ad
from ksfusion.genes.expression.matrix import read_matrix
from ksfusion.genes.expression.noted import Noted, listed
from ksfusion.genes.expression.readers import Expression, read_gdc_star, read_ivygap
from ksfusion.genes.expression.shared import shared_genes
from ksfusion.genes.expression.totals import without_totals
from ksfusion.genes.expression.units import negative_share, unit_findings
from ksfusion.genes.sets.known import known_among
from ksfusion.genes.sets.naming import knows_few, naming_of
from ksfusion.genes.sets.spreadsheets import dates_among, looks_converted
from ksfusion.genes.sets.symbols import current_symbols, one_column_per_symbol
from ksfusion.terms.findings import Finding
from ksfusion.terms.gene_columns import PROFILE_KEYS, copies_apart, is_copy, symbol_of
from ksfusion.terms.gene_sets import NEWEST
from ksfusion.terms.units import FOLDER_FORMATS, FORMATS, UNITS, ExpressionFormat, ExpressionUnit

log = logging.getLogger(__name__)

# Profiles whose genes are put in order together: bounds the memory of their copy.
ROWS_AT_A_TIME = 256


def read_expression(
    path: Path | str,
    *,
    format: ExpressionFormat,
    unit: ExpressionUnit,
    suffix: str | None = None,
    sample_sheet: Path | str | None = None,
) -> pd.DataFrame:
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
        Ending of the gene columns of a matrix (``_rnaseq``), or of its sample columns where genes are rows; columns
        without it are ignored.
    sample_sheet
        The sample sheet of the GDC portal, for ``gdc-star``: the expression_id is then the Sample ID of the file.

    Returns
    -------
    DataFrame
        Profiles x genes, float32; index expression_id (without blanks round it), columns HGNC symbols. Ensembl ids
        lose their version and get the symbol that the shipped sets, else the file itself, has for them; previous
        symbols become that of today where the table has not got that one too (`ksfusion.genes.sets.symbols`). Of
        several genes with one symbol the one with the highest mean is kept. Missing values stay missing; a profile
        without any value or any count is left out.

    Raises
    ------
    UserError
        If a file is missing, lacks a column, holds no profile or a wrong value, or names a profile twice.
    """
    read = _read_log_units(Path(path), format, unit, suffix, sample_sheet)
    return one_column_per_symbol(read.profiles, Path(path), read.symbol_of_id)


def _read_log_units(
    path: Path, format: ExpressionFormat, unit: ExpressionUnit, suffix: str | None, sample_sheet: Path | str | None
) -> Expression:
    """Read the profiles of one cohort in log units, genes named as in the file."""
    if unit not in UNITS:
        raise UserError(f"{path}: unknown unit {unit!r}; use {', '.join(UNITS)}")
    if not path.exists():
        raise UserError(f"{path}: not found; check the path of cohort.expression")
    if (format in FOLDER_FORMATS) != path.is_dir():
        raise UserError(f"{path}: format {format} wants a {'file' if path.is_dir() else 'folder'}")
    match format:
        case "gdc-star":
            read = read_gdc_star(path, unit, Path(sample_sheet) if sample_sheet else None)
        case "ivygap":
            read = read_ivygap(path, unit)
        case "matrix":
            read = read_matrix(path, suffix or "")
        case "h5ad":
            read = read_h5ad(path)
        case _:
            raise UserError(f"{path}: unknown format {format!r}; use {', '.join(FORMATS)}")
    # Arrow keeps what it has freed, as large as the file, for itself.
    pa.default_memory_pool().release_unused()
    if read.profiles.empty:
        n_profiles, n_genes = read.profiles.shape
        raise UserError(f"{path}: no profile found; it has {n_profiles} profiles of {n_genes} genes")
    profiles, totals = without_totals(read.profiles)
    noted = [*read.noted, *totals, *_noted_names(profiles, path, beside_ids=bool(read.symbol_of_id))]
    read = _log_units(read._replace(profiles=profiles, noted=tuple(noted)), unit, path)
    for note in read.noted:
        log.warning("%s: %s", path, note.detail)
    return read


def _noted_names(profiles: pd.DataFrame, path: Path, *, beside_ids: bool) -> Iterator[Noted]:
    """Yield what is odd in the names of genes and profiles; raise a UserError if no gene is known.

    Parameters
    ----------
    profiles
        Profiles x genes, named as in the file.
    path
        The file.
    beside_ids
        Whether the file has symbols beside Ensembl ids.
    """
    genes = [str(name) for name in profiles.columns]
    if knows_few(genes):
        n_known, naming = len(known_among(genes)), naming_of(genes)
        remedy = f"they are named by {naming}" if naming else "give HGNC symbols or Ensembl ids of human genes"
        if not n_known and not beside_ids:
            raise UserError(f"{path}: none of its {len(genes):,} genes is known ({listed(genes)}); {remedy}")
        yield Noted("few_genes_known", f"{n_known} of its {len(genes):,} genes are known ({listed(genes)}); {remedy}")
    if odd := [name for name in map(str, profiles.index) if looks_converted(name)]:
        detail = f"{len(odd)} profile ids are such as readers of tables take for numbers or dates ({listed(odd)})"
        yield Noted("ids_look_converted", f"{detail}: see that they stand so in the table of samples too")


def _log_units(read: Expression, unit: ExpressionUnit, path: Path) -> Expression:
    """Bring raw values to log units, in place; of counts the library sizes are kept."""
    profiles, library_sizes = read.profiles, None
    values = profiles.to_numpy()
    if np.isinf(values).any():
        raise UserError(f"{path}: {_first_cell(profiles, np.isinf(values))} is infinite; correct it")
    if unit in ("counts", "tpm", "fpkm") and (values < 0).any():
        seen = negative_share(values)
        raise UserError(f"{path}: {_first_cell(profiles, values < 0)} is negative; {unit} cannot be: check unit{seen}")
    noted = (*read.noted, *unit_findings(values, profiles.index, unit))
    if unit == "counts":
        library_sizes = pd.Series(counts_to_log(values), profiles.index).dropna()
    elif unit in ("tpm", "fpkm"):
        values += 1
        np.log2(values, out=values)
    is_empty = np.isnan(values).all(axis=1)
    if is_empty.all():
        raise UserError(f"{path}: no profile holds a value; check unit and format")
    if is_empty.any():
        log.warning("%s: %d profiles without any value are left out", path, int(is_empty.sum()))
    values = values[~is_empty] if is_empty.any() else values
    profiles = pd.DataFrame(values, profiles.index[~is_empty], profiles.columns)
    return Expression(profiles, read.symbol_of_id, library_sizes, noted)


def _first_cell(profiles: pd.DataFrame, wrong: np.ndarray) -> str:
    row, column = np.argwhere(wrong)[0]
    return f"profile {profiles.index[row]}, gene {profiles.columns[column]}: {profiles.iat[row, column]:g}"


class JoinedProfiles(NamedTuple):
    """The expression of all cohorts.

    Attributes
    ----------
    profiles
        Profiles x genes, float32, indexed by cohort and expression_id: the genes that all cohorts have but the external
        ones, by symbol; missing in external cohorts that lack them. Of genes with one symbol all are kept, as
        `ksfusion.terms.gene_columns` names them, missing in cohorts that have fewer: which one counts is for each fold
        to choose.
    library_sizes
        cohort, expression_id and library_size, the reads over all genes of the file, of the profiles whose unit is
        ``counts``; what brings their counts back.
    findings
        What may be a mistake in a cohort's files, the cohort being the subject.
    """

    profiles: pd.DataFrame
    library_sizes: pd.DataFrame
    findings: list[Finding]


def join_cohorts(
    sources: Sequence[ExpressionSource], *, external: Collection[str] = (), names: str = NEWEST
) -> JoinedProfiles:
    """Read all cohorts and join them by the genes they share.

    Where one cohort has symbols beside its Ensembl ids, they name the genes of the others that have ids alone.

    Parameters
    ----------
    sources
        Files of each cohort's profiles.
    external
        Cohorts that take the genes which the others share, and name no gene of theirs; where all are, each keeps its
        own.
    names
        The version of the shipped gene sets whose Ensembl ids and previous symbols are known.

    Raises
    ------
    UserError
        As `read_expression`; or if two cohorts share no gene, or an external one has none of the shared ones.
    """
    in_order = sorted(sources, key=lambda source: source.cohort)
    read = {
        source.cohort: _read_log_units(
            Path(source.path), source.format, source.unit, source.suffix, source.sample_sheet
        )
        for source in in_order
    }
    library_sizes = _library_sizes(read)
    pairs: dict[str, str] = {}
    for cohort, expression in read.items():
        pairs = pairs if cohort in external else expression.symbol_of_id | pairs
    cohorts: dict[str, pd.DataFrame] = {}
    findings: list[Finding] = []
    for source in in_order:
        values, own_pairs, _, noted = read.pop(source.cohort)
        cohorts[source.cohort] = _genes_apart(values, Path(source.path), pairs | own_pairs, names)
        del values
        findings += _findings(source, [*noted, *_noted_dates(cohorts[source.cohort])])
    shared = shared_genes(cohorts, external=external)
    of_shared = set(shared)
    copies = {name for table in cohorts.values() for name in table.columns if is_copy(name)}
    columns = shared + sorted(name for name in copies if symbol_of(name) in of_shared)
    return JoinedProfiles(_below_each_other(cohorts, columns), library_sizes, findings)


def _findings(source: ExpressionSource, noted: Sequence[Noted]) -> list[Finding]:
    path = source.path
    return [Finding(check=note.check, subject=source.cohort, detail=f"{path}: {note.detail}") for note in noted]


def _noted_dates(profiles: pd.DataFrame) -> Iterator[Noted]:
    """Yield that genes are dates, of which the log has told already."""
    if dates := dates_among([symbol_of(name) for name in profiles.columns]):
        detail = f"{len(dates)} gene names are dates, as spreadsheets make of SEPTIN and MARCHF symbols"
        yield Noted(
            "genes_are_dates", f"{detail} ({listed(dates)}): these genes are lost; give the table as it was before"
        )


def _library_sizes(read: Mapping[str, Expression]) -> pd.DataFrame:
    """Return the library sizes of all cohorts of counts, by cohort and expression_id."""
    known = {cohort: part.library_sizes for cohort, part in read.items() if part.library_sizes is not None}
    rows = [(cohort, *row) for cohort, sizes in known.items() for row in sizes.sort_index().items()]
    return pd.DataFrame(rows, columns=LIBRARY_SIZE_COLUMNS)


def _genes_apart(profiles: pd.DataFrame, path: Path, symbol_of_id: Mapping[str, str], version: str) -> pd.DataFrame:
    """Name genes by symbol, those that share one apart."""
    names = copies_apart(current_symbols(list(profiles.columns), path, symbol_of_id, version))
    if n_copies := sum(map(is_copy, names)):
        log.info("%s: %d genes share a symbol with another; each fold chooses which one counts", path, n_copies)
    return pd.DataFrame(profiles.to_numpy(), profiles.index.rename("expression_id"), names, copy=False)


def _below_each_other(cohorts: dict[str, pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Put the cohorts' profiles into one table, a column that a cohort lacks missing; empties ``cohorts``."""
    names = [(cohort, expression_id) for cohort, table in cohorts.items() for expression_id in sorted(table.index)]
    values = np.full((len(names), len(columns)), np.nan, np.float32, order="F")
    start = 0
    for cohort in list(cohorts):
        # Popping lets each cohort's full table go as soon as its shared genes are taken.
        table = cohorts.pop(cohort).sort_index()
        read, places = table.to_numpy(), table.columns.get_indexer(columns)
        part = values[start : start + len(table)]
        for rows in range(0, len(table), ROWS_AT_A_TIME):
            part[rows : rows + ROWS_AT_A_TIME, places >= 0] = read[rows : rows + ROWS_AT_A_TIME, places[places >= 0]]
        start += len(table)
    index = pd.MultiIndex.from_tuples(names, names=PROFILE_KEYS)
    return pd.DataFrame(values, index, columns, copy=False)
