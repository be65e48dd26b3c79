"""How figures look: their colours, lines and type."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Final

from matplotlib import rc_context, style

INK, MUTED, GRID = "#22272e", "#6b7480", "#d9dde2"
# Okabe and Ito's colours, without the yellow that is lost on white.
CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f5539", "#4d4d4d")
LOW_RISK, MIDDLE_RISK, HIGH_RISK = "#0072b2", "#009e73", "#d55e00"
CONFUSION_MAP = "Blues"
# Lighter all the way, and far from the colours of haematoxylin and eosin.
ATTENTION_MAP = "viridis"

# In the order of the methods shown; told apart by colour-blind readers too. For the paper's methods these are blues for
# what reads patches alone, green for genes alone, and red, brown and orange for KS-Fusion and its ablations.
METHOD_PALETTE = (
    "#56b4e9",
    "#0072b2",
    "#009e73",
    "#e69f00",
    "#a6761d",
    "#7570b3",
    "#cc79a7",
    "#8c1d6b",
    "#d55e00",
    "#8a3b00",
    "#f2a36b",
    "#9c9c00",
    "#4d4d4d",
    "#117733",
    "#332288",
    "#88ccee",
    "#aa4499",
    "#999933",
    "#661100",
    "#6699cc",
)
# Of a difference: one that survives, and its spread over seeds.
DIFFERS, SEED_SPREAD = "#d55e00", "#56b4e9"
# A sweep is of no single method.
SWEEP_COLOUR = "#d55e00"

DPI = 160
STYLE: Final[dict[str, str | float]] = {
    # A dollar sign in the name of a class or a gene begins no formula.
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "savefig.dpi": DPI,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "ksfusion",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 7.5,
}


def method_colours(methods: Iterable[str]) -> dict[str, str]:
    """Return the colour of each method, by their order; where there are more methods than colours, from the first."""
    return dict(zip(methods, cycle(METHOD_PALETTE), strict=False))


@contextlib.contextmanager
def drawing_style() -> Iterator[None]:
    """Let figures drawn and saved within the block look as `STYLE` says, whatever the user's own settings are."""
    with rc_context(), style.context(["default", STYLE]):
        yield
