"""Stain vectors of a slide by Vahadane's dictionary learning or Macenko's method, and stain normalisation of patches.

Optical density is -ln(I / 255). The stain profile of a slide is its two stain vectors, haematoxylin and eosin, and the
99th percentile of the concentration of each. Stain normalisation scales a pixel's two concentrations to the target's
percentiles and multiplies them with the target's stain vectors.

Luminosity is not standardised first: staintools' rule for it (the 95th percentile of luminosity becomes white) holds
where a twentieth of the image is glass, and would bleach the tiles used here, which are chosen for their tissue.

References
----------
A. Vahadane et al., Structure-preserving color normalization and sparse stain separation for histological images,
IEEE Transactions on Medical Imaging 35, 1962 (2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

# These four are those of staintools.
SMALLEST_DENSITY = 1e-6
TISSUE_LUMINOSITY = 0.8
DICTIONARY_REGULARIZER = 0.1
CONCENTRATION_REGULARIZER = 0.01
# Each restart forgets the sums that online learning gathered far from the solution. With these numbers the vectors of
# real regions are within 0.2 degrees of those after a hundred times as many iterations, in a quarter of a second.
RESTARTS, ITERATIONS, BATCH = 10, 50, 256
LAST_ITERATIONS, LAST_BATCH = 300, 512
LEARNING_PIXELS = 200_000
# Ruifrok and Johnston's vectors of haematoxylin and eosin (2001), from which the dictionary learning starts.
START = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
SMALLEST_ANGLE_DEGREES = 4.0
FEWEST_PIXELS = 1_000
# Optical density in red and in blue, relative to green, that haematoxylin and eosin may have. Fitted on real slides and
# on slides drawn with published vectors of H&E, haematoxylin has red 0.5 to 1.5 and blue 0.34 to 0.64, eosin red at
# most 0.44 and blue at most 0.70. Of other stains, DAB has blue 1.2 and more, AEC blue 0.92, Masson's ponceau blue
# 0.84, the blue dyes of Masson and Mallory blue 0.22 with red 1.2 and more; alcian blue as second stain has red 0.75,
# the green counterstain of Feulgen red 2.7.
HAEMATOXYLIN_RED, HAEMATOXYLIN_BLUE = 2.0, (0.28, 0.8)
EOSIN_RED, EOSIN_BLUE = 0.55, 0.77
CPU_CHUNK = 1 << 15  # pixels normalised at a time on a CPU


class DegenerateStain(ValueError):
    """An image without two stains to fit: too little tissue, one stain only, or two nearly parallel vectors."""


@dataclass(frozen=True, eq=False)
class StainProfile:
    """Stain profile of a slide.

    Attributes
    ----------
    matrix : numpy.ndarray of shape (2, 3)
        Stain matrix: unit vectors of optical density in red, green and blue; haematoxylin first, then eosin.
    max_concentration : numpy.ndarray of shape (2,)
        The 99th percentile of each stain's concentration over all pixels, in units of optical density.
    n_pixels : int
        Number of pixels of tissue in the image; stain vectors are fitted on at most 200,000 of them.
    """

    matrix: np.ndarray
    max_concentration: np.ndarray
    n_pixels: int = 0


def optical_density(rgb: np.ndarray) -> np.ndarray:
    """Return -ln(I / 255) of uint8 values, as float64; at least 1e-6, and 0 counts as 1."""
    levels = np.maximum(np.arange(256), 1)
    return np.maximum(-np.log(levels / 255), SMALLEST_DENSITY)[rgb]


def tissue_pixels(rgb: np.ndarray) -> np.ndarray:
    """Return the pixels of (..., 3) uint8 whose luminosity (L of CIELAB) is below 80 %, as (n, 3) uint8."""
    pixels = np.ascontiguousarray(rgb).reshape(-1, 1, 3)
    if not len(pixels):  # OpenCV converts no empty image
        return pixels[:, 0]
    luminosity = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[:, 0, 0]
    return pixels[:, 0][luminosity < TISSUE_LUMINOSITY * 255]


def fit_stain(rgb: np.ndarray, method: str = "vahadane") -> StainProfile:
    """Fit the stain vectors on the tissue of an image, and their 99th percentiles of concentration on all its pixels.

    ``vahadane`` learns a dictionary of two non-negative atoms with the L1 penalty 0.1, as staintools does, but with a
    fixed number of iterations on one thread, so that the result is always the same. ``macenko`` is staintools' own.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (..., 3), uint8
        Image or pixels; not changed.
    method
        Way to find the stain vectors, ``vahadane`` or ``macenko``.

    Returns
    -------
    StainProfile

    Raises
    ------
    DegenerateStain
        If there are fewer than 1,000 pixels of tissue, a stain is missing or occurs in less than 1 % of the pixels, or
        the two vectors are less than 4 degrees apart.
    """
    tissue = tissue_pixels(rgb)
    if len(tissue) < FEWEST_PIXELS:
        raise DegenerateStain(f"{len(tissue)} pixels of tissue; {FEWEST_PIXELS} are needed")
    n_tissue = len(tissue)
    tissue = evenly(tissue, LEARNING_PIXELS)
    matrix = _macenko(tissue) if method == "macenko" else _learn_dictionary(optical_density(tissue))
    if not matrix.any(axis=1).all():
        raise DegenerateStain("the pixels hold one stain only")
    angle = math.degrees(math.acos(min(1.0, float(matrix[0] @ matrix[1]))))
    if angle < SMALLEST_ANGLE_DEGREES:
        raise DegenerateStain(f"the two stain vectors are {angle:.1f} degrees apart")
    maxima = max_concentration(rgb.reshape(-1, 3), matrix)
    if maxima.min() <= 0:
        raise DegenerateStain("one of the two stains occurs in less than 1 % of the pixels")
    return StainProfile(matrix, maxima, n_tissue)


def unlike_h_and_e(matrix: np.ndarray) -> str:
    """Return, as text, why two stain vectors (2, 3) cannot be haematoxylin and eosin; empty where they can."""
    (h_red, h_green, h_blue), (e_red, e_green, e_blue) = matrix
    low, high = HAEMATOXYLIN_BLUE
    if h_red > HAEMATOXYLIN_RED * h_green or not low * h_green <= h_blue <= high * h_green:
        return (
            f"the first stain absorbs red, green and blue as {h_red:.2f}, {h_green:.2f}, {h_blue:.2f}: no haematoxylin"
        )
    if e_red > EOSIN_RED * e_green or e_blue > EOSIN_BLUE * e_green:
        return f"the second stain absorbs red, green and blue as {e_red:.2f}, {e_green:.2f}, {e_blue:.2f}: no eosin"
    return ""


def max_concentration(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the 99th percentile of each stain's concentration in (n, 3) uint8 pixels."""
    return np.percentile(stain_concentrations(optical_density(pixels), matrix), 99, axis=0)


