"""Reading gene sets: this project's tables, GMT files, and ImmPort's GeneList.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.tables import read_text_table
from ksfusion.terms.niches import NICHES

COLUMNS = ["symbol", "category", "niche", "source"]
# Of the columns that ImmPort publishes, those that are read.
IMMPORT_COLUMNS = ("Symbol", "Category")
IMMPORT_SOURCE = "ImmPort"

Rows = list[tuple[int, list[str]]]


def read_gene_set(path: Path, niche: str | None = None) -> pd.DataFrame:
    """Read a file of gene sets.

    Parameters
    ----------
    path
        A table of symbol, category, niche and source; ImmPort's ``GeneList.txt`` (its columns Symbol and
        Category are read); or a ``.gmt`` file, where a set's name is the category and its description the source.
    niche
        The niche that the genes are for. A GMT file and ImmPort's list do not say it; a table may leave its column out,
        and of one that has it the rows of this niche are read.

    Returns
    -------
    DataFrame
        symbol, category, niche, source; in the order of the file.

    Raises
    ------
    UserError
        If the file cannot be read, lacks a column, is empty, holds numbers in place of symbols, or does not say which
        niche its genes are for.
    """
    table = read_text_table(path)
    header, rows = table.header, table.rows
    if not any(header):
        raise UserError(f"{path}, row 1: is empty; remove it")
    is_gmt, is_immport = path.suffix.lower() == ".gmt", set(IMMPORT_COLUMNS) <= set(header)
    if (is_gmt or is_immport) and niche is None:
        raise UserError(
            f"{path}: does not say which niche its genes are for; write genes.sets: {{tme: {path}}} "
            f"or genes.sets: {{tumour: {path}}}"
        )
    if is_gmt:
        genes = _from_gmt([(1, list(header)), *rows], path)
    elif is_immport:
        genes = _columns(header, rows, path, IMMPORT_COLUMNS).set_axis(["symbol", "category"], axis=1)
        genes["source"] = IMMPORT_SOURCE
    else:
        wanted = COLUMNS if niche is None or "niche" in header else [name for name in COLUMNS if name != "niche"]
        genes = _columns(header, rows, path, wanted)
    return _in_niche(genes, niche, path)


def _from_gmt(rows: Rows, path: Path) -> pd.DataFrame:
    records = []
    for line, (name, *fields) in rows:
        genes = [symbol for symbol in fields[1:] if symbol]
        if not name or not genes:
            raise UserError(f"{path}, row {line}: a gene set has a name, a description and symbols, tabs between them")
        records += [(line, symbol, name, fields[0] or path.name) for symbol in genes]
    return pd.DataFrame(records, columns=["line", "symbol", "category", "source"]).set_index("line")


def _columns(header: tuple[str, ...], rows: Rows, path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a table by name, the line in the file as index."""
    missing = [name for name in names if name not in header]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; a gene set has the columns {', '.join(COLUMNS)}")
    for line, fields in rows:
        if any(fields[len(header) :]):
            raise UserError(f"{path}, row {line}: has {len(fields)} fields under {len(header)} columns; correct it")
    places = [header.index(name) for name in names]
    cells = [[fields[place] if place < len(fields) else "" for place in places] for _, fields in rows]
    return pd.DataFrame(cells, columns=list(names), index=[line for line, _ in rows])


def _in_niche(table: pd.DataFrame, niche: str | None, path: Path) -> pd.DataFrame:
    """Check a table and return it with all `COLUMNS`; of a table with niches, the rows of the niche asked for."""
    if "niche" not in table:
        table = table.assign(niche=niche)
    for column in ("symbol", "niche"):
        if (empty := table[column] == "").any():
            raise UserError(f"{path}, row {empty.idxmax()}: {column} is empty; fill it in or remove the row")
    if (unknown := ~table["niche"].isin(NICHES)).any():
        line = unknown.idxmax()
        given = table.loc[unknown, "niche"].iloc[0]
        raise UserError(f"{path}, row {line}: unknown niche {given!r}; use {' or '.join(NICHES)}")
    if (number := table["symbol"].str.fullmatch(r"\d+")).any():
        given = table.loc[number, "symbol"].iloc[0]
        raise UserError(f"{path}, row {number.idxmax()}: {given} is a number; give gene symbols, not Entrez ids")
    if niche is not None:
        table = table[table["niche"] == niche]
    if table.empty:
        raise UserError(f"{path}: holds no genes{f' of niche {niche}' if niche else ''}; add rows")
    return table[COLUMNS].reset_index(drop=True)
