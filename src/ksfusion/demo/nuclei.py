"""Stamps of single cells (nucleus, cytoplasm, clear halo) that are pasted into a slide's stain fields."""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

SHAPES = 36  # shapes per kind of cell; shape i lies at the angle pi * i / SHAPES
LARGEST_REACH_UM = 20.0  # from the centre of any cell to the border of its stamp


@dataclass(frozen=True)
class CellKind:
    """Look of one kind of cell; lengths in micrometres, stain amounts as concentrations (natural-log OD)."""

    length: tuple[float, float]
    roundness: tuple[float, float]
    haematoxylin: tuple[float, float]
    irregular: float = 0.04
    chromatin: float = 0.2
    pale_centre: float = 0.2
    rim: float = 0.3
    eosin: float = 0.35
    halo: tuple[float, float] = (0.0, 0.0)
    cytoplasm: tuple[float, float] = (0.0, 0.0)
    cytoplasm_stain: tuple[float, float] = (0.08, 0.5)
    unsharp: float = 0.1
    lopsided: float = 0.6


CELL_KINDS = {
    "oligodendrocyte": CellKind((5.5, 7.5), (0.82, 1.0), (1.0, 1.5), halo=(0.0, 2.4), rim=0.2),
    "astrocyte": CellKind((7.5, 10.5), (0.65, 0.95), (0.55, 0.95), pale_centre=0.4, halo=(0.0, 1.5), unsharp=0.3),
    "neuron": CellKind(
        (10.0, 16.0), (0.45, 0.75), (0.6, 0.95), 0.13, 0.15, pale_centre=0.0, rim=0.0, eosin=0.6, halo=(0.0, 3.0)
    ),
    "tumour_round": CellKind(
        (8.0, 9.8), (0.86, 1.0), (0.85, 1.3), 0.025, chromatin=0.28, halo=(1.4, 3.4), unsharp=0.1, lopsided=0.4
    ),
    "tumour_long": CellKind(
        (7.5, 13.0), (0.38, 0.8), (0.8, 1.5), 0.07, chromatin=0.55, halo=(0.0, 2.2), cytoplasm=(0.0, 1.5), lopsided=1.0
    ),
    "tumour_pleomorphic": CellKind(
        (7.5, 15.5),
        (0.42, 0.95),
        (0.8, 1.7),
        irregular=0.10,
        chromatin=0.6,
        pale_centre=0.4,
        rim=0.3,
        halo=(0.0, 2.6),
        cytoplasm=(0.0, 2.5),
        lopsided=1.0,
    ),
    "palisade": CellKind((8.5, 13.0), (0.32, 0.55), (1.0, 1.6), 0.08, chromatin=0.5, halo=(0.0, 1.5)),
    "mitosis": CellKind(
        (8.0, 11.0), (0.3, 0.7), (1.6, 1.9), 0.22, pale_centre=0.0, rim=0.0, halo=(0.5, 2.0), cytoplasm=(2.5, 4.0)
    ),
    "lymphocyte": CellKind((6.0, 7.0), (0.86, 1.0), (1.4, 1.8), chromatin=0.25, pale_centre=0.0, halo=(0.0, 1.2)),
    "endothelium": CellKind((8.0, 12.5), (0.4, 0.8), (0.6, 1.1), 0.05, chromatin=0.45, pale_centre=0.45, rim=0.4),
    "ghost": CellKind((6.0, 10.0), (0.6, 1.0), (0.05, 0.2), 0.08, pale_centre=0.0, rim=0.1, eosin=0.6, unsharp=1.0),
    "dust": CellKind((1.5, 4.0), (0.6, 1.0), (0.9, 1.5), 0.12, rim=0.0, halo=(0.0, 1.0)),
    "red_cell": CellKind((6.0, 7.0), (0.75, 1.0), (0.08, 0.12), 0.06, 0.1, 0.0, rim=0.0, eosin=0.9),
}


@dataclass(frozen=True)
class Stamp:
    """
    One drawn cell: its surroundings (clear halo, cytoplasm) and its nucleus.

    Each layer turns the fields under it into ``fields * keep + add`` (side, side, 2; haematoxylin first).
    """

    surroundings: tuple[np.ndarray, np.ndarray]
    nucleus: tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=64)
