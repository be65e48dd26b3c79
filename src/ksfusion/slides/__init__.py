"""From slide files to patch features: reading, tissue, tiling, stain normalisation, sampling, encoding."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "SlideError": "reader",
    "StainProfile": "vahadane",
    "build_encoder": "encoders",
    "fit_stain": "vahadane",
    "normalise_stain": "vahadane",
    "open_slide": "reader",
    "sample_patches": "sampling",
    "stain_concentrations": "vahadane",
    "tile_grid": "tiling",
    "tissue_mask": "tissue",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
