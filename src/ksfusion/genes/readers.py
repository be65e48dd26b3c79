"""The published layouts of expression data: each reader returns profiles x genes in the unit of the file.

Column names of the returned tables are gene names as the file gives them and may repeat; `ksfusion.genes.expression`
brings them to symbols and log units.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ksfusion.errors import UserError
from ksfusion.genes.niches import ensembl_symbols, gene_sets
from ksfusion.genes.tables import check_is_data, looks_numeric, numbers, read_header, read_table

log = logging.getLogger(__name__)

GDC_SUFFIX = ".rna_seq.augmented_star_gene_counts.tsv"
GDC_COLUMNS = {"counts": "unstranded", "tpm": "tpm_unstranded", "fpkm": "fpkm_unstranded"}
# Read counts that belong to no gene: STAR's first four rows, HTSeq's last five.
SUMMARY_ROW = re.compile(r"N_(unmapped|multimapping|noFeature|ambiguous)|__\w+")
IVYGAP_CORNER = "gene_id\\rna_well_id"
PROFILE_ID = "expression_id"
# Numbers that describe a gene, in tables of genes x samples.
GENE_ANNOTATION = {"entrez_gene_id", "gene_entrez_id", "entrez_id", "start", "end", "length", "gene_length"}
# HGNC symbols and Ensembl ids are capitals and digits, apart from names such as C9orf72.
GENE_NAME = re.compile(r"[A-Z0-9][A-Z0-9.@-]*(orf\d+[A-Z0-9-]*)?(_PAR_Y)?")


def read_gdc_star(path: Path, unit: str) -> pd.DataFrame:
    """Read a folder of STAR gene counts as gdc-client lays it out.

    The expression_id is the folder that a file sits in (its GDC file uuid); for a file directly in ``path``, its name
    up to the first dot.
    """
    if unit not in GDC_COLUMNS:
        raise UserError(f"{path}: unit {unit} is not in gdc-star files; use {', '.join(GDC_COLUMNS)}")
    files: dict[str, Path] = {}
    for file in sorted([*path.glob(f"*{GDC_SUFFIX}"), *path.glob(f"*/*{GDC_SUFFIX}")]):
        expression_id = file.parent.name if file.parent != path else file.name.split(".")[0]
        if expression_id in files:
            raise UserError(f"{path}: {files[expression_id].name} and {file.name} are both {expression_id}; remove one")
        files[expression_id] = file
    if not files:
        raise UserError(f"{path}: no *{GDC_SUFFIX} in it or its folders; check the path")

    values: np.ndarray | None = None
    for row, file in enumerate(files.values()):
        name = GDC_COLUMNS[unit]
        table, first_line = read_table(file, columns=["gene_id", "gene_name", name], text=["gene_id", "gene_name"])
        read_ids = table["gene_id"].to_numpy()
        column = numbers(table[name], path=file, name=name, first_line=first_line)
        is_gene = np.array([not SUMMARY_ROW.fullmatch(name) for name in read_ids])
        gene_ids, column = read_ids[is_gene], column[is_gene]
        if values is None:
            first, first_ids, symbols = file, gene_ids, table["gene_name"].to_numpy()[is_gene]
            values = np.empty((len(files), len(gene_ids)), np.float32)
        elif not np.array_equal(gene_ids, first_ids):
            order = pd.Index(gene_ids).get_indexer(first_ids) if pd.Index(gene_ids).is_unique else np.array([-1])
            if len(gene_ids) != len(first_ids) or (order < 0).any():
                raise UserError(f"{file}: has other genes than {first}; download it again, or use one gene model")
            column = column[order]
        values[row] = column
    return pd.DataFrame(values, index=list(files), columns=np.where(symbols == "", first_ids, symbols), copy=False)


def read_ivygap(path: Path, unit: str) -> pd.DataFrame:
    """Read the gene expression download of the Ivy Glioblastoma Atlas Project; the expression_id is the rna_well_id.

    ``fpkm_table.csv`` names genes by number; ``rows-genes.csv`` says which symbol each number is.
    """
    if unit != "fpkm":
        raise UserError(f"{path}: IvyGAP publishes fpkm, not {unit}; set unit: fpkm")
    fpkm, genes = path / "fpkm_table.csv", path / "rows-genes.csv"
    header, _, _ = read_header(fpkm)
    if header[0] != IVYGAP_CORNER:
        raise UserError(f"{fpkm}: the first column is {header[0]!r}, not {IVYGAP_CORNER!r}; is it IvyGAP's table?")
    _refuse_duplicates(header[1:], fpkm)
    table, first_line = read_table(fpkm, text=[IVYGAP_CORNER])
    annotation = read_table(genes, columns=["gene_id", "gene_symbol"], text=["gene_id", "gene_symbol"])[0].to_pandas()
    if annotation["gene_id"].duplicated().any():
        twice = annotation.loc[annotation["gene_id"].duplicated(), "gene_id"].iloc[0]
        raise UserError(f"{genes}: gene_id {twice} stands twice; download it again")
    symbols = annotation.set_index("gene_id")["gene_symbol"].reindex(table[0].to_numpy())
    if symbols.isna().any():
        raise UserError(f"{genes}: no gene_id {symbols.index[symbols.isna()][0]}, which {fpkm.name} has; download both")
    return _from_columns(table, header[1:], symbols.to_numpy(), path=fpkm, first_line=first_line)


def read_matrix(path: Path, suffix: str) -> pd.DataFrame:
    """Read one table of genes x samples or samples x genes: TSV, CSV (plain, gzip, zip) or Parquet.

    Genes are where known symbols or Ensembl ids stand: in the header, or in a text column. In samples x genes the
    expression_id is the column ``expression_id``, else the first text column; rows that repeat a profile (one patient
    with several slides) are taken once. Text columns, and with ``suffix`` all columns without it, are ignored.
    """
    if check_is_data(path).startswith(b"PAR1"):
        try:
            frame = pq.read_table(path).to_pandas()
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: is not a readable Parquet file ({' '.join(str(error).split())[:200]})") from None
        frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
        frame.columns = [str(name) for name in frame.columns]
        _refuse_duplicates(list(frame.columns), path)
        table, first_line = pa.Table.from_pandas(frame, preserve_index=False), 1
    else:
        header, _, _ = read_header(path)
        _refuse_duplicates(header, path)
        text = [PROFILE_ID] if PROFILE_ID in header else []
        table, first_line = read_table(path, text=text)
    known = set(gene_sets()["symbol"]) | set(ensembl_symbols())
    names = [name.removesuffix(suffix) for name in table.column_names]
    text_columns = [name for name in table.column_names if not looks_numeric(table[name])]
    in_header = len(known.intersection(map(without_version, names)))
    in_column = {name: len(known.intersection(map(without_version, _texts(table[name])))) for name in text_columns}
    if in_header == max(in_column.values(), default=0) == 0:
        raise UserError(f"{path}: no known gene symbol or Ensembl id in its header or columns; check suffix and format")
    if in_header >= max(in_column.values(), default=0):
        return _samples_by_genes(table, text_columns, suffix, path=path, first_line=first_line)
    gene_column = max(in_column, key=in_column.__getitem__)
    genes = np.array(_texts(table[gene_column]), dtype=object)
    samples = [name for name in table.column_names if name not in text_columns and name.lower() not in GENE_ANNOTATION]
    samples = [name for name in samples if name and name.endswith(suffix)]
    ids = [name.removesuffix(suffix) for name in samples]
    return _from_columns(table.select(samples), ids, genes, path=path, first_line=first_line)


def _samples_by_genes(
    table: pa.Table, text_columns: list[str], suffix: str, *, path: Path, first_line: int
) -> pd.DataFrame:
    if PROFILE_ID not in table.column_names and not text_columns:
        raise UserError(f"{path}: no column names the profiles; add {PROFILE_ID}")
    id_column = PROFILE_ID if PROFILE_ID in table.column_names else text_columns[0]
    ids = _texts(table[id_column])
    if "" in ids:
        raise UserError(f"{path}, row {ids.index('') + first_line}: {id_column} is empty; fill it in")
    candidates = [name for name in table.column_names if name not in text_columns and name != id_column]
    if suffix:
        genes = [name for name in table.column_names if name.endswith(suffix) and name != id_column]
    else:
        genes = [name for name in candidates if GENE_NAME.fullmatch(name)]
        if len(genes) < len(candidates):
            log.info(
                "%s: %d numeric columns are not named like genes and are ignored", path, len(candidates) - len(genes)
            )
    values = np.empty((len(genes), table.num_rows), np.float32)
    for row, name in enumerate(genes):
        values[row] = numbers(table[name], path=path, name=name, first_line=first_line)
    profiles = pd.DataFrame(values.T, index=ids, columns=[name.removesuffix(suffix) for name in genes], copy=False)
    if profiles.index.has_duplicates:
        profiles = _one_row_per_profile(profiles, path, id_column)
    return profiles


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


def read_h5ad(path: Path) -> pd.DataFrame:
    """Read an AnnData file: obs_names are the expression ids, var_names the genes, X the values."""
    import anndata
    from scipy import sparse

    check_is_data(path)
    try:
        data = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: is not a readable h5ad file ({' '.join(str(error).split())[:200]})") from None
    if data.X is None:
        raise UserError(f"{path}: has no X; write the expression values there")
    ids = [str(name) for name in data.obs_names]
    _refuse_duplicates(ids, path)
    values = data.X.toarray() if sparse.issparse(data.X) else np.asarray(data.X)
    return pd.DataFrame(values.astype(np.float32, copy=False), index=ids, columns=list(data.var_names), copy=False)


def without_version(gene: str) -> str:
    """Strip the version of an Ensembl gene id; other names stay as they are."""
    return re.sub(r"^(ENSG\d{11})\.\d+", r"\1", gene)


def _texts(column: pa.ChunkedArray) -> list[str]:
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _from_columns(table: pa.Table, ids: list[str], genes: np.ndarray, *, path: Path, first_line: int) -> pd.DataFrame:
    """Turn a table of genes x samples, whose last columns are the samples, into profiles x genes."""
    if not ids:
        raise UserError(f"{path}: no profile found; its columns hold no numbers")
    is_gene = np.array([gene != "" and not SUMMARY_ROW.fullmatch(gene) for gene in genes])
    values = np.empty((len(ids), int(is_gene.sum())), np.float32)
    for row, name in enumerate(table.column_names[-len(ids) :]):
        values[row] = numbers(table[name], path=path, name=name, first_line=first_line)[is_gene]
    return pd.DataFrame(values, index=ids, columns=genes[is_gene], copy=False)


def _refuse_duplicates(names: Iterable[str], path: Path) -> None:
    index = pd.Index(names)
    if index.has_duplicates:
        raise UserError(f"{path}: {index[index.duplicated()][0]!r} stands twice; profile ids and columns must differ")
