"""Gene expression: reading profiles, choosing genes, placing them in niches.

Public names are loaded on first use, so that importing this package is quick.
"""

from __future__ import annotations

import importlib

_MODULE_OF = {
    "collect_profiles": "ksfusion.genes.expression",
    "gene_sets": "ksfusion.genes.niches",
    "prepare_genes": "ksfusion.genes.selection",
    "read_expression": "ksfusion.genes.expression",
    "select_genes": "ksfusion.genes.ranking",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
