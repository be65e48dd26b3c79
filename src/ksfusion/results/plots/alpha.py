"""The test result for each weight of the two alignment losses."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from ksfusion.core.storage import read_json
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics import METRIC_LABELS, METRICS
from ksfusion.results.metrics.names import IN_ITS_UNIT
from ksfusion.results.plots.panels import label_outer, note_in, panel_figure, sentence_figure
from ksfusion.results.plots.style import SWEEP_COLOUR
from ksfusion.results.runs import Run
from ksfusion.results.statistics import RESAMPLES
from ksfusion.results.tables.scores import result_table


def draw_alpha(
    runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str, resamples: int = RESAMPLES
) -> Figure:
    """Draw each metric against alpha, with its interval."""
    results = result_table(runs, tasks=[task], methods=methods, resamples=resamples)
    results = results[(results["level"] == "sample") & (results["cohort"] == ALL) & (results["fold"] == ALL)]
    results = results.assign(alpha=results["method"].map({run.method: alpha_of(run) for run in runs}))
    missing = results[results["reason"] != ""]
    results = results.dropna(subset=["alpha", "mean"]).sort_values("alpha")
    if results.empty:
        return sentence_figure(title, f"Nothing to draw: {_reasons(missing)}.")
    metrics = METRICS[task.kind]
    width = 1.9 if len(metrics) > 1 else 3.8
    figure, panels = panel_figure(len(metrics), title=title, width=width, heights=(2.0,), columns=len(metrics))
    # One scale for all that is in percent.
    shown = results.assign(unit=results["metric"].where(results["metric"].isin(IN_ITS_UNIT), ""))
    limits = {unit: _limits(rows, least=0.0 if unit else 1.0) for unit, rows in shown.groupby("unit")}
    for metric, (axes,) in zip(metrics, panels, strict=True):
        own = results[results["metric"] == metric]
        axes.set_title(METRIC_LABELS[metric])
        if own.empty:
            note_in(axes, _reasons(missing[missing["metric"] == metric]))
            continue
        axes.vlines(own["alpha"], own["ci_low"], own["ci_high"], color=SWEEP_COLOUR, alpha=0.45, linewidth=2.2)
        axes.plot(own["alpha"], own["mean"], "o-", color=SWEEP_COLOUR, markersize=5, linewidth=1.4)
        axes.set(xlim=(-0.06, 1.06), ylim=limits[metric if metric in IN_ITS_UNIT else ""])
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    label_outer(panels, xlabel="Alpha", ylabels=["" if task.kind == "regression" else "Percent"], columns=len(metrics))
    return figure


def _limits(results: pd.DataFrame, *, least: float) -> tuple[float, float]:
    """Return between which values results are drawn, with a margin of at least so much."""
    low, high = results[["mean", "ci_low"]].min(axis=None), results[["mean", "ci_high"]].max(axis=None)
    margin = max(0.06 * (high - low), least)
    return low - margin, high + margin


def _reasons(missing: pd.DataFrame) -> str:
    return "; ".join(sorted(set(missing["reason"]))) or "no run says which alpha it was trained with"


def alpha_of(run: Run) -> float:
    """Return the alpha that a run was trained with: its variant's, else that of its settings; NaN where not written."""
    fixed = METHODS[run.method].alpha
    if fixed is not None:
        return fixed
    path = run.folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    return float(config.get("settings", {}).get("alpha", "nan"))
