"""Slide files that tests write, and the real ones."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ksfusion.slides import SlideError, open_slide
from ksfusion.slides.reading.errors import REASONS

REAL_DATA = Path(os.environ.get("KSFUSION_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))


TISSUE, GLASS = (190, 110, 170), (242, 242, 242)


def real_file(name):
    """Return a real input, or skip the test."""
    path = REAL_DATA / "slides" / name
    if not path.is_file():
        pytest.skip(f"no real inputs at {REAL_DATA}")
    return path


def write_slide(path, rgb, mpp=None, **options):
    """Write a tiled TIFF as scanners do; with its scale in the resolution tag."""
    if mpp is not None:
        x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
        options |= {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb", **{"compression": "jpeg"} | options)
    return path


def plain(width, height, colour=TISSUE):
    return np.full((height, width, 3), colour, dtype=np.uint8)


def reason_of(path, mpp=None, **options):
    with pytest.raises(SlideError) as caught:
        open_slide(path, mpp, **options)
    assert caught.value.reason in REASONS
    return caught.value.reason
