"""A slide's file: a pyramid of tiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

TILE = 256


def write_pyramid(path: Path, image: np.ndarray, mpp: float) -> None:
    """Write a tiled JPEG pyramid (factor 4) that OpenSlide opens as generic-tiff."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with tifffile.TiffWriter(unfinished) as slide:
        level, factor = image, 1
        while True:
            slide.write(
                tiles(level),
                shape=level.shape,
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 85},
                resolution=(1e4 / (mpp * factor), 1e4 / (mpp * factor)),
                resolutionunit="CENTIMETER",
                subfiletype=int(factor > 1),
                metadata=None,
                software=False,
                maxworkers=1,
            )
            if factor > 1 and max(level.shape) <= 512:
                break
            level, factor = cv2.resize(level, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), factor * 4
    unfinished.replace(path)


def tiles(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield tiles row by row; those at the border repeat its pixels, because black would bleed in through JPEG."""
    for top in range(0, image.shape[0], TILE):
        for left in range(0, image.shape[1], TILE):
            tile = image[top : top + TILE, left : left + TILE]
            missing = ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0))
            yield np.pad(tile, missing, mode="edge") if tile.size < TILE * TILE * 3 else np.ascontiguousarray(tile)
