"""Slides of any size for the other benchmarks: pyramids in JPEG with an ellipse of tissue."""

import imagecodecs
import numpy as np
import pandas as pd
import tifffile

TILE = 256
GLASS = (242, 242, 242)


def draw_region(side=1024):
    """Draw nuclei and stroma of two stains."""
    random = np.random.default_rng(0)
    is_nucleus = (random.random((side // 8, side // 8)) < 0.25).repeat(8, 0).repeat(8, 1)[..., None]
    amounts = random.gamma(6, 0.12, (side, side, 2)) * np.where(is_nucleus, [1.0, 0.3], [0.1, 1.0])
    return np.round(255 * np.exp(-amounts @ np.array([[0.65, 0.65, 0.39], [0.16, 0.93, 0.33]]))).astype(np.uint8)


def write_pyramid(path, region, width, height, mpp=0.25):
    """Write a pyramidal TIFF with an ellipse of tissue, of tiles that are encoded once and repeated."""

    def encoded(rgb):
        return imagecodecs.jpeg8_encode(rgb, level=85, colorspace="rgb", outcolorspace="ycbcr", subsampling="420")

    glass = encoded(np.full((TILE, TILE, 3), GLASS, np.uint8))
    tissue = [encoded(np.ascontiguousarray(region[y : y + TILE, x : x + TILE])) for y in (0, 256) for x in (0, 256)]

    def tiles(columns, rows):
        y, x = np.mgrid[:rows, :columns]
        inside = ((x + 0.5) / columns - 0.5) ** 2 / 0.16 + ((y + 0.5) / rows - 0.5) ** 2 / 0.12 < 1
        yield from (tissue[i % 4] if here else glass for i, here in enumerate(inside.ravel()))

    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(4):
            size = (max(1, width >> 2 * level), max(1, height >> 2 * level))
            grid = [-(-side // TILE) for side in size]
            scale = 1e4 / (mpp * 4**level)
            file.write(
                tiles(*grid), shape=(size[1], size[0], 3), dtype=np.uint8, tile=(TILE, TILE), photometric="ycbcr",
                subsampling=(2, 2), compression="jpeg", resolution=(scale, scale), resolutionunit="CENTIMETER",
                metadata=None, subfiletype=int(level > 0),
            )  # fmt: skip
    return path


def large_slide(folder, region):
    """Return a slide of 100,000 x 80,000 px, written once."""
    path = folder / "large.tiff"
    return path if path.exists() else write_pyramid(path, region, 100_000, 80_000)


def write_samples(folder, paths):
    """Write a table of slides."""
    table = {"slide_id": [path.stem for path in paths], "slide": [str(path) for path in paths], "mpp": np.nan}
    pd.DataFrame(table).to_csv(folder / "samples.tsv", sep="\t", index=False)
    return folder / "samples.tsv"