def cell_stamps(kind: str, mpp: float) -> tuple[Stamp, ...]:
    """Draw the shapes of one kind of cell.

    Parameters
    ----------
    kind : str
        A key of `CELL_KINDS`.
    mpp : float
        Pixel size in micrometres.

    Returns
    -------
    tuple of Stamp
        ``2 * SHAPES`` stamps; the long axis of stamp ``i`` lies at the angle ``pi * i / SHAPES`` from the x axis.
        The second half are the first turned by 180 degrees.
    """
    look = CELL_KINDS[kind]
    rng = np.random.default_rng(zlib.crc32(kind.encode()))

    def draw(low_high: tuple[float, float], skew: float = 1.0) -> np.ndarray:
        low, high = low_high
        return (low + (high - low) * rng.random(SHAPES) ** skew).astype(np.float32)[:, None, None]

    # Large nuclei are the exception in a pleomorphic population.
    long = draw(look.length, skew=2.0) / 2
    short = long * draw(look.roundness)
    haematoxylin, halo, cytoplasm = draw(look.haematoxylin), draw(look.halo, skew=1.5), draw(look.cytoplasm)
    edge = np.where(rng.random((SHAPES, 1, 1)) < look.unsharp, 1.6, 0.5).astype(np.float32)
    haematoxylin = np.where(edge > 1, 0.6 * haematoxylin, haematoxylin)
    lobes = rng.normal(0, look.irregular / 2, (4, SHAPES, 1, 1)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, (5, SHAPES, 1, 1)).astype(np.float32)
    widest_halo = halo * (1 + 1.5 * look.lopsided)
    reach = float((long * (1 + 1.5 * look.irregular) + widest_halo + 1.4 * cytoplasm).max()) + 1
    grains = rng.standard_normal((SHAPES, int(4 * reach), int(4 * reach)), dtype=np.float32)

    side = 2 * int(np.ceil(reach / mpp)) + 1
    axis = ((np.arange(side) - side // 2) * mpp).astype(np.float32)
    angle = (np.pi * np.arange(SHAPES) / SHAPES).astype(np.float32)[:, None, None]
    along = axis[None, None, :] * np.cos(angle) + axis[None, :, None] * np.sin(angle)
    across = axis[None, :, None] * np.cos(angle) - axis[None, None, :] * np.sin(angle)
    distance = np.hypot(along, across)
    theta = np.arctan2(across, along)
    outline = (distance + 1e-3) / np.hypot(along / long, across / short).clip(1e-3)
    outline *= 1 + sum(lobes[i] * np.cos((i + 2) * theta + phases[i]) for i in range(4))
    depth = outline - distance

    def inside(border: np.ndarray) -> np.ndarray:
        return np.clip(border / edge + 0.5, 0, 1)

    texture = 1.8 * np.stack([cv2.resize(cv2.GaussianBlur(g, (3, 3), 0.7), (side, side)) for g in grains])
    membrane = np.exp(-(((depth - 0.4) / 0.6) ** 2)) * np.clip(0.8 + 0.6 * texture, 0, 2)
    centre = np.clip(depth / short, 0, 1)
    amount = haematoxylin * (1 - look.pale_centre * np.sqrt(centre)) * (1 + look.chromatin * texture)
    amount = np.clip(amount + look.rim * haematoxylin * membrane, 0, 2.4)

    # A shrunken cell seldom sits in the middle of its clear space, which is torn rather than round.
    torn = 1 + look.lopsided * (np.cos(theta + phases[4]) + 0.5 * np.cos(3 * theta + phases[0]))
    gap = halo * torn + look.lopsided * 0.5 * texture
    body = inside(depth + cytoplasm * (1 + 0.4 * np.cos(2 * theta + phases[1])) + 0.5 * texture)
    clear = np.clip((depth + cytoplasm + gap) / 1.2 + 0.5, 0, 1) * np.clip(0.6 * halo, 0, 0.92)
    nucleus = inside(depth)
    body = body * (cytoplasm > 0.3) * 0.8
    ragged = np.clip(1 + 0.25 * texture, 0, 2) * body
    stain = np.stack([amount, look.eosin * (1 + 0.12 * texture)], axis=-1) * nucleus[..., None]
    surroundings = (1 - clear) * (1 - body), ragged[..., None] * np.array(look.cytoplasm_stain, np.float32)
    layers = surroundings, (1 - nucleus, stain)
    return tuple(
        Stamp(*(cropped(keep[i, ::step, ::step], add[i, ::step, ::step]) for keep, add in layers))
        for step in (1, -1)
        for i in range(SHAPES)
    )


def cropped(keep: np.ndarray, add: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a layer to the smallest centred window that changes anything; an untouched layer gets no pixels."""
    middle = len(keep) // 2
    touched = np.flatnonzero((keep < 0.98).any(axis=0) | (keep < 0.98).any(axis=1))
    radius = int(np.abs(touched - middle).max()) if len(touched) else -1
    window = slice(middle - radius, middle + radius + 1)
    kept = np.repeat(keep[window, window, None], 2, axis=2)
    return kept.astype(np.float32), np.ascontiguousarray(add[window, window], np.float32)


def paste_cells(
    fields: np.ndarray,
    kind: str,
    places_um: np.ndarray,
    mpp: float,
    rng: np.random.Generator,
    angles: np.ndarray | None = None,
) -> np.ndarray:
    """Paste cells into the stain fields.

    Parameters
    ----------
    fields : numpy.ndarray
        Concentrations (height, width, 2), haematoxylin first; changed in place.
    kind : str
        A key of `CELL_KINDS`.
    places_um : numpy.ndarray
        Cell centres (n, 2) as x, y in micrometres.
    mpp : float
        Pixel size in micrometres.
    rng : numpy.random.Generator
        Chooses the shapes.
    angles : numpy.ndarray, optional
        Direction of each long axis in radians; random if absent.

    Returns
    -------
    numpy.ndarray
        Centres (n, 2) of the cells drawn; cells that would reach over the border of the slide are left out.
    """
    stamps = cell_stamps(kind, mpp)
    chosen = rng.integers(0, 2 * SHAPES, len(places_um))
    if angles is not None:
        chosen = np.rint(angles / np.pi * SHAPES).astype(int) % (2 * SHAPES)
    height, width = fields.shape[:2]
    extent_um = np.array([width, height]) * mpp
    fits = np.all((places_um > LARGEST_REACH_UM) & (places_um < extent_um - LARGEST_REACH_UM), axis=1)
    places_um, chosen = places_um[fits], chosen[fits]
    # In bands, so that neighbours are pasted while their pixels are still in the processor's cache.
    order = np.lexsort((places_um[:, 0], places_um[:, 1] // 16))
    centres = np.floor(places_um[order] / mpp).astype(int).tolist()
    chosen = chosen[order].tolist()
    # All surroundings first: the halo of one cell must not cut into the nucleus of its neighbour.
    for part in ("surroundings", "nucleus"):
        for (x, y), i in zip(centres, chosen, strict=True):
            keep, add = getattr(stamps[i], part)
            r = len(keep) // 2
            if len(keep):
                window = fields[y - r : y + r + 1, x - r : x + r + 1]
                window *= keep
                window += add
    return places_um
