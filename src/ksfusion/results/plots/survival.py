"""Kaplan-Meier curves by predicted risk, a panel per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ksfusion.methods.registry import METHODS
from ksfusion.results.calibration import equal_groups
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.panels import label_outer, note_in, panel_figure
from ksfusion.results.plots.style import HIGH_RISK, INK, LOW_RISK, MIDDLE_RISK, MUTED
from ksfusion.results.runs import Run, average_by_case, mean_prediction

DAYS_PER_MONTH = 365.25 / 12
LOW, MIDDLE, HIGH = ("low", LOW_RISK), ("middle", MIDDLE_RISK), ("high", HIGH_RISK)
# The groups of cases by their risk, from the lowest: halves, or thirds.
HALVES, THIRDS = (LOW, HIGH), (LOW, MIDDLE, HIGH)
Groups: TypeAlias = tuple[tuple[str, str], ...]
ROW = 0.17  # inches, of the numbers at risk


def draw_survival(
    runs: Sequence[Run], *, task: ShownTask, methods: Sequence[str], title: str, groups: Groups = HALVES
) -> Figure:
    """Draw survival of the halves, or thirds, of the test cases by predicted risk, with the numbers at risk.

    Parameters
    ----------
    runs
        Runs of the task.
    task, methods, title
        Contents of the figure, in the order of its panels, and its title.
    groups
        `HALVES` or `THIRDS`.
    """
    heights = (2.3, ROW * len(groups))
    figure, panels = panel_figure(len(methods), title=title, heights=heights, gap=0.8, left=0.8, between=0.55)
    longest = max(run.test["days"].max() for run in runs if not run.reason) / DAYS_PER_MONTH
    ticks = _month_ticks(longest)
    for method, (axes, table_axes) in zip(methods, panels, strict=True):
        axes.set_title(METHODS[method].label)
        own = [run for run in runs if run.method == method and not run.reason]
        cases = risk_groups(own, task, [name for name, _ in groups])
        if cases["group"].nunique() < 2:
            reasons = sorted({run.reason for run in runs if run.method == method and run.reason})
            note_in(axes, "; ".join(reasons) or ("all predicted risks are equal" if len(cases) else "no run"))
            table_axes.set_axis_off()
            continue
        _draw_curves(axes, cases, groups)
        axes.text(0.99, 0.99, _log_rank(cases), transform=axes.transAxes, ha="right", va="top", fontsize=8, color=INK)
        axes.set(xlim=(0, longest * 1.03), ylim=(0, 1.16), xticks=ticks)
        axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.tick_params(axis="x", labelbottom=False)
        _draw_numbers_at_risk(table_axes, cases, groups, ticks, longest * 1.03)
    label_outer(panels, xlabel="Months; numbers: cases at risk", ylabels=["Surviving", ""])
    return figure


def risk_groups(runs: Sequence[Run], task: ShownTask, names: Sequence[str] = ("low", "high")) -> pd.DataFrame:
    """Return the test cases with days, event, risk and group.

    Groups are equally large within each fold, for risks of different models have no common scale.

    Parameters
    ----------
    runs
        Good runs of one method.
    task
        The task that is predicted.
    names
        Names of the groups, from the lowest risk.

    Returns
    -------
    pandas.DataFrame
        One row per case and fold; of two groups the second is above the median risk.
    """
    columns = ["case_id", "days", "event", "risk", "group"]
    parts = [pd.DataFrame(columns=columns)]
    for fold in sorted({run.fold for run in runs}):
        cases = average_by_case(mean_prediction([run for run in runs if run.fold == fold], task), task)
        parts.append(cases.assign(group=np.array(names)[equal_groups(cases["risk"].to_numpy(), len(names))])[columns])
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _draw_curves(axes: Axes, cases: pd.DataFrame, groups: Groups) -> None:
    from sksurv.nonparametric import kaplan_meier_estimator

    for group, colour in groups:
        own = cases[cases["group"] == group]
        if own.empty:
            continue
        event, days = own["event"].to_numpy(dtype=bool), own["days"].to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            times, alive, (low, high) = kaplan_meier_estimator(event, days, conf_type="log-log")
        months = np.r_[0, times] / DAYS_PER_MONTH
        axes.fill_between(months, np.r_[1, low], np.r_[1, high], step="post", color=colour, alpha=0.13, linewidth=0)
        axes.step(months, np.r_[1, alive], where="post", color=colour, linewidth=1.8)
        censored = np.sort(days[~event])
        heights = np.r_[1, alive][np.searchsorted(np.r_[0, times], censored, side="right") - 1]
        axes.plot(censored / DAYS_PER_MONTH, heights, "|", color=colour, markersize=5, markeredgewidth=0.9)


def _draw_numbers_at_risk(axes: Axes, cases: pd.DataFrame, groups: Groups, ticks: Sequence[float], end: float) -> None:
    """Write under the curve how many are still followed at each tick; the rows are the curves' legend."""
    rows = range(len(groups))[::-1]
    axes.set(xlim=(0, end), ylim=(-0.5, len(groups) - 0.5), xticks=ticks, yticks=rows)
    axes.set_yticklabels([name.capitalize() for name, _ in groups], fontsize=7.5, fontweight="bold")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", pad=9)
    for y, label, (group, colour) in zip(rows, axes.get_yticklabels(), groups, strict=True):
        days = cases.loc[cases["group"] == group, "days"]
        label.set_color(colour)
        for tick in ticks:
            followed = int((days >= tick * DAYS_PER_MONTH).sum())
            axes.text(
                tick, y, str(followed), ha="center", va="center", fontsize=7.5, color=colour if followed else MUTED
            )


def _month_ticks(longest: float) -> list[float]:
    """Return about five ticks, at whole years or half years where these fit."""
    step = next((step for step in (1, 2, 3, 6, 12, 24, 36, 48, 60) if longest / step <= 5.5), 120)
    return [float(month) for month in np.arange(0, longest * 1.001, step)]


def _log_rank(cases: pd.DataFrame) -> str:
    """Return the p-value of the log-rank test of all groups, or why there is none, in words."""
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    event, days = cases["event"].to_numpy(dtype=bool), cases["days"].to_numpy(dtype=float)
    if not event.any():
        return "no death observed"
    group = cases["group"].to_numpy(dtype=str)
    if not _all_told_apart(event, days, group):
        return "log-rank p undefined: too few deaths"
    _, p = compare_survival(Surv.from_arrays(event, days), group)
    return "log-rank p < 0.001" if p < 0.001 else f"log-rank p = {p:.3f}" if p < 0.1 else f"log-rank p = {p:.2f}"


def _all_told_apart(event: np.ndarray, days: np.ndarray, group: np.ndarray) -> bool:
    """Return whether the log-rank test is defined: whether days of death tell each group from every other.

    A day tells groups apart that are followed until then, where someone dies and someone does not; and two groups are
    told apart too where each is from a third.
    """
    joined = [{name} for name in set(group)]
    for day in np.unique(days[event]):
        followed = set(group[days >= day])
        if (event & (days == day)).sum() < (days >= day).sum():
            met = [names for names in joined if names & followed]
            joined = [names for names in joined if not names & followed] + [set().union(*met)]
    return len(joined) == 1
