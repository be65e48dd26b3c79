"""The gene sets that are shipped, by version: each has the genes of those before it, and more."""

from typing import Literal, get_args

GeneSets = Literal["builtin-0.1.0", "builtin-0.2.0"]
VERSIONS: tuple[GeneSets, ...] = get_args(GeneSets)
BUILTIN, NEWEST = "builtin", VERSIONS[-1]
# What each version adds, under resources; nothing of a version ever changes.
TABLES: dict[GeneSets, dict[str, str]] = {
    "builtin-0.1.0": {
        "tumour": "gene_sets/tumour.tsv",
        "tme": "gene_sets/tme.tsv",
        "aliases": "gene_sets/aliases.tsv",
    },
    "builtin-0.2.0": {"tme": "gene_sets/0.2.0/tme.tsv", "aliases": "gene_sets/0.2.0/aliases.tsv"},
}


def is_builtin(sets: object) -> bool:
    """Return whether a value of the configuration stands for shipped gene sets: ``builtin``, or a version of them."""
    return sets == BUILTIN or sets in VERSIONS


def shipped_tables(name: str, version: str = BUILTIN) -> list[str]:
    """Return the files of a shipped table, oldest first, for `ksfusion.core.resources.resource`.

    Parameters
    ----------
    name
        A niche, for its genes, or ``aliases``, for their previous symbols.
    version
        One of `VERSIONS`, or `BUILTIN` for the newest.
    """
    count = len(VERSIONS) if version == BUILTIN else list[str](VERSIONS).index(version) + 1
    return [TABLES[known][name] for known in VERSIONS[:count] if name in TABLES[known]]
