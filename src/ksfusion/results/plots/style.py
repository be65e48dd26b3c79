"""How figures look: one colour per method everywhere, told apart by colour-blind readers too."""

from __future__ import annotations

from collections.abc import Iterable

INK, MUTED, GRID = "#22272e", "#6b7480", "#d9dde2"
# Okabe and Ito's colours, without the yellow that is lost on white.
CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f5539", "#4d4d4d")
LOW_RISK, HIGH_RISK = "#0072b2", "#d55e00"
CONFUSION_MAP = "Blues"
# Lighter all the way, and far from the colours of haematoxylin and eosin.
ATTENTION_MAP = "viridis"

_METHOD_COLOURS = {
    "attmil": "#56b4e9",
    "transmil": "#0072b2",
    "snn": "#009e73",
    "concat": "#e69f00",
    "add": "#a6761d",
    "bilinear": "#7570b3",
    "mcat": "#cc79a7",
    "cmta": "#8c1d6b",
    "ksfusion": "#d55e00",
    "ksfusion-no-gecon": "#8a3b00",
    "ksfusion-no-cgcoord": "#f2a36b",
    "ksfusion-released": "#9c9c00",
}
_OTHER_COLOURS = ("#4d4d4d", "#117733", "#332288", "#88ccee", "#aa4499", "#999933", "#661100", "#6699cc")

STYLE = {
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
    "savefig.dpi": 160,
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
    """Return the colour of each method: a fixed one for those of the paper, the next free one for others."""
    others = sorted(set(methods) - set(_METHOD_COLOURS))
    extra = {name: _OTHER_COLOURS[i % len(_OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: _METHOD_COLOURS.get(name) or extra[name] for name in methods}
