"""Synthetic H&E slides of gliomas with planted truth."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile

from ksfusion.demo.nuclei import paste_cells
from ksfusion.demo.tissue import (
    COARSE_UM,
    STRIP,
    TissueMaps,
    area_mm2,
    lay_out_tissue,
    noise,
    paint_neuropil,
    scatter,
    signed_distance_um,
)
from ksfusion.demo.truth import LYMPHOCYTE, TUMOUR_CELLS, Drawn, tile_truth
from ksfusion.demo.vessels import Vessel, filled, grow_vessel, paint_vessel

TILE = 256


@dataclass(frozen=True)
class SlideAppearance:
    """
    What is drawn on a slide; amounts in 0..1 unless said otherwise.

    Attributes
    ----------
    diagnosis : str
        "glioblastoma", "astrocytoma_g4", "astrocytoma" or "oligodendroglioma".
    tumour : float
        Share of the tissue covered by tumour, density of its nuclei, pleomorphism and mitoses.
    lymphocytes : float
        Perivascular cuffs and clusters of lymphocytes.
    vessels : float
        Number of vessels and, when high, microvascular proliferation.
    necrosis : float
        Necrotic areas with a pseudopalisade.
    site : int
        Source site: stain vectors and strengths, white point, blur.
    width_um, height_um : float
        Size of the slide in micrometres.
    mpp : float
        Pixel size in micrometres.
    """

    diagnosis: str
    tumour: float
    lymphocytes: float
    vessels: float
    necrosis: float
    site: int
    width_um: float
    height_um: float
    mpp: float


@dataclass(frozen=True)
class SlideTruth:
    """
    What was drawn on a slide.

    Attributes
    ----------
    stain_matrix : tuple
        Unit optical-density vectors of hematoxylin and eosin (2 x 3, R G B).
    n_tumour_nuclei, n_lymphocytes, n_vessels : int
        Numbers drawn.
    necrosis_mm2, tissue_mm2 : float
        Areas; the tissue contains the necrosis.
    tiles : pandas.DataFrame
        What was drawn on each tile (`ksfusion.demo.truth.tile_truth`).
    """

    stain_matrix: tuple[tuple[float, ...], ...]
    n_tumour_nuclei: int
    n_lymphocytes: int
    n_vessels: int
    necrosis_mm2: float
    tissue_mm2: float
    tiles: pd.DataFrame = field(compare=False, repr=False)


@dataclass(frozen=True)
class TumourLook:
    """Look of one diagnosis.

    Attributes
    ----------
    density : float
        Tumour nuclei per mm2 of tissue at tumour = 1.
    nucleus : str
        Usual kind of nucleus.
    spacing_um : float
        Grid of which each square holds at most one nucleus.
    pleomorphic : tuple of float
        Share of pleomorphic nuclei at tumour = 0 and its growth up to tumour = 1.
    looseness : float
        0..1: how far tumour loosens the neuropil.
    """

    density: float
    nucleus: str
    spacing_um: float
    pleomorphic: tuple[float, float]
    looseness: float


TUMOURS = {
    "glioblastoma": TumourLook(4200, "tumour_long", 8, (0.2, 0.6), 1.0),
    "astrocytoma_g4": TumourLook(3600, "tumour_long", 8, (0.1, 0.45), 0.9),
    "astrocytoma": TumourLook(2200, "tumour_long", 8, (0.0, 0.12), 0.5),
    "oligodendroglioma": TumourLook(3000, "tumour_round", 10, (0.0, 0.03), 0.35),
}


@dataclass(frozen=True)
class SiteStain:
    """Staining and scanner of a source site."""

    vectors: np.ndarray
    strengths: np.ndarray
    white: np.ndarray
    blur_um: float


def draw_slide(path: Path, appearance: SlideAppearance, seed: int) -> SlideTruth:
    """
    Draw a slide and write it as a pyramidal TIFF.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    appearance : SlideAppearance
        Appearance to draw.
    seed : int
        Same appearance and seed, same bytes.

    Returns
    -------
    SlideTruth
        Drawn slide.
    """
    size_um = (appearance.height_um, appearance.width_um)
    mpp, tumour = appearance.mpp, appearance.tumour
    shape = (round(size_um[0] / mpp), round(size_um[1] / mpp))
    looseness = TUMOURS[appearance.diagnosis].looseness * (0.5 + 0.5 * tumour)
    stain = site_stain(appearance.site)
    # Streams of their own, so that more of one thing leaves the others where they are.
    for_tissue, for_vessels, for_neuropil, for_walls, for_cells = np.random.default_rng(seed).spawn(5)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        maps = lay_out_tissue(for_tissue, size_um, tumour, appearance.necrosis)
        vessels = place_vessels(for_vessels, maps, appearance)
        fields = paint_neuropil(for_neuropil, maps, looseness, shape, mpp)
        streams = for_walls.spawn(len(vessels))
        painted = [v for v, stream in zip(vessels, streams, strict=True) if paint_vessel(fields, v, mpp, stream)]
        drawn = Drawn(paste_population(for_cells, fields, maps, vessels, appearance), painted, maps)
        write_pyramid(Path(path), stained(fields, stain, mpp), mpp)
    finally:
        cv2.setNumThreads(threads)
    return SlideTruth(
        stain_matrix=tuple(tuple(float(v) for v in row) for row in stain.vectors),
        n_tumour_nuclei=drawn.count(*TUMOUR_CELLS),
        n_lymphocytes=drawn.count(LYMPHOCYTE),
        n_vessels=len(painted),
        necrosis_mm2=area_mm2(maps.inside_necrosis > 0),
        tissue_mm2=area_mm2(maps.inside_tissue > 0),
        tiles=tile_truth(drawn, shape, mpp),
    )


def site_stain(site: int) -> SiteStain:
    """Stain vectors, strengths, white point and blur of a source site."""
    rng = np.random.default_rng([7, site])
    vectors = np.array([[0.60, 0.73, 0.34], [0.13, 0.88, 0.42]])
    vectors += rng.uniform(-1, 1, (2, 3)) * np.array([[0.06, 0.05, 0.06], [0.06, 0.03, 0.08]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strengths = rng.uniform(0.85, 1.15, 2)
    white = np.clip(rng.uniform(242, 250) + rng.uniform(-3, 3, 3), 238, 252)
    return SiteStain(vectors, strengths, white, blur_um=rng.uniform(0.1, 0.3))


def place_vessels(rng: np.random.Generator, maps: TissueMaps, appearance: SlideAppearance) -> list[Vessel]:
    """Choose and shape the vessels, and take their area from the cells."""
    branching = appearance.diagnosis == "oligodendroglioma"
    room = (maps.inside_tissue > 30) & (maps.inside_necrosis < -15)
    centres = scatter(rng, np.where(room, 10 + 85 * appearance.vessels, 0), 60)
    tissue = maps.inside_tissue > 4
    attempts = (
        (grow_vessel(stream, centre, appearance.vessels, branching) for _ in range(6))
        for centre, stream in zip(centres, rng.spawn(len(centres)), strict=True)
    )
    fitting = [next((vessel for vessel in grown if lies_in(vessel, tissue)), None) for grown in attempts]
    vessels = [vessel for vessel in fitting if vessel is not None]
    taken = filled([o for v in vessels for o in v.body], np.zeros(2), maps.free.shape, COARSE_UM)
    maps.free &= taken < 127
    return vessels


def lies_in(vessel: Vessel, mask: np.ndarray) -> bool:
    """Return whether the whole outline of a vessel lies in a coarse mask."""
    column, row = (np.concatenate(vessel.body) / COARSE_UM).astype(int).T
    on_slide = (row >= 0) & (column >= 0) & (row < mask.shape[0]) & (column < mask.shape[1])
    return bool(on_slide.all() and mask[row, column].all())


def paste_population(
    rng: np.random.Generator,
    fields: np.ndarray,
    maps: TissueMaps,
    vessels: list[Vessel],
    appearance: SlideAppearance,
) -> dict[str, np.ndarray]:
    """Paste all cells outside the vessels; return the centres (n, 2) of each kind, in micrometres."""
    mpp, tumour, look = appearance.mpp, appearance.tumour, TUMOURS[appearance.diagnosis]
    for_normal, for_tumour, for_lymphocytes = rng.spawn(3)
    free = maps.free & (maps.inside_tissue > 4)
    dead = (maps.inside_necrosis > 4) & (maps.inside_tissue > 6)
    normal = free * (1 - maps.tumour_share)
    drawn = {}
    for kind, density, spacing_um in (
        ("ghost", dead * 350, 12),
        ("dust", dead * 500, 8),
        ("neuron", normal * 40, 30),
        ("astrocyte", (0.4 * free + 0.6 * normal) * 250, 14),
        ("oligodendrocyte", (0.4 * free + 0.6 * normal) * 350, 10),
    ):
        drawn[kind] = paste_cells(fields, kind, scatter(for_normal, density, spacing_um), mpp, for_normal)
    drawn |= paste_tumour(for_tumour, fields, maps, free, tumour, look, mpp)
    lymphoid = lymphocyte_density(for_lymphocytes, maps, vessels, appearance.lymphocytes) * free
    places = scatter(for_lymphocytes, lymphoid, 7)
    return drawn | {LYMPHOCYTE: paste_cells(fields, LYMPHOCYTE, places, mpp, for_lymphocytes)}


def paste_tumour(
    rng: np.random.Generator,
    fields: np.ndarray,
    maps: TissueMaps,
    free: np.ndarray,
    tumour: float,
    look: TumourLook,
    mpp: float,
) -> dict[str, np.ndarray]:
    """Paste the tumour's nuclei, in streams and clumps, and their palisades round necrosis; return their centres."""
    crowding = np.exp(0.35 * noise(rng, maps.size_um, 70, COARSE_UM)) * maps.tumour_share * free
    alive = float(((maps.inside_tissue > 0) & (maps.inside_necrosis <= 0)).sum())
    flow = np.pi * noise(rng, maps.size_um, 260, COARSE_UM)
    places = scatter(rng, crowding * (look.density * tumour * alive / max(float(crowding.sum()), 1.0)), look.spacing_um)
    column, row = (places / COARSE_UM).astype(int).T
    angles = flow[row, column] + rng.normal(0, 0.5, len(places))
    lot = rng.random(len(places))
    dividing = lot < 0.012 * tumour
    odd = ~dividing & (lot < 0.012 * tumour + look.pleomorphic[0] + look.pleomorphic[1] * tumour)
    drawn = {}
    for kind, which in ((look.nucleus, ~dividing & ~odd), ("tumour_pleomorphic", odd), ("mitosis", dividing)):
        drawn[kind] = paste_cells(fields, kind, places[which], mpp, rng, angles[which])

    rank = np.exp(-(((maps.inside_necrosis + 28) / 18) ** 2)) * free
    places = scatter(rng, rank * (3000.0 + 4000.0 * tumour), 8)
    column, row = (places / COARSE_UM).astype(int).T
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(maps.inside_necrosis, (0, 0), 3))
    angles = np.arctan2(slope_y, slope_x)[row, column] + rng.normal(0, 0.35, len(places))
    return drawn | {"palisade": paste_cells(fields, "palisade", places, mpp, rng, angles)}


