"""The gene sets that are shipped with the project: their files, symbols and Ensembl ids."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv
from ksfusion.terms.gene_sets import NEWEST, shipped_tables
from ksfusion.terms.niches import NICHES


def shipped_files(name: str, version: str = NEWEST) -> list[Path]:
    """Return the files of a niche's genes, or of ``aliases``, in a version of the sets, oldest first."""
    return [resource(file) for file in shipped_tables(name, version)]


@functools.cache
def read_shipped(name: str, version: str = NEWEST) -> pd.DataFrame:
    """Read the rows of a niche, or of ``aliases``, that a version of the sets has; not to be changed."""
    return pd.concat([read_tsv(file, dtype=str) for file in shipped_files(name, version)], ignore_index=True)


def _genes(version: str) -> pd.DataFrame:
    return pd.concat([read_shipped(niche, version) for niche in NICHES])


@functools.cache
def shipped_symbols(version: str = NEWEST) -> frozenset[str]:
    """Return the symbols of a version of the shipped sets."""
    return frozenset(_genes(version)["symbol"])


@functools.cache
def ensembl_symbols(version: str = NEWEST) -> dict[str, str]:
    """Map the Ensembl gene ids of the shipped sets (without version of the id) to their symbols.

    A gene of the major histocompatibility complex has one id for each alternative haplotype.
    """
    genes = _genes(version).dropna(subset="ensembl_gene_id")
    genes = genes.assign(ensembl_gene_id=genes["ensembl_gene_id"].str.split("|"))
    return genes.explode("ensembl_gene_id").set_index("ensembl_gene_id")["symbol"].to_dict()
