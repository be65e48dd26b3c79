"""Tissue of a synthetic slide: its outline, tears, necrosis, tumour and the texture of neuropil."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ksfusion.demo.vessels import ring

COARSE_UM = 4.0  # pitch of the maps of tissue, necrosis and cell density
TEXTURE_UM = 1.0  # pitch of the neuropil
GRAIN_UM = 0.5  # pitch of the finest grain
STRIP = 64  # rows worked on at a time, so that they stay in the processor's cache


@dataclass
class TissueMaps:
    """Maps of a slide on the coarse grid; distances in micrometres, positive inside."""

    size_um: tuple[float, float]
    inside_tissue: np.ndarray
    inside_necrosis: np.ndarray
    tumour_share: np.ndarray
    free: np.ndarray


def noise(rng: np.random.Generator, size_um: tuple[float, float], grain_um: float, step_um: float) -> np.ndarray:
    """Return smooth noise (mean 0, variance about 1) with features of `grain_um` on a grid of `step_um`."""
    pitch = max(grain_um / 2, step_um)
    rows, columns = (int(np.ceil(length / pitch)) + 4 for length in size_um)
    field = rng.standard_normal((rows, columns), dtype=np.float32)
    if grain_um > step_um:
        field = cv2.GaussianBlur(field, (5, 5), 0.9) * np.float32(3.19)
    return on_grid(field, pitch, size_um, step_um)


def on_grid(field: np.ndarray, pitch: float, size_um: tuple[float, float], step_um: float) -> np.ndarray:
    """Resample a map from one pitch to another and cut it to the size of the slide."""
    return on_shape(field, pitch, [cells(length, step_um) for length in size_um], step_um)


def on_shape(field: np.ndarray, pitch: float, shape: Sequence[int], step_um: float) -> np.ndarray:
    """Resample a map from one pitch to another and cut it to a shape."""
    if pitch != step_um:
        scaled = tuple(round(n * pitch / step_um) for n in field.shape[::-1])
        field = cv2.resize(field, scaled, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(field[: shape[0], : shape[1]])


def cells(length_um: float, step_um: float) -> int:
    """Return the number of grid steps that cover a length."""
    return int(np.ceil(length_um / step_um - 1e-6))


def signed_distance_um(mask: np.ndarray) -> np.ndarray:
    """Return the distance to the border of a coarse mask in micrometres, positive inside."""
    # Without any border the distance is endless.
    inside, outside = (
        np.minimum(cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5), 500) for side in (mask, ~mask)
    )
    return cv2.GaussianBlur(inside - outside, (0, 0), 1.2) * np.float32(COARSE_UM)


def area_mm2(mask: np.ndarray) -> float:
    """Return the area of a coarse mask."""
    return float(mask.sum()) * COARSE_UM**2 * 1e-6


def lay_out_tissue(
    rng: np.random.Generator, size_um: tuple[float, float], tumour: float, necrosis: float
) -> TissueMaps:
    """
    Lay out tissue, tears, necrosis and tumour.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size_um : tuple of float
        Height and width of the slide in micrometres.
    tumour, necrosis : float
        Amounts in 0..1.

    Returns
    -------
    TissueMaps
    """
    rows, columns = (cells(length, COARSE_UM) for length in size_um)
    shorter = min(size_um)
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    power = rng.uniform(2.4, 4.0)
    field = 1 - (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power)
    field += 0.17 * noise(rng, size_um, 0.5 * shorter, COARSE_UM) + 0.03 * noise(
        rng, size_um, 0.12 * shorter, COARSE_UM
    )
    cleft = rng.random() < 0.3
    bend = 0.12 * noise(rng, size_um, shorter, COARSE_UM)
    across = (x if columns >= rows else y) + bend + rng.uniform(-0.3, 0.3)
    if cleft:
        field -= 1.2 * np.exp(-((across / 0.09) ** 2))
    from_glass = np.minimum(1 - np.abs(x), 1 - np.abs(y)) - 0.06
    from_glass += 0.03 * noise(rng, size_um, 0.3 * shorter, COARSE_UM).clip(-1, 1)
    from_glass += 0.008 * noise(rng, size_um, 0.07 * shorter, COARSE_UM)
    field = np.minimum(field, 2 * from_glass)
    tissue = field > np.quantile(field, 1 - rng.uniform(0.62, 0.80))

    damage = np.zeros((rows, columns), np.uint8)
    for _ in range(rng.poisson(2.0 * area_mm2(tissue))):
        hole = ring(rng, rng.random(2) * (columns, rows), rng.uniform(8, 28) / COARSE_UM, 0.25)
        cv2.fillPoly(damage, [np.rint(hole).astype(np.int32)], 1)
    for _ in range(rng.poisson(1.2 * area_mm2(tissue))):
        walk = np.cumsum(np.cumsum(rng.normal(0, 1.2, (40, 2)), axis=0) * 0.35, axis=0) + rng.random(2) * (
            columns,
            rows,
        )
        cv2.polylines(damage, [np.rint(walk).astype(np.int32)], False, 1, int(rng.integers(1, 4)))
    tissue &= damage == 0
    inside_tissue = signed_distance_um(tissue) + 3 * noise(rng, size_um, 25, COARSE_UM)

    inside_necrosis = np.full((rows, columns), -1e3, np.float32)
    if necrosis > 0:
        patches = noise(rng, size_um, 220, COARSE_UM) + 0.25 * noise(rng, size_um, 50, COARSE_UM)
        patches = np.where(inside_tissue > 25, patches, -99)
        share = 0.35 * necrosis * tissue.mean()
        inside_necrosis = signed_distance_um(patches > max(np.quantile(patches, 1 - share), -90))

    viable = tissue & (inside_necrosis <= 0)
    lobes = noise(rng, size_um, 0.5 * shorter, COARSE_UM) + 0.3 * noise(rng, size_um, 90, COARSE_UM)
    # Necrosis is the heart of a tumour, not of normal brain.
    lobes += 1.5 * np.exp(np.minimum(inside_necrosis, 0) / 120)
    border = np.quantile(lobes[viable], 1 - np.sqrt(tumour))
    tumour_share = 1 / (1 + np.exp(np.clip((border - lobes) / 0.18, -30, 30)))
    return TissueMaps(size_um, inside_tissue, inside_necrosis, tumour_share * viable, viable.copy())


def scatter(rng: np.random.Generator, density: np.ndarray, pitch_um: float) -> np.ndarray:
    """
    Scatter cells that keep a distance from each other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    density : numpy.ndarray
        Cells per mm2 on the coarse grid.
    pitch_um : float
        Grid of which each square holds at most one cell.

    Returns
    -------
    numpy.ndarray
        Places (n, 2) as x, y in micrometres.
    """
    size_um = np.array(density.shape[::-1]) * COARSE_UM
    steps = np.arange(-np.hypot(*size_um) / 2, np.hypot(*size_um) / 2, pitch_um)
    squares = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    # A turned grid: rows of cells along the border of the image would catch the eye.
    angle = rng.uniform(0.2, 1.3)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    places = (squares + rng.uniform(0.06, 0.94, squares.shape) * pitch_um) @ turn + size_um / 2
    lot = rng.random(len(places))
    on_slide = np.all((places >= 0) & (places < size_um), axis=1)
    places, lot = places[on_slide], lot[on_slide]
    column, row = (places / COARSE_UM).astype(int).T
    return places[lot < density[row, column] * pitch_um**2 * 1e-6]


def paint_neuropil(
    rng: np.random.Generator, maps: TissueMaps, looseness: float, shape: tuple[int, int], mpp: float
) -> np.ndarray:
    """
    Paint the tissue without its cells.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    maps : TissueMaps
        Maps of tissue, necrosis and tumour.
    looseness : float
        0..1: how far tumour turns dense neuropil into a loose web of fibrils.
    shape : tuple of int
        Height and width in pixels.
    mpp : float
        Pixel size in micrometres.

    Returns
    -------
    numpy.ndarray
        Stain concentrations (height, width, 2), haematoxylin first.
    """
    size = maps.size_um
    textures = [noise(rng, size, grain_um, TEXTURE_UM) for grain_um in (1.0, 2.6, 7.0, 40.0)]
    thickness = 1 + 0.10 * noise(rng, size, 350, TEXTURE_UM)
    lifted = [
        on_grid(coarse.astype(np.float32), COARSE_UM, size, TEXTURE_UM)
        for coarse in (looseness * maps.tumour_share, maps.inside_necrosis, maps.inside_tissue)
    ]
    amounts = np.empty((2, *thickness.shape), np.float32)
    for top in range(0, len(thickness), STRIP):
        strip = slice(top, top + STRIP)
        amounts[:, strip] = neuropil(*(t[strip] for t in textures), *(m[strip] for m in lifted)) * thickness[strip]
    fine = rng.integers(208, 305, [cells(length, GRAIN_UM) for length in size], dtype=np.int16).astype(np.float32)
    fine = on_shape(fine, GRAIN_UM, shape, mpp)
    # 1 / 256 undoes the scale of the grain, which is drawn round 256 as integers for speed.
    return cv2.merge([cv2.multiply(on_shape(a, TEXTURE_UM, shape, mpp), fine, scale=1 / 256) for a in amounts])


def neuropil(
    grain: np.ndarray,
    small: np.ndarray,
    middle: np.ndarray,
    large: np.ndarray,
    loose: np.ndarray,
    inside_necrosis: np.ndarray,
    inside_tissue: np.ndarray,
) -> np.ndarray:
    """Return haematoxylin and eosin (2, height, width) of neuropil, stroma and necrosis from noise of four grains."""
    # Dense neuropil: coarse grain whose low tail are small vacuoles, more of them here than there.
    speckle = 0.45 * small + 0.9 * grain
    sparse = np.maximum(-speckle - 0.3 * middle - 0.2 * large - 0.8, 0)
    eosin = 0.61 + 0.20 * speckle + 0.03 * large - 0.5 * sparse
    # Loose tumour stroma: a web of fibrils with clear gaps.
    web = np.exp(-2.0 * np.abs(small + 0.7 * middle))
    gaps = np.clip(1.5 * (0.9 * middle + 0.5 * small + 0.4 * large + 0.2), 0, 1)
    stroma = (0.22 + 0.46 * web + 0.06 * grain) * (1 - 0.97 * gaps * (1 - web))
    eosin += loose * (stroma - eosin)
    # Necrosis: pale debris.
    dead = np.clip(inside_necrosis / 12 + 0.5 + 0.3 * middle, 0, 1)
    debris = 0.46 + 0.13 * speckle + 0.07 * middle + 0.06 * large - 0.4 * np.clip(middle + 0.3 * small - 1.0, 0, 0.8)
    eosin += dead * (debris - eosin)
    eosin = np.maximum(eosin, 0.03) * np.clip(inside_tissue / 3 + 0.5 + 0.5 * small + 0.4 * middle, 0, 1)
    return np.stack([eosin * (0.28 + 0.05 * large + 0.12 * loose - 0.1 * dead), eosin])