def evenly(pixels: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of the pixels (n, 3), at even steps through them."""
    if len(pixels) <= count:
        return pixels
    return pixels[np.linspace(0, len(pixels) - 1, count).astype(np.int64)]


def _learn_dictionary(density: np.ndarray) -> np.ndarray:
    """Learn two unit stain vectors (2, 3), haematoxylin (more red absorbed) first, from (n, 3) optical densities."""
    import spams

    samples = np.asfortranarray(density.T)
    atoms = np.asfortranarray(np.array(START).T)
    schedule = [(ITERATIONS, BATCH)] * RESTARTS + [(LAST_ITERATIONS, LAST_BATCH)]
    for iterations, batch in schedule:
        atoms = spams.trainDL(
            samples,
            D=atoms,
            K=2,
            lambda1=DICTIONARY_REGULARIZER,
            mode=2,
            modeD=0,
            posAlpha=True,
            posD=True,
            iter=iterations,
            batchsize=batch,
            numThreads=1,
            verbose=False,
        )
    matrix = atoms.T / np.maximum(np.linalg.norm(atoms.T, axis=1, keepdims=True), 1e-12)
    return matrix[::-1].copy() if matrix[0, 0] < matrix[1, 0] else matrix.copy()


def _macenko(tissue: np.ndarray) -> np.ndarray:
    """Find two unit stain vectors (2, 3), haematoxylin first, from (n, 3) uint8 pixels by Macenko's method.

    References
    ----------
    M. Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009, 1107.
    """
    from staintools.stain_extraction.macenko_stain_extractor import MacenkoStainExtractor

    # staintools writes into the array that it is given. Noise may make a component slightly negative.
    matrix = np.maximum(MacenkoStainExtractor.get_stain_matrix(tissue[:, None].copy()), 0)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _two_atom_solution(matrix: np.ndarray, regularizer: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the solution of the non-negative lasso with two atoms, as affine maps of the optical density x.

    The objective |x - a D|^2 / 2 + r (a_1 + a_2), a >= 0, has its minimum where the gradient for both atoms is zero,
    if that point is not negative; else where it is zero for one atom alone, the other being absent; else at 0::

        both    = (x D^T - r) (D D^T)^-1
        alone_i = (x d_i - r) / |d_i|^2

    So a_i = max(0, min(both_i, alone_i)) where d_1 d_2 >= 0, and a_i = max(0, max(both_i, alone_i)) where d_1 d_2 < 0.

    Parameters
    ----------
    matrix : numpy.ndarray of shape (2, 3)
        The atoms D, not parallel.
    regularizer
        Weight r of the L1 penalty.

    Returns
    -------
    weights : numpy.ndarray of shape (3, 4)
        Columns: both_1, both_2, alone_1, alone_2.
    bias : numpy.ndarray of shape (4,)
        In the same order: candidates are x weights + bias.
    smaller : bool
        Whether the smaller of both_i and alone_i is the solution.
    """
    gram = matrix @ matrix.T
    to_coefficients = np.hstack([np.linalg.inv(gram), np.diag(1 / np.diag(gram))])
    return matrix.T @ to_coefficients, -regularizer * to_coefficients.sum(axis=0), bool(gram[0, 1] >= 0)


def stain_concentrations(
    od: np.ndarray, matrix: np.ndarray, regularizer: float = CONCENTRATION_REGULARIZER
) -> np.ndarray:
    """Solve for the concentrations of two stains: non-negative least squares with an L1 penalty, in closed form.

    Equal to ``spams.lasso(od.T, D=matrix.T, mode=2, lambda1=regularizer, pos=True)``.

    Parameters
    ----------
    od : numpy.ndarray of shape (n, 3)
        Optical densities.
    matrix : numpy.ndarray of shape (2, 3)
        Stain vectors, not parallel.
    regularizer
        Weight of the L1 penalty.

    Returns
    -------
    numpy.ndarray of shape (n, 2), float64; haematoxylin first
    """
    weights, bias, smaller = _two_atom_solution(np.asarray(matrix, dtype=np.float64), regularizer)
    candidates = np.asarray(od, dtype=np.float64) @ weights + bias
    choose = np.minimum if smaller else np.maximum
    return np.maximum(choose(candidates[:, :2], candidates[:, 2:]), 0)


def normalise_stain(rgb: torch.Tensor, source: StainProfile, target: StainProfile) -> torch.Tensor:
    """Normalise the stain of patches: from that of their slide to that of the target.

    Each pixel keeps its concentrations, scaled so that the 99th percentiles agree, and gets the target's vectors.

    Parameters
    ----------
    rgb : torch.Tensor of shape (B, H, W, 3), uint8
        Patches, on any device; not changed.
    source, target : StainProfile
        Stain profile of the patches' slide, and the one to bring them to.

    Returns
    -------
    torch.Tensor of the same shape, type and device
    """
    import torch

    weights, bias, smaller = _two_atom_solution(np.asarray(source.matrix, dtype=np.float64), CONCENTRATION_REGULARIZER)
    scale = np.asarray(target.max_concentration) / np.asarray(source.max_concentration)
    # The scale is positive, so it may come before the choice; the sign and the 255 of -ln(I / 255) go into the maps.
    scale = np.concatenate([scale, scale])
    to_candidates, offset = -weights * scale, (bias + weights.sum(axis=0) * math.log(255)) * scale

    def constant(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=rgb.device)

    to_candidates, offset = constant(to_candidates.T), constant(offset[:, None])
    to_density = constant(-np.asarray(target.matrix, dtype=np.float64).T)
    choose = torch.minimum if smaller else torch.maximum

    pixels = rgb.reshape(-1, 3)
    result = torch.empty_like(pixels)
    # On a CPU, chunks whose temporaries stay in its cache are faster than larger ones; so is a colour plane at a time.
    chunk = CPU_CHUNK if rgb.device.type == "cpu" else max(len(pixels), 1)
    for start in range(0, len(pixels), chunk):
        part = pixels[start : start + chunk]
        log_planes = torch.empty((3, len(part)), dtype=torch.float32, device=rgb.device)
        for colour in range(3):
            log_planes[colour] = part[:, colour]
        log_planes.clamp_(min=1).log_()
        candidates = torch.addmm(offset, to_candidates, log_planes)
        concentrations = choose(candidates[:2], candidates[2:]).clamp_(min=0)
        planes = (to_density @ concentrations).exp_().mul_(255)
        for colour in range(3):
            result[start : start + chunk, colour] = planes[colour]
    return result.reshape(rgb.shape)
