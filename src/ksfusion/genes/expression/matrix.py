"""Expression tables that people make themselves: genes x samples or samples x genes, in one file."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from ksfusion.core.errors import UserError
from ksfusion.genes.expression.header import PROFILE_ID, plain_name
from ksfusion.genes.expression.numeric_columns import NumericTable
from ksfusion.genes.expression.numeric_table import read_numeric_table
from ksfusion.genes.expression.readers import SYMBOL_COLUMNS, Expression, genes_by_samples
from ksfusion.genes.sets.known import bare_name, known_among, known_names
from ksfusion.genes.sets.naming import common_ending, naming_of
from ksfusion.genes.sets.spreadsheets import READ_AS_NUMBER, is_date
from ksfusion.genes.sets.symbols import symbols_of_ids

log = logging.getLogger(__name__)

# GCT files, GTEx's among them, have the symbol under Description.
GCT_COLUMNS = ["Name", "Description"]
# HGNC symbols and Ensembl ids are capitals and digits, apart from names such as C9orf72.
GENE_NAME = re.compile(r"[A-Z0-9][A-Z0-9.@-]*(orf\d+[A-Z0-9-]*)?(_PAR_Y)?")
# What stands beside the values and is none, in small letters and digits (see plain_name): facts of a gene in a table of
# genes x samples, of a patient in a table of samples x genes. None of them is an HGNC symbol.
ABOUT_GENES = {
    "entrez", "entrezid", "entrezgeneid", "entrezgene", "geneentrezid", "ncbigeneid", "ncbiid", "geneid", "hgncid",
    "chromosome", "chr", "chrom", "chromosomename", "seqname", "start", "end", "genestart", "geneend", "startposition",
    "endposition", "position", "strand", "length", "genelength", "transcriptlength", "cytoband", "map", "description",
    "genedescription", "biotype", "genebiotype", "genetype", "type", "gene", "genename", "genesymbol", "symbol",
    "hugosymbol", "name", "ensembl", "ensemblid", "ensemblgeneid", "uniprot", "uniprotid", "gccontent",
}  # fmt: skip
ABOUT_PATIENTS = {
    "age", "sex", "gender", "female", "male", "isfemale", "race", "grade", "stage", "idh", "os", "ostime", "osdays",
    "osmonths", "osstatus", "pfs", "pfi", "dss", "dfi", "event", "status", "vitalstatus", "censor", "censored",
    "censorship", "time", "days", "months", "years", "survival", "survivaldays", "survivalmonths", "kps", "bmi",
    "purity", "ploidy", "batch", "center", "site", "year", "index", "id", "n", "no", "number", "rank", "label",
    "cluster", "subtype", "class", "histology", "diagnosis", "ethnicity", "treatment", "project", "cohort", "tmb",
    "followup", "who", "whograde", "ki67",
}  # fmt: skip
# Parts of longer names of columns about patients, such as idh_status.
FACT_OF_PATIENT = re.compile(
    r"status|grade|stage|type|histolog|diagnos|gender|^sex|race|ethnic|treat|project|cohort|class|cluster|batch|center"
)
# Of these the names that may be a profile's all the same, where they hold text; and those that are, also as numbers.
ID_NAMES_OF_TEXT = {"id", "index", "n", "no", "number", "label"}
ID_NAMES = {"id", "sample", "sampleid", "case", "caseid", "patient", "patientid", "barcode", "submitterid"}
# Of a table with facts of genes and patients, the columns that are looked through for ids.
MOST_COLUMNS_OF_IDS = 20


def read_matrix(path: Path, suffix: str) -> Expression:
    """Read one table of genes x samples or samples x genes: delimited text (plain, gzip, zip), .xlsx or Parquet.

    Genes are where known symbols or Ensembl ids stand: in the header, or in a text column. In samples x genes the
    expression_id is the column ``expression_id``, else the first text column that does not describe the patient, else a
    column of numbers named as one of ids; rows that repeat a profile (one patient with several slides) are taken once.
    Ids are text as it stands in the file, such as 007 or 1E5, which readers of tables take for numbers.
    Columns that describe a gene or a patient, and with ``suffix`` all columns without it, are ignored; a column of
    values that holds text is an error, and one that may be either is ignored with a warning.

    Parameters
    ----------
    path
        The table.
    suffix
        Ending of the gene columns, or of the sample columns where genes are rows; empty for none.

    Raises
    ------
    UserError
        If no gene or no profile is found, a value is not a number, or two profiles have one id.
    """
    table = read_numeric_table(path, text=partial(_may_hold_ids, suffix=suffix))
    in_header = len(known_among(name.removesuffix(suffix) for name in table.names))
    # Genes are named by a column of mostly text; a column of numbers is not looked through.
    of_text = [name for name in table.names if table.share_of_numbers(name) < 0.5 or _holds_ids(table, name)]
    in_column = {name: len(known_among(table.texts(name))) for name in of_text}
    if in_header == max(in_column.values(), default=0) == 0:
        raise _no_known_gene(table, of_text, suffix)
    if in_header >= max(in_column.values(), default=0):
        return Expression(_samples_by_genes(table, of_text, suffix), {})
    gene_column = max(in_column, key=in_column.__getitem__)
    profiles = genes_by_samples(table, _samples(table, gene_column, suffix), table.texts(gene_column), suffix)
    return Expression(profiles, _symbols_beside_ids(table, of_text, gene_column))


def _may_hold_ids(names: list[str], suffix: str) -> Collection[str]:
    """Return the columns of a table of samples x genes that may name its profiles: they are read as text."""
    if not known_among(name.removesuffix(suffix) for name in names):
        return [PROFILE_ID]
    others = [name for name in names if not (suffix and name.endswith(suffix)) and bare_name(name) not in known_names()]
    named_so = [name for name in others if name == PROFILE_ID or plain_name(name) in ID_NAMES]
    may_be = [name for name in others if name == names[0] or not _named_like_gene(name)]
    return {*named_so, *may_be[:MOST_COLUMNS_OF_IDS]}


def _holds_ids(table: NumericTable, name: str) -> bool:
    """Return whether a column of numbers, kept as text, holds some that only ids are written as (007, 1E5)."""
    if not pa.types.is_string(table.columns[name].type) or (name != table.names[0] and _named_like_gene(name)):
        return False
    return any(map(READ_AS_NUMBER.fullmatch, table.texts(name)))


def _no_known_gene(table: NumericTable, of_text: list[str], suffix: str) -> UserError:
    """Return the error for a table without any known gene: how its genes seem to be named, and the remedy."""
    line = f"{table.path}: no known gene symbol or Ensembl id in its header or columns"
    if suffix:
        ending = common_ending(table.names)
        return UserError(f"{line}; check suffix and format{f' (its genes end in {ending})' if ending else ''}")
    for names in (*(table.texts(name) for name in of_text), table.names, table.texts(table.names[0])):
        if naming := naming_of(names):
            return UserError(f"{line}: its genes are named by {naming}")
    return UserError(f"{line}; check suffix and format")


def _symbols_beside_ids(table: NumericTable, of_text: list[str], gene_column: str) -> dict[str, str]:
    """Return the symbols that a table of genes x samples has beside its Ensembl ids."""
    of_symbols = {*SYMBOL_COLUMNS, "description"} if table.names[:2] == GCT_COLUMNS else SYMBOL_COLUMNS
    symbols = [name for name in of_text if plain_name(name) in of_symbols or name == gene_column]
    pairs: dict[str, str] = {}
    for ids in of_text:
        for name in symbols:
            pairs = symbols_of_ids(table.texts(ids), table.texts(name)) | pairs
    return pairs


def _samples(table: NumericTable, gene_column: str, suffix: str) -> list[str]:
    """Return the columns of a table of genes x samples that are samples."""
    if suffix:
        samples = [name for name in table.names if name.endswith(suffix) and name != gene_column]
    else:
        others = [name for name in table.names if name != gene_column and plain_name(name) not in ABOUT_GENES]
        # Columns of text before the first sample describe the gene; one among the samples is a fault.
        first = next((number for number, name in enumerate(others) if table.share_of_numbers(name) > 0), len(others))
        samples = others[first:]
        for name in others[:first]:
            if table.seems_meant_as_numbers(name):
                table.numbers(name)
        if first:
            log.warning("%s: columns %s hold text: they are ignored", table.path, ", ".join(others[:first]))
    if not samples:
        raise UserError(f"{table.path}: no profile found; its columns hold no numbers")
    if "" in samples:
        raise UserError(f"{table.path}: column {table.names.index('') + 1} of numbers has no name; name the profile")
    return samples


def _samples_by_genes(table: NumericTable, of_text: list[str], suffix: str) -> pd.DataFrame:
    known, id_column = known_names(), _id_column(table, of_text)
    ids = table.texts(id_column)
    if "" in ids:
        raise UserError(f"{table.row(ids.index(''))}: {id_column or 'the first column'} is empty; fill it in")
    others = [name for name in table.names if name != id_column]
    if suffix:
        genes = [name for name in others if name.endswith(suffix)]
    else:
        genes = [name for name in others if bare_name(name) in known or _named_like_gene(name)]
        genes = [name for name in genes if bare_name(name) in known or not _is_text(table, name, of_text)]
        if len(genes) < len(others):
            ignored = [name for name in others if name not in set(genes)]
            log.info(
                "%s: %d columns are not named like genes and are ignored (%s)",
                table.path, len(ignored), ", ".join(ignored[:5]),
            )  # fmt: skip
    values = np.empty((len(genes), table.columns.num_rows), np.float32)
    for row, name in enumerate(genes):
        values[row] = table.numbers(name)
    profiles = pd.DataFrame(values.T, index=ids, columns=[name.removesuffix(suffix) for name in genes], copy=False)
    return _one_row_per_profile(profiles, table.path, id_column) if profiles.index.has_duplicates else profiles


def _id_column(table: NumericTable, of_text: list[str]) -> str:
    """Return the column that names the profiles: never one about patients, such as their sex."""
    if PROFILE_ID in table.names:
        return PROFILE_ID
    known, about_patients = known_names(), ABOUT_PATIENTS - ID_NAMES_OF_TEXT
    texts = [
        name
        for name in of_text
        if bare_name(name) not in known
        and plain_name(name) not in about_patients
        and not FACT_OF_PATIENT.search(plain_name(name))
    ]
    found = texts + [name for name in table.names if plain_name(name) in ID_NAMES]
    if not found:
        raise UserError(f"{table.path}: no column names the profiles; add {PROFILE_ID}")
    return found[0]


def _is_text(table: NumericTable, name: str, of_text: list[str]) -> bool:
    """Return whether a column named like a gene holds text, and warn of it; decimal commas are an error."""
    if name not in of_text:
        return False
    if table.holds_commas(name):
        table.numbers(name)
    log.warning("%s: column %s is named like a gene and holds text: it is ignored", table.path, name)
    return True


def _named_like_gene(name: str) -> bool:
    """Return whether a column may be a gene: named like one, or by what a spreadsheet has made of one."""
    name = bare_name(name)
    if plain_name(name) in ABOUT_PATIENTS or plain_name(name) in ABOUT_GENES:
        return False
    return GENE_NAME.fullmatch(name) is not None or is_date(name)


def _one_row_per_profile(profiles: pd.DataFrame, path: Path, id_column: str) -> pd.DataFrame:
    """Take rows of one id once where their values agree."""
    first_of = pd.Series(range(len(profiles)), index=profiles.index).groupby(level=0).transform("first").to_numpy()
    values = profiles.to_numpy()
    differs = ~np.isclose(values, values[first_of], rtol=1e-6, atol=0, equal_nan=True).all(axis=1)
    if differs.any():
        raise UserError(
            f"{path}: two different profiles are both {id_column} {profiles.index[differs][0]}; "
            f"give each its own id in a column {PROFILE_ID}"
        )
    keep = first_of == np.arange(len(profiles))
    log.info("%s: %d rows repeat a profile of the same %s", path, int((~keep).sum()), id_column)
    return profiles[keep]
