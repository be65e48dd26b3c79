"""Patches brought to the mean and spread of a target's colours.

References
----------
E. Reinhard, M. Ashikhmin, B. Gooch and P. Shirley, Color transfer between images, IEEE Computer Graphics and
Applications 21, 34 (2001); the colour space and its conversions are those of staintools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ksfusion.slides.stain.vahadane import FEWEST_PIXELS, DegenerateStain, tissue_pixels

if TYPE_CHECKING:
    import torch

SMALLEST_SPREAD = 0.5


@dataclass(frozen=True, eq=False)
class ColourProfile:
    """The colours of a slide's tissue in CIELAB.

    Attributes
    ----------
    mean, std : numpy.ndarray of shape (3,)
        Of lightness (0 to 100), a and b.
    n_pixels : int
        Pixels of tissue that they were found on.
    """

    mean: np.ndarray
    std: np.ndarray
    n_pixels: int = 0


def fit_colour(rgb: np.ndarray) -> ColourProfile:
    """Find the mean and spread of an image's colours over its tissue.

    Parameters
    ----------
    rgb : numpy.ndarray of shape (..., 3), uint8
        Image or pixels.

    Raises
    ------
    DegenerateStain
        If there are fewer than 1,000 pixels of tissue, or they hardly differ.
    """
    from staintools.reinhard_color_normalizer import ReinhardColorNormalizer

    tissue = tissue_pixels(rgb)
    if len(tissue) < FEWEST_PIXELS:
        raise DegenerateStain(f"{len(tissue)} pixels of tissue; {FEWEST_PIXELS} are needed")
    mean, std = (np.ravel(values) for values in ReinhardColorNormalizer().get_mean_std(tissue[:, None]))
    if std.min() < SMALLEST_SPREAD:
        raise DegenerateStain("the pixels of tissue hardly differ in colour")
    return ColourProfile(mean, std, len(tissue))


def normalise_colour(rgb: torch.Tensor, source: ColourProfile, target: ColourProfile) -> torch.Tensor:
    """Bring patches from the colours of their slide to those of the target; always computed on the CPU.

    Parameters
    ----------
    rgb : torch.Tensor of shape (B, H, W, 3), uint8
        Patches, on any device.
    source, target : ColourProfile
        Colours of the patches' slide, and those to bring them to.

    Returns
    -------
    torch.Tensor of the same shape, type and device
    """
    import torch
    from staintools.reinhard_color_normalizer import ReinhardColorNormalizer

    scale = target.std / source.std
    shift = target.mean - source.mean * scale
    planes = ReinhardColorNormalizer.lab_split(rgb.cpu().numpy().reshape(-1, rgb.shape[2], 3))
    matched = [plane * np.float32(a) + np.float32(b) for plane, a, b in zip(planes, scale, shift, strict=True)]
    result = ReinhardColorNormalizer.merge_back(*matched)
    return torch.from_numpy(result).reshape(rgb.shape).to(rgb.device)
