"""Gene expression: reading profiles, choosing genes, placing them in niches."""

from __future__ import annotations

from ksfusion.core.lazy import lazy_names

_MODULES = {
    "gene_sets": "sets.gene_sets",
    "read_expression": "expression.profiles",
    "select_genes": "ranking",
}
__all__ = list(_MODULES)
__getattr__ = lazy_names(__name__, _MODULES)
