"""Which files gene sets consist of. Light: the Snakefile asks each time it is parsed."""

from __future__ import annotations

from collections.abc import Mapping

from ksfusion.core.resources import shipped
from ksfusion.terms.gene_sets import BUILTIN, is_builtin, shipped_tables
from ksfusion.terms.niches import NICHES


def files_of_sets(sets: str | Mapping[str, str]) -> list[str]:
    """Return the files of the gene sets that ``genes.sets`` names: one for both niches, or one for each."""
    if isinstance(sets, str) and not is_builtin(sets):
        return [sets]
    of_niche = dict.fromkeys(NICHES, sets) if isinstance(sets, str) else dict.fromkeys(NICHES, BUILTIN) | dict(sets)
    return [
        file
        for niche, given in of_niche.items()
        for file in (map(shipped, shipped_tables(niche, given)) if is_builtin(given) else [given])
    ]
