"""Which names are those of known genes. Light: asked before any job starts."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from ksfusion.core.resources import resource
from ksfusion.core.tables import read_text_table
from ksfusion.terms.gene_sets import shipped_tables
from ksfusion.terms.niches import NICHES


def bare_name(gene: str) -> str:
    """Strip the version of an Ensembl gene id, and the Entrez id of a name as RSEM wrote it (EGFR|1956).

    Other names stay as they are, also ?|1956 of a gene without a symbol.
    """
    return re.sub(r"^(ENSG\d{11})\.\d+|^([^?|]+)\|\d+$", r"\1\2", gene)


@functools.cache
def known_names() -> frozenset[str]:
    """Return the symbols and Ensembl ids of the shipped sets, and previous symbols.

    A previous symbol that is another gene's of today is none, see `ksfusion.genes.sets.symbols.previous_symbols`.
    """
    genes = {name for niche in NICHES for name in _column(niche, "symbol")}
    ids = {one for niche in NICHES for cell in _column(niche, "ensembl_gene_id") for one in cell.split("|") if one}
    previous = {*_column("aliases", "previous")} - {*_column("aliases", "symbol")}
    return frozenset(genes | ids | previous)


def known_among(names: Iterable[str]) -> frozenset[str]:
    """Return the known genes among names, without versions of Ensembl ids and Entrez ids behind symbols."""
    return known_names().intersection(map(bare_name, names))


def _column(table: str, name: str) -> Iterator[str]:
    """Yield a column of a shipped table, of all versions."""
    for file in shipped_tables(table):
        read = read_text_table(resource(file))
        place = read.header.index(name)
        yield from (fields[place] for _, fields in read.rows)
