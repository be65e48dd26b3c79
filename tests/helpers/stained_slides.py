"""Tissue of known stains."""

import numpy as np

from ksfusion.slides.config import Reading

REGIONS = ["TCGA-06-0174_gbm_roi_0.5mpp.png", "TCGA-HT-7470_lgg_roi_0.5mpp.png"]


SLIDES = Reading(timeout=60)


PLANTED = np.array([[0.60, 0.70, 0.39], [0.15, 0.93, 0.33]])


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def stained(matrix, side=400, seed=0):
    """Draw pixels of tissue that hold mostly one of two stains."""
    random = np.random.default_rng(seed)
    is_nucleus = random.random(side * side) < 0.4
    strong, weak = random.gamma(6, 0.2, side * side), random.gamma(1, 0.02, side * side)
    concentrations = np.stack([np.where(is_nucleus, strong, weak), np.where(is_nucleus, weak, strong)], axis=1)
    rgb = 255 * np.exp(-concentrations @ unit(matrix))
    return np.round(rgb).clip(0, 255).astype(np.uint8).reshape(side, side, 3)
