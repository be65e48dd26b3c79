"""Synthetic H&E slides of gliomas with planted truth."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ksfusion.demo.looks import TUMOURS, SiteStain, SlideAppearance, site_stain
from ksfusion.demo.population import paste_population
from ksfusion.demo.pyramid import write_pyramid
from ksfusion.demo.tissue import COARSE_UM, STRIP, TissueMaps, area_mm2, lay_out_tissue, paint_neuropil, scatter
from ksfusion.demo.truth import LYMPHOCYTE, TUMOUR_CELLS, Drawn, tile_truth
from ksfusion.demo.vessels import Vessel, filled, grow_vessel, paint_vessel


@dataclass(frozen=True)
class SlideTruth:
    """
    What was drawn on a slide.

    Attributes
    ----------
    stain_matrix : tuple
        Unit optical-density vectors of haematoxylin and eosin (2 x 3, R G B).
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


def stained(fields: np.ndarray, stain: SiteStain, mpp: float) -> np.ndarray:
    """Return the colours (uint8) of the stain fields after Beer and Lambert."""
    image = np.empty((*fields.shape[:2], 3), np.uint8)
    absorption = -(stain.vectors * stain.strengths[:, None])
    for top in range(0, len(image), STRIP):
        haematoxylin, eosin = cv2.split(fields[top : top + STRIP])
        channels = [
            cv2.addWeighted(haematoxylin, h, eosin, e, np.log(white))
            for h, e, white in zip(*absorption.tolist(), stain.white.tolist(), strict=True)
        ]
        strip = cv2.merge(channels)
        cv2.exp(strip, strip)
        cv2.convertScaleAbs(strip, image[top : top + STRIP])
    return cv2.GaussianBlur(image, (3, 3), stain.blur_um / mpp)
