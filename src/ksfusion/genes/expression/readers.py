"""The published layouts of expression data: each reader returns profiles x genes in the unit of the file.

Column names of the returned tables are gene names as the file gives them and may repeat;
`ksfusion.genes.expression.profiles` brings them to symbols and log units. Tables that people make themselves are read
by `ksfusion.genes.expression.matrix`, AnnData by `ksfusion.genes.expression.h5ad`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.genes.expression.gdc import gdc_files_by_id
from ksfusion.genes.expression.noted import Noted
from ksfusion.genes.expression.numeric_columns import NumericTable
from ksfusion.genes.expression.numeric_table import read_numeric_table, refuse_duplicates
from ksfusion.genes.sets.symbols import symbols_of_ids
from ksfusion.terms.published_files import FPKM_TABLE, GENES_TABLE, SAMPLES_TABLE
from ksfusion.terms.units import ExpressionUnit

GDC_COLUMNS = {"counts": "unstranded", "tpm": "tpm_unstranded", "fpkm": "fpkm_unstranded"}
# Read counts that belong to no gene: STAR's first four rows, HTSeq's last five.
SUMMARY_ROW = re.compile(r"N_(unmapped|multimapping|noFeature|ambiguous)|__\w+")
# Columns beside genes that hold their symbols, in small letters and digits.
SYMBOL_COLUMNS = {"genename", "genesymbol", "genesymbols", "symbol", "hugosymbol", "hgncsymbol", "featurename"}
IVYGAP_CORNER = "gene_id\\rna_well_id"


class Expression(NamedTuple):
    """What is read from the files of one cohort.

    Attributes
    ----------
    profiles
        Profiles x genes, genes named as in the file.
    symbol_of_id
        The symbols that it gives beside Ensembl ids.
    library_sizes
        Reads of each profile of counts; None of other units.
    noted
        What may be a mistake.
    """

    profiles: pd.DataFrame
    symbol_of_id: dict[str, str]
    library_sizes: pd.Series | None = None
    noted: tuple[Noted, ...] = ()


def read_gdc_star(path: Path, unit: ExpressionUnit, sample_sheet: Path | None = None) -> Expression:
    """Read a folder of STAR gene counts as gdc-client lays it out; each file is read once.

    The expression_id is the folder that a file sits in (its GDC file uuid); for a file directly in ``path``, its name
    up to the first dot. With the sample sheet of the GDC portal it is the Sample ID of the file.

    Parameters
    ----------
    path
        The folder.
    unit
        ``counts``, ``tpm`` or ``fpkm``.
    sample_sheet
        The sample sheet, if profiles are to be named by it.

    Raises
    ------
    UserError
        If there is no file, two of one id, one that the sample sheet lacks, one of other genes than the first, or a
        value that is not a number.
    """
    if unit not in GDC_COLUMNS:
        raise UserError(f"{path}: unit {unit} is not in gdc-star files; use {', '.join(GDC_COLUMNS)}")
    files = gdc_files_by_id(path, sample_sheet)
    name = GDC_COLUMNS[unit]
    values: np.ndarray | None = None
    for row, file in enumerate(files.values()):
        table = read_numeric_table(file, columns=["gene_id", "gene_name", name], text=["gene_id", "gene_name"])
        column = table.numbers(name)
        if values is None:
            first = table
            read_ids = table.columns["gene_id"]
            is_gene = np.array([not SUMMARY_ROW.fullmatch(gene) for gene in table.texts("gene_id")])
            gene_ids = np.array(table.texts("gene_id"), dtype=object)[is_gene]
            symbols = np.array(table.texts("gene_name"), dtype=object)[is_gene]
            values = np.empty((len(files), len(gene_ids)), np.float32)
        if table.columns["gene_id"].equals(read_ids):
            values[row] = column[is_gene]
        else:
            values[row] = column[_rows_of(gene_ids, table, first)]
    names = np.where(symbols == "", gene_ids, symbols)
    return Expression(
        pd.DataFrame(values, index=list(files), columns=names, copy=False), symbols_of_ids(gene_ids, symbols)
    )


def _rows_of(gene_ids: np.ndarray, table: NumericTable, first: NumericTable) -> np.ndarray:
    """Return the rows of a file in which the first file's genes stand."""
    index = pd.Index(table.texts("gene_id"))
    n_genes = sum(not SUMMARY_ROW.fullmatch(gene) for gene in index)
    rows = index.get_indexer(gene_ids) if index.is_unique else np.array([-1])
    if n_genes != len(gene_ids) or (rows < 0).any():
        raise UserError(f"{table.path}: has other genes than {first.path}; download it again, or use one gene model")
    return rows


