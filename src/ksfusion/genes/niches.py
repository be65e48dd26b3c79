"""Gene sets: which genes speak of the tumour and which of its microenvironment (TME)."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import pandas as pd

from ksfusion.errors import UserError
from ksfusion.resources import resource
from ksfusion.storage import read_tsv

log = logging.getLogger(__name__)

NICHES = ("tumour", "tme")
COLUMNS = ["symbol", "category", "niche", "source"]


def _builtin_files() -> list[Path]:
    return [resource(f"gene_sets/{niche}.tsv") for niche in NICHES]


def _read_gene_sets(path: Path) -> pd.DataFrame:
    try:
        table = read_tsv(path, dtype=str)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check genes.sets") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not a tab-separated table ({' '.join(str(error).split())})") from None
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; a gene set has the columns {', '.join(COLUMNS)}")
    if table.empty:
        raise UserError(f"{path}: holds no genes; add rows with {', '.join(COLUMNS)}")
    for column in ("symbol", "niche"):
        empty = table[column].isna() | (table[column].str.strip() == "")
        if empty.any():
            raise UserError(f"{path}, row {_row(empty)}: {column} is empty; fill it in or remove the row")
        table[column] = table[column].str.strip()
    unknown = ~table["niche"].isin(NICHES)
    if unknown.any():
        given = table.loc[unknown, "niche"].iloc[0]
        raise UserError(f"{path}, row {_row(unknown)}: unknown niche {given!r}; use {' or '.join(NICHES)}")
    return table


def _row(wrong: pd.Series) -> int:
    """Return the line number in the file of the first wrong row; the header is line 1."""
    return int(wrong.to_numpy().argmax()) + 2


def gene_sets(sets: str | Path = "builtin") -> pd.DataFrame:
    """Return the genes of the two niches.

    A gene listed in both niches belongs to the tumour: a marker of tumour cells that immune cells express too would
    otherwise carry tumour signal into the TME stream. A gene may stand in several categories of its niche; the first
    one listed describes it wherever one is wanted.

    Parameters
    ----------
    sets
        ``"builtin"`` for the shipped sets, or the path of a tab-separated table with the columns below.

    Returns
    -------
    DataFrame
        Columns symbol (HGNC), category, niche (``"tumour"`` or ``"tme"``) and source; one row for each symbol and
        category, tumour first.

    Raises
    ------
    UserError
        If the table cannot be read, lacks a column, is empty or names an unknown niche.
    """
    files = _builtin_files() if sets == "builtin" else [Path(sets)]
    table = pd.concat([_read_gene_sets(path)[COLUMNS] for path in files], ignore_index=True)
    table = table.fillna({"category": "", "source": ""}).drop_duplicates(["symbol", "category", "niche"])
    in_tumour = table.loc[table["niche"] == "tumour", "symbol"]
    in_both = (table["niche"] == "tme") & table["symbol"].isin(in_tumour)
    if in_both.any():
        log.info("%d genes listed in both niches count as tumour", table.loc[in_both, "symbol"].nunique())
    table = table[~in_both]
    return table.sort_values("niche", key=lambda niche: niche.map(NICHES.index), kind="stable", ignore_index=True)


@functools.cache
def ensembl_symbols() -> dict[str, str]:
    """Map the Ensembl gene ids of the shipped sets (without version) to their symbols.

    A gene of the major histocompatibility complex has one id for each alternative haplotype.
    """
    tables = [_read_gene_sets(path).dropna(subset="ensembl_gene_id") for path in _builtin_files()]
    genes = pd.concat(tables).assign(ensembl_gene_id=lambda table: table["ensembl_gene_id"].str.split("|"))
    return genes.explode("ensembl_gene_id").set_index("ensembl_gene_id")["symbol"].to_dict()
