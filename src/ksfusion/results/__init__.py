"""Metrics, intervals, tables, figures and the report."""

from __future__ import annotations

from ksfusion.core.lazy import lazy_names

_MODULES = {
    "classification_metrics": "metrics",
    "survival_metrics": "metrics",
}
__all__ = list(_MODULES)
__getattr__ = lazy_names(__name__, _MODULES)