def read_ivygap(path: Path, unit: ExpressionUnit) -> Expression:
    """Read the gene expression download of the Ivy Glioblastoma Atlas Project; the expression_id is the rna_well_id.

    ``fpkm_table.csv`` names genes by number; ``rows-genes.csv`` says which symbol each number is, and
    ``columns-samples.csv`` which profiles there are.

    Parameters
    ----------
    path
        The folder of the three files.
    unit
        ``fpkm``, which alone is published.

    Raises
    ------
    UserError
        If a file is missing, or the three do not belong together.
    """
    if unit != "fpkm":
        raise UserError(f"{path}: IvyGAP publishes fpkm, not {unit}; set unit: fpkm")
    fpkm, genes, samples = path / FPKM_TABLE, path / GENES_TABLE, path / SAMPLES_TABLE
    annotation = read_numeric_table(genes, columns=["gene_id", "gene_symbol"], text=["gene_id", "gene_symbol"])
    gene_ids = annotation.texts("gene_id")
    refuse_duplicates(gene_ids, genes, "a gene_id names one gene; download it again")
    wells = set(read_numeric_table(samples, columns=["rna_well_id"], text=["rna_well_id"]).texts("rna_well_id"))
    table = read_numeric_table(fpkm, text=[IVYGAP_CORNER])
    if table.names[0] != IVYGAP_CORNER:
        raise UserError(f"{fpkm}: the first column is {table.names[0]!r}, not {IVYGAP_CORNER!r}; is it IvyGAP's table?")
    unknown = [well for well in table.names[1:] if well not in wells]
    if unknown:
        raise UserError(f"{samples}: no rna_well_id {unknown[0]}, which {fpkm.name} has; download both")
    symbol_of = dict(zip(gene_ids, annotation.texts("gene_symbol"), strict=True))
    read_ids = table.texts(IVYGAP_CORNER)
    unknown = [gene for gene in read_ids if gene not in symbol_of]
    if unknown:
        raise UserError(f"{genes}: no gene_id {unknown[0]}, which {fpkm.name} has; download both")
    return Expression(genes_by_samples(table, table.names[1:], [symbol_of[gene] for gene in read_ids]), {})


def genes_by_samples(table: NumericTable, names: list[str], genes: list[str], suffix: str = "") -> pd.DataFrame:
    """Turn the columns ``names`` of a table of genes x samples into profiles x genes.

    Rows without a gene's name, and rows of reads that belong to no gene, are left out.

    Parameters
    ----------
    table
        Genes x samples.
    names
        The columns of the samples.
    genes
        The name of each row's gene, empty where it has none.
    suffix
        Ending of the samples' columns that is no part of their ids.
    """
    is_gene = np.array([gene != "" and not SUMMARY_ROW.fullmatch(gene) for gene in genes], dtype=bool)
    values = np.empty((len(names), int(is_gene.sum())), np.float32)
    for row, name in enumerate(names):
        values[row] = table.numbers(name)[is_gene]
    ids = [name.removesuffix(suffix) for name in names]
    return pd.DataFrame(values, index=ids, columns=np.array(genes, dtype=object)[is_gene], copy=False)