def lymphocyte_density(
    rng: np.random.Generator, maps: TissueMaps, vessels: list[Vessel], lymphocytes: float
) -> np.ndarray:
    """Lymphocytes per mm2 on the coarse grid: cuffs round some vessels, clusters and single cells."""
    cuffed = np.zeros(maps.free.shape, np.uint8)
    for vessel in vessels:
        if rng.random() < 0.5:
            cuffed |= filled(vessel.body, np.zeros(2), cuffed.shape, COARSE_UM)
    from_wall = -signed_distance_um(cuffed > 127)
    clusters = noise(rng, maps.size_um, 120, COARSE_UM)
    weight = np.exp(-((from_wall.clip(0) / 20) ** 2)) + np.clip(clusters - 1.4, 0, 1) + 0.015
    weight *= maps.free
    wanted = 900 * lymphocytes * (maps.inside_tissue > 0).sum()
    return weight * (wanted / max(float(weight.sum()), 1.0))


def stained(fields: np.ndarray, stain: SiteStain, mpp: float) -> np.ndarray:
    """Colours (uint8) of the stain fields after Beer and Lambert."""
    image = np.empty((*fields.shape[:2], 3), np.uint8)
    absorption = -(stain.vectors * stain.strengths[:, None])
    for top in range(0, len(image), STRIP):
        hematoxylin, eosin = cv2.split(fields[top : top + STRIP])
        channels = [
            cv2.addWeighted(hematoxylin, h, eosin, e, np.log(white))
            for h, e, white in zip(*absorption.tolist(), stain.white.tolist(), strict=True)
        ]
        strip = cv2.merge(channels)
        cv2.exp(strip, strip)
        cv2.convertScaleAbs(strip, image[top : top + STRIP])
    return cv2.GaussianBlur(image, (3, 3), stain.blur_um / mpp)


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
    """Tiles row by row; those at the border repeat its pixels, because black would bleed in through JPEG."""
    for top in range(0, image.shape[0], TILE):
        for left in range(0, image.shape[1], TILE):
            tile = image[top : top + TILE, left : left + TILE]
            missing = ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0))
            yield np.pad(tile, missing, mode="edge") if tile.size < TILE * TILE * 3 else np.ascontiguousarray(tile)
