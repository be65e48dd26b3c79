"""Blood vessels of a synthetic slide: capillaries, thick-walled vessels, glomeruloid tufts."""

from dataclasses import dataclass

import cv2
import numpy as np

from ksfusion.demo.nuclei import paste_cells

SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Vessel:
    """Outlines (n, 2; x, y in micrometres) of one vessel's body and of the lumens inside it."""

    body: list[np.ndarray]
    lumens: list[np.ndarray]
    thin: bool

    @property
    def box_um(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner of the body, in micrometres."""
        points = np.concatenate(self.body)
        return points.min(axis=0), points.max(axis=0)


def ring(rng: np.random.Generator, centre: np.ndarray, radius: float, wobble: float) -> np.ndarray:
    """Return the outline of an irregular, slightly oval cross-cut (48 points, micrometres)."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    r = radius * (1 + sum(rng.normal(0, wobble / k) * np.cos(k * t + rng.uniform(0, 7)) for k in range(2, 6)))
    squeeze, turn = rng.uniform(0.65, 1.0), rng.uniform(0, np.pi)
    oval = np.stack([r * np.cos(t), squeeze * r * np.sin(t)])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (rotation @ oval).T + centre


def tube(path: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return the outline of a vessel cut along its course, from its centre line (n, 2) and radius (n), in um."""
    course = np.gradient(path, axis=0)
    normal = np.stack([-course[:, 1], course[:, 0]], axis=1) / (np.hypot(*course.T)[:, None] + 1e-6)
    return np.concatenate([path + normal * radius[:, None], (path - normal * radius[:, None])[::-1]])


def wander(rng: np.random.Generator, start: np.ndarray, heading: float, length: float, bend: float) -> np.ndarray:
    """Return a curving centre line in steps of 4 um."""
    steps = max(int(length / 4), 8)
    turns = heading + np.cumsum(np.cumsum(rng.normal(0, bend, steps)) * 0.3 + rng.normal(0, bend, steps))
    return start + 4 * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1), axis=0)


def grow_vessel(rng: np.random.Generator, centre: np.ndarray, proliferation: float, branching: bool) -> Vessel:
    """
    Grow one vessel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    centre : numpy.ndarray
        x, y in micrometres.
    proliferation : float
        0..1: from capillaries to thick walls and glomeruloid tufts.
    branching : bool
        Delicate branching capillaries (oligodendroglioma) in place of thick vessels.

    Returns
    -------
    Vessel
    """
    form = rng.random()
    if branching and form < 0.75:
        bend = 0.12
        heading, length = rng.uniform(0, 2 * np.pi), rng.uniform(60, 150)
        path = wander(rng, centre, heading, length, bend)
        side = wander(
            rng, path[len(path) // 2], heading + rng.choice([-1, 1]) * rng.uniform(0.7, 1.2), length / 2, 0.05
        )
        width = rng.uniform(2.4, 3.4)
        paths = [path, side]
        body = [tube(p, width * (1 + 0.1 * np.sin(np.arange(len(p))))) for p in paths]
        return Vessel(
            body,
            [tube(p, np.clip(width - 2.2 + 0.8 * np.sin(np.arange(len(p)) * 0.9), 0.1, None)) for p in paths],
            thin=True,
        )
    if form < 0.55 * proliferation**1.5:
        size = rng.uniform(20, 36)
        loops = [centre + rng.normal(0, 0.5 * size, 2) for _ in range(rng.integers(2, 6))]
        radii = [size * rng.uniform(0.5, 0.85) for _ in loops]
        body = [ring(rng, at, r, 0.1) for at, r in zip(loops, radii, strict=True)]
        open_loops = [(at, r) for at, r in zip(loops, radii, strict=True) if rng.random() < 0.7]
        lumens = [ring(rng, at + rng.normal(0, 2, 2), r * rng.uniform(0.2, 0.5), 0.2) for at, r in open_loops]
        return Vessel(body, lumens, thin=False)
    radius = rng.uniform(6, 11) + proliferation * rng.gamma(2.0, 5.0)
    radius = min(radius, 38.0)
    wall = rng.uniform(2.0, 3.5) + proliferation * rng.uniform(0.1, 0.45) * radius
    open_radius = max(radius - wall, 2.0)
    if form > 0.7:
        path = wander(rng, centre, rng.uniform(0, 2 * np.pi), rng.uniform(3, 7) * radius, 0.06)
        taper = np.sin(np.linspace(0.03, np.pi - 0.03, len(path))) ** 0.45
        taper *= 1 + 0.12 * np.sin(np.arange(len(path)) * rng.uniform(0.2, 0.5))
        inner = slice(2, len(path) - 2)
        knots = np.arange(0, len(path) + 3, 3)
        pinches = np.interp(np.arange(len(path)), knots, rng.normal(1, 0.3, len(knots))).clip(0.25, 1.2)
        open_part = open_radius * taper * pinches
        return Vessel([tube(path, radius * taper)], [tube(path[inner], open_part[inner])], thin=False)
    return Vessel([ring(rng, centre, radius, 0.08)], [ring(rng, centre, open_radius, 0.14)], thin=radius < 12)


def filled(outlines: list[np.ndarray], origin_um: np.ndarray, shape: tuple[int, ...], mpp: float) -> np.ndarray:
    """Return the mask (0..255) of the outlines in a window that starts at `origin_um`."""
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        points = np.rint((outline - origin_um) / mpp * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask


def paint_vessel(fields: np.ndarray, vessel: Vessel, mpp: float, rng: np.random.Generator) -> bool:
    """
    Paint wall, lumen, endothelium and red cells of one vessel into the stain fields.

    Parameters
    ----------
    fields : numpy.ndarray
        Concentrations (height, width, 2), haematoxylin first; changed in place.
    vessel : Vessel
        Vessel to paint.
    mpp : float
        Pixel size in micrometres.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    bool
        False if the vessel reaches over the border of the slide and was not painted.
    """
    low, high = vessel.box_um
    low, high = np.floor(low / 4) * 4 - 4, np.ceil(high / 4) * 4 + 4
    x0, y0 = np.rint(low / mpp).astype(int)
    x1, y1 = np.rint(high / mpp).astype(int)
    if min(x0, y0) < 0 or x1 > fields.shape[1] or y1 > fields.shape[0]:
        return False
    window = fields[y0:y1, x0:x1]
    shape = window.shape[:2]
    body, lumen = filled(vessel.body, low, shape, mpp), filled(vessel.lumens, low, shape, mpp)
    depth = cv2.distanceTransform((body > 127).astype(np.uint8), cv2.DIST_L2, 3) * np.float32(mpp)

    def noise(pitch_um: float) -> np.ndarray:
        columns, rows = np.ceil((high - low) / pitch_um).astype(int)
        return cv2.resize(
            rng.standard_normal((rows, columns), dtype=np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC
        )

    fine, coarse = noise(1.0), noise(6.0)
    fibres = 0.05 * np.sin(2.2 * depth + 3.0 * coarse) + 0.10 * fine
    rim = np.exp(-(((depth - 1.2) / 1.3) ** 2))
    eosin = 0.44 + fibres + 0.07 * coarse + 0.22 * rim
    haematoxylin = 0.20 + 0.04 * coarse + 0.04 * fine
    inside = cv2.GaussianBlur(body, (3, 3), 0).astype(np.float32)[..., None] / 255
    window *= 1 - inside
    window += inside * np.clip(np.stack([haematoxylin, eosin], axis=-1), 0.02, None)

    hollow = cv2.GaussianBlur(lumen, (3, 3), 0).astype(np.float32)[..., None] / 255
    filling = rng.uniform(0.1, 0.4) if vessel.thin else 0.25 * max(0.0, rng.normal(0, 1))
    plasma = np.array([0.01, filling], np.float32)
    window *= 1 - hollow
    window += hollow * plasma * (1 + 0.25 * np.clip(fine, -2, 2))[..., None]
    paste_endothelium(fields, vessel, depth, lumen, low, mpp, rng)
    room = cv2.distanceTransform((lumen > 127).astype(np.uint8), cv2.DIST_L2, 3) * np.float32(mpp)
    cells = lattice(rng, low, high, 4.0)
    at = np.floor((cells - low) / mpp).astype(int).T
    packed = room[at[1], at[0]] > 2.5
    packed &= coarse[at[1], at[0]] > rng.normal(-0.6, 0.5)
    paste_cells(fields, "red_cell", cells[packed], mpp, rng)
    return True


def paste_endothelium(
    fields: np.ndarray,
    vessel: Vessel,
    depth: np.ndarray,
    lumen: np.ndarray,
    low: np.ndarray,
    mpp: float,
    rng: np.random.Generator,
) -> None:
    """Paste nuclei into the wall, their long axes along the wall."""
    high = low + np.array(depth.shape[::-1]) * mpp
    places = lattice(rng, low, high, 6.0 if vessel.thin else 8.5)
    at = np.floor((places - low) / mpp).astype(int).T
    in_wall = depth[at[1], at[0]] > (1.0 if vessel.thin else 3.0)
    in_wall &= vessel.thin | (lumen[at[1], at[0]] < 127)
    in_wall &= rng.random(len(places)) < (0.35 if vessel.thin else 0.85)
    reach = max(round(2 / mpp), 1)
    y, x = (np.clip(i, reach, n - reach - 1) for i, n in zip(at[::-1], depth.shape, strict=True))
    slope_x = depth[y, x + reach] - depth[y, x - reach]
    slope_y = depth[y + reach, x] - depth[y - reach, x]
    along = np.arctan2(slope_y, slope_x) + np.pi / 2 + rng.normal(0, 0.4, len(places))
    paste_cells(fields, "endothelium", places[in_wall], mpp, rng, along[in_wall])


def lattice(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, pitch: float) -> np.ndarray:
    """Return points (n, 2) in micrometres, one in each square of a grid over a window."""
    corners = np.stack(np.meshgrid(*(np.arange(a, b - pitch, pitch) for a, b in zip(low, high, strict=True))), axis=-1)
    return corners.reshape(-1, 2) + pitch * rng.uniform(0.05, 0.95, (corners.size // 2, 2))
