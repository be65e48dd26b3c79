"""Stain vectors of a slide by sparse dictionary learning, and patches brought to a common stain.

Optical density is -ln(I / 255). A slide's two stain vectors and how strongly they occur make its profile;
normalising writes a pixel's concentrations with the vectors and strengths of the target.

A slide's brightness is not standardised first: the usual rule (the 95th percentile of luminosity becomes white) holds
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

SMALLEST_DENSITY = 1e-6
TISSUE_LUMINOSITY = 0.8
DICTIONARY_REGULARIZER = 0.1
CONCENTRATION_REGULARIZER = 0.01
# Each restart forgets the sums that online learning gathered far from the solution. These numbers bring real regions
# within 0.2 degrees of a hundred times the work, in a quarter of a second.
RESTARTS, ITERATIONS, BATCH = 10, 50, 256
LAST_ITERATIONS, LAST_BATCH = 300, 512
LEARNING_PIXELS = 200_000
# Ruifrok and Johnston's haematoxylin and eosin: where learning starts.
START = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
SMALLEST_ANGLE_DEGREES = 4.0
FEWEST_PIXELS = 1_000
# Red and blue absorbed, relative to green, by what may be haematoxylin and eosin. Fitted on real slides and on slides
# drawn with published vectors of H&E, haematoxylin has red 0.5 to 1.5 and blue 0.34 to 0.64, eosin red at most 0.44 and
# blue at most 0.70; DAB has blue 1.2 and more, AEC 0.92, Masson's ponceau 0.84, Masson's and Mallory's blue 0.22 beside
# red 1.2 and more, alcian blue as second stain red 0.75, the green of Feulgen's counterstain red 2.7.
HAEMATOXYLIN_RED, HAEMATOXYLIN_BLUE = 2.0, (0.28, 0.8)
EOSIN_RED, EOSIN_BLUE = 0.55, 0.77
CPU_CHUNK = 1 << 15


class DegenerateStain(ValueError):
    """Too few pixels of tissue, or two stain vectors that are nearly the same."""


@dataclass(frozen=True, eq=False)
class StainProfile:
    """The stains of a slide.

    Attributes
    ----------
    matrix : numpy.ndarray of shape (2, 3)
        Unit vectors of optical density in red, green and blue; haematoxylin first, then eosin.
    max_concentration : numpy.ndarray of shape (2,)
        The 99th percentile of each stain's concentration.
    n_pixels : int
        Pixels of tissue that they were found on.
    """

    matrix: np.ndarray
    max_concentration: np.ndarray
    n_pixels: int = 0


def optical_density(rgb: np.ndarray) -> np.ndarray:
    """Return -ln(I / 255) of uint8 values, as float64; at least 1e-6, and 0 counts as 1."""
    levels = np.maximum(np.arange(256), 1)
    return np.maximum(-np.log(levels / 255), SMALLEST_DENSITY)[rgb]


def tissue_pixels(rgb: np.ndarray) -> np.ndarray:
    """Return the pixels darker than 80 % luminosity (CIELAB) of (..., 3) uint8, as (n, 3) uint8."""
    pixels = np.ascontiguousarray(rgb).reshape(-1, 1, 3)
    if not len(pixels):  # OpenCV converts no empty image
        return pixels[:, 0]
    luminosity = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[:, 0, 0]
    return pixels[:, 0][luminosity < TISSUE_LUMINOSITY * 255]


def fit_stain(rgb: np.ndarray, method: str = "vahadane") -> StainProfile:
    """Find the stain vectors of an image, and the 99th percentile of their concentrations over all its pixels.

    Vahadane's dictionary of two non-negative atoms, learned on the pixels of tissue with the penalty 0.1, as in
    staintools; but with a fixed amount of work on one thread, so that the result is always the same. Macenko's
    vectors are those of staintools.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (..., 3), uint8
        Left as it is.
    method
        ``vahadane`` or ``macenko``.

    Returns
    -------
    StainProfile

    Raises
    ------
    DegenerateStain
        If there are fewer than 1,000 pixels of tissue, or the two vectors are less than 4 degrees apart.
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
    """Return what tells two stain vectors (2, 3) from haematoxylin and eosin; empty where nothing does."""
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
    """Return at most so many pixels (n, 3), spread evenly over those given."""
    if len(pixels) <= count:
        return pixels
    return pixels[np.linspace(0, len(pixels) - 1, count).astype(np.int64)]


def _learn_dictionary(density: np.ndarray) -> np.ndarray:
    """Learn two unit stain vectors, haematoxylin (more red light absorbed) first, from (n, 3) optical densities."""
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
    """Find two unit stain vectors, haematoxylin first, from (n, 3) uint8 pixels by Macenko's method.

    References
    ----------
    M. Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009, 1107.
    """
    from staintools.stain_extraction.macenko_stain_extractor import MacenkoStainExtractor

    # It writes into what it is given. Noise may turn a vector slightly out of the positive octant.
    matrix = np.maximum(MacenkoStainExtractor.get_stain_matrix(tissue[:, None].copy()), 0)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _two_atom_solution(matrix: np.ndarray, regularizer: float) -> tuple[np.ndarray, np.ndarray, bool]:
    """Write the solution of the non-negative lasso with two atoms as affine maps of the optical density.

    The objective ||x - a D||^2 / 2 + r (a1 + a2), a >= 0, has its minimum at the stationary point of both atoms if
    that is not negative, else at that of one atom alone, else at 0. For each atom the smaller of "with the other" and
    "alone", cut at 0, is that minimum where the atoms' product is not negative, and the larger where it is.

    Returns
    -------
    weights : numpy.ndarray of shape (3, 4)
        Columns: both with the other, then both alone.
    bias : numpy.ndarray of shape (4,)
    smaller : bool
        Whether the smaller of the two is the solution.
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
        Weight of the penalty.

    Returns
    -------
    numpy.ndarray of shape (n, 2), float64
    """
    weights, bias, smaller = _two_atom_solution(np.asarray(matrix, dtype=np.float64), regularizer)
    candidates = np.asarray(od, dtype=np.float64) @ weights + bias
    choose = np.minimum if smaller else np.maximum
    return np.maximum(choose(candidates[:, :2], candidates[:, 2:]), 0)


def normalise_stain(rgb: torch.Tensor, source: StainProfile, target: StainProfile) -> torch.Tensor:
    """Bring patches from the stains of their slide to those of the target.

    Each pixel keeps its concentrations, scaled so that the 99th percentiles agree, and gets the target's vectors.

    Parameters
    ----------
    rgb : torch.Tensor of shape (B, H, W, 3), uint8
        On any device.
    source, target : StainProfile

    Returns
    -------
    torch.Tensor of the same shape, type and device
    """
    import torch

    weights, bias, smaller = _two_atom_solution(np.asarray(source.matrix, dtype=np.float64), CONCENTRATION_REGULARIZER)
    scale = np.asarray(target.max_concentration) / np.asarray(source.max_concentration)
    # The scale is positive, so it may come before the choice; the logarithm's sign goes into the weights.
    scale = np.concatenate([scale, scale])
    to_candidates, offset = -weights * scale, (bias + weights.sum(axis=0) * math.log(255)) * scale

    def constant(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32, device=rgb.device)

    to_candidates, offset = constant(to_candidates.T), constant(offset[:, None])
    to_density = constant(-np.asarray(target.matrix, dtype=np.float64).T)
    choose = torch.minimum if smaller else torch.maximum

    pixels = rgb.reshape(-1, 3)
    result = torch.empty_like(pixels)
    # On a processor, temporaries that stay in its cache save more than larger steps; so do whole colour planes.
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
