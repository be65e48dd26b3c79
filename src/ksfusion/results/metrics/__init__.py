"""The metrics of the tables, in percent; a metric that the test samples do not determine is NaN.

Those of the paper's tables stand in `classes` and `survival`, the others of Table S1 in `further_classes` and
`further_survival`.
"""

from __future__ import annotations

from ksfusion.results.metrics.classes import absent_classes, check_classification, classification_metrics
from ksfusion.results.metrics.names import MACRO_METRICS, METRIC_LABELS, METRICS, NAN, metric_label
from ksfusion.results.metrics.survival import check_survival, comparable_pairs, survival_metrics

__all__ = [
    "MACRO_METRICS",
    "METRICS",
    "METRIC_LABELS",
    "NAN",
    "absent_classes",
    "check_classification",
    "check_survival",
    "classification_metrics",
    "comparable_pairs",
    "metric_label",
    "survival_metrics",
]
