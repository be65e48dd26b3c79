"""The names of the metrics, how they are printed, and in which direction they are good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ksfusion.results.wording import MINUS

if TYPE_CHECKING:
    from ksfusion.terms.tasks import TaskKind

NAN = float("nan")

# Kind of task -> its metrics, in the order of the paper's tables.
METRICS: dict[TaskKind, tuple[str, ...]] = {
    "classification": ("auc", "accuracy", "sensitivity", "specificity", "f1"),
    "survival": ("c_index",),
    "regression": ("mae", "r2", "spearman"),
}
# These are averages over classes, unless one class counts; the accuracy is not.
MACRO_METRICS = ("auc", "sensitivity", "specificity", "f1")
# Of the further ones, those too.
FURTHER_MACRO_METRICS = ("auprc", "balanced_accuracy", "precision", "auc_within")
OF_EACH_CLASS = ("auc", "auprc", "sensitivity", "specificity", "precision", "f1")

METRIC_LABELS = {
    "auc": "AUC",
    "accuracy": "Acc.",
    "sensitivity": "Sens.",
    "specificity": "Spec.",
    "f1": "F1",
    "c_index": "C-index",
    "mae": "MAE",
    "r2": "R\N{SUPERSCRIPT TWO}",
    "spearman": "Spearman",
    "auprc": "AUPRC",
    "precision": "Prec.",
    "balanced_accuracy": "Bal. acc.",
    "mcc": "MCC",
    "quadratic_kappa": "Quad. kappa",
    "brier": "Brier",
    "calibration_error": "ECE",
    "auc_within": "AUC within cohorts",
    "c_index_within": "C-index within cohorts",
    "uno_c": "Uno's C",
    "integrated_brier": "Int. Brier",
    "d_calibration": "D-cal.",
    "d_calibration_p": "D-cal. p",
}
LOWER_IS_BETTER = frozenset({"mae", "brier", "calibration_error", "integrated_brier", "d_calibration"})
# In the unit of what is predicted; all others are in percent.
IN_ITS_UNIT = frozenset({"mae"})
# Of these neither high nor low is good, and an interval would say nothing: they are p-values.
UNORDERED = frozenset({"d_calibration_p"})
OF_CLASS, AT_TIME = ":", "auc_at_"


def metric_label(metric: str) -> str:
    """Return what a metric is called in print; that of one class without the class."""
    if metric.startswith(AT_TIME):
        return f"AUC at {metric.removeprefix(AT_TIME)} d"
    return METRIC_LABELS[metric.partition(OF_CLASS)[0]]


def is_low_best(metric: str) -> bool:
    """Return whether lower is better; of one class too."""
    return metric.partition(OF_CLASS)[0] in LOWER_IS_BETTER


def label_with_direction(metric: str) -> str:
    """Return what a metric is called in print, and whether low is good."""
    return f"{metric_label(metric)} (low is good)" if is_low_best(metric) else metric_label(metric)


def printed_value(metric: str, value: float) -> str:
    """Return the value of a metric in print: with one decimal, or with three digits where it has a unit.

    Parameters
    ----------
    metric
        Its name.
    value
        The value, or a difference of two.
    """
    text = f"{value:.1f}" if metric not in IN_ITS_UNIT else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def class_of(metric: str) -> str:
    """Return the class that a metric is of; empty where it is of all."""
    return metric.partition(OF_CLASS)[2]


def metric_at(days: float) -> str:
    """Return the name of the area under the time-dependent ROC curve at a time."""
    return f"{AT_TIME}{days:g}"


def further_class_metrics(
    classes: Sequence[str], *, ordered: bool, positive: str | None, by_class: bool = True
) -> tuple[str, ...]:
    """Return the further metrics of a task of classification, in the order of Table S1.

    Parameters
    ----------
    classes
        Names of the classes of the task.
    ordered
        Whether they have an order.
    positive
        Positive class, where there is one.
    by_class
        Add those of each class, where none is positive.
    """
    whole = ["auprc", "precision", "balanced_accuracy", "mcc", "brier", "calibration_error", "auc_within"]
    if ordered:
        whole.insert(whole.index("brier"), "quadratic_kappa")
    each = (
        ()
        if positive or not by_class
        else (f"{metric}{OF_CLASS}{name}" for name in classes for metric in OF_EACH_CLASS)
    )
    return (*whole, *each)


def further_survival_metrics(times: Iterable[float]) -> tuple[str, ...]:
    """Return the further metrics of survival, in the order of Table S1; ``times`` in days, of the areas at them."""
    areas = (metric_at(days) for days in times)
    return ("uno_c", "c_index_within", *areas, "integrated_brier", "d_calibration", "d_calibration_p")
