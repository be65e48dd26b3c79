"""The cells of a slide: those of the brain, of the tumour, and lymphocytes."""

from __future__ import annotations

import cv2
import numpy as np

from ksfusion.demo.looks import TUMOURS, SlideAppearance, TumourLook
from ksfusion.demo.nuclei import paste_cells
from ksfusion.demo.tissue import COARSE_UM, TissueMaps, noise, scatter, signed_distance_um
from ksfusion.demo.truth import LYMPHOCYTE
from ksfusion.demo.vessels import Vessel, filled


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
    """Return lymphocytes per mm2 on the coarse grid: cuffs round some vessels, clusters and single cells."""
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
