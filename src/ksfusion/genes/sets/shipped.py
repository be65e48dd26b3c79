"""The gene sets that are shipped with the project: their files, symbols and Ensembl ids."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv
from ksfusion.terms.niches import NICHES


def shipped_file(niche: str) -> Path:
    """Return the file of a niche's genes."""
    return resource(f"gene_sets/{niche}.tsv")


@functools.cache
def _shipped() -> pd.DataFrame:
    return pd.concat([read_tsv(shipped_file(niche), dtype=str) for niche in NICHES])


@functools.cache
def shipped_symbols() -> frozenset[str]:
    """Return the symbols of the shipped sets."""
    return frozenset(_shipped()["symbol"])


@functools.cache
def ensembl_symbols() -> dict[str, str]:
    """Map the Ensembl gene ids of the shipped sets (without version) to their symbols.

    A gene of the major histocompatibility complex has one id for each alternative haplotype.
    """
    genes = _shipped().dropna(subset="ensembl_gene_id")
    genes = genes.assign(ensembl_gene_id=genes["ensembl_gene_id"].str.split("|"))
    return genes.explode("ensembl_gene_id").set_index("ensembl_gene_id")["symbol"].to_dict()
