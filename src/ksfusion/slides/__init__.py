"""From slide files to patch features: reading, tissue, tiling, stain normalisation, sampling, encoding."""

from __future__ import annotations

from ksfusion.core.lazy import lazy_names

_MODULES = {
    "SlideError": "reading.errors",
    "StainProfile": "stain.vahadane",
    "build_encoder": "encoders.build",
    "fit_stain": "stain.vahadane",
    "normalise_stain": "stain.vahadane",
    "open_slide": "reading.slide",
    "sample_patches": "tiles.sampling",
    "stain_concentrations": "stain.vahadane",
    "tile_grid": "tiles.grid",
    "tissue_mask": "tiles.tissue",
}
__all__ = list(_MODULES)
__getattr__ = lazy_names(__name__, _MODULES)
