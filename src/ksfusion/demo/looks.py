"""How a slide is to look: what is drawn on it, and each diagnosis's and source site's own look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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


def site_stain(site: int) -> SiteStain:
    """Return the stain vectors, strengths, white point and blur of a source site."""
    rng = np.random.default_rng([7, site])
    vectors = np.array([[0.60, 0.73, 0.34], [0.13, 0.88, 0.42]])
    vectors += rng.uniform(-1, 1, (2, 3)) * np.array([[0.06, 0.05, 0.06], [0.06, 0.03, 0.08]])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    strengths = rng.uniform(0.85, 1.15, 2)
    white = np.clip(rng.uniform(242, 250) + rng.uniform(-3, 3, 3), 238, 252)
    return SiteStain(vectors, strengths, white, blur_um=rng.uniform(0.1, 0.3))
