"""The charts of a patient's page: places on them, which its template draws as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ksfusion.terms.units import DAYS_IN

# Of the drawing of one number, and of curves, in px.
STRIP_WIDTH = 300
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 250, 46, 40, 12, 14
TICK_MONTHS = (1, 2, 3, 6, 12, 24, 36, 48, 60)
MOST_TICKS = 6.5


class Strip(NamedTuple):
    """A number on a line from 0 to 1: its place, those of the models, and of the calibrated number, in px."""

    mean: float
    models: list[float]
    calibrated: float | None


class CurveChart(NamedTuple):
    """Survival curves, as points of polylines, and the ticks of the axes.

    Attributes
    ----------
    mean, calibrated
        Of the mean over models, and of that after calibration; the second may be empty.
    models
        Of each.
    months, shares
        Ticks: place in px, and text.
    width, height, left, right, top, bottom
        Of the drawing, and where its axes lie, in px.
    """

    mean: str
    calibrated: str
    models: list[str]
    months: list[tuple[float, str]]
    shares: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def strip(value: float, models: Sequence[float], calibrated: float | None = None) -> Strip:
    """Return a number from 0 to 1 as a strip has it."""
    return Strip(_along(value), [_along(own) for own in models], None if calibrated is None else _along(calibrated))


def _along(share: float) -> float:
    return round(STRIP_WIDTH * min(max(share, 0.0), 1.0), 1)


def curve_chart(answer: Mapping[str, Any]) -> CurveChart | None:
    """Return the survival curves of an answer, as recorded; None where it has none."""
    if not answer["curve"] or not answer["curve"]["days"]:
        return None
    models = [member["curve"] for member in answer["members"]]
    last = max(curve["days"][-1] for curve in [answer["curve"], *models])
    months = last / DAYS_IN["months"]
    step = next((step for step in TICK_MONTHS if months / step <= MOST_TICKS), 120)
    ticks = [float(month) for month in range(0, int(months) + 1, step)]
    calibrated = answer["calibrated_curve"]
    return CurveChart(
        mean=_points(answer["curve"], last),
        calibrated=_points(calibrated, last) if calibrated else "",
        models=[_points(curve, last) for curve in models],
        months=[(_x(month * DAYS_IN["months"], last), f"{month:g}") for month in ticks],
        shares=[(_y(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)],
    )


def _points(curve: Mapping[str, Sequence[float]], last: float) -> str:
    """Return a curve that falls at its days as a polyline."""
    points, alive = [(_x(0, last), _y(1.0))], 1.0
    for day, share in zip(curve["days"], curve["alive"], strict=True):
        points += [(_x(day, last), _y(alive)), (_x(day, last), _y(share))]
        alive = share
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _x(day: float, last: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * day / last, 1)


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)
