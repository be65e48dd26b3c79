"""Patches of training slides for methods that are fitted to some before they are trained."""

from __future__ import annotations

import numpy as np

from ksfusion.methods.output import Method
from ksfusion.training.data import FoldData


def show_patches(model: Method, data: FoldData) -> None:
    """Let a method see patches of the labelled training samples' slides, where it asks for some; of no others."""
    if model.patches_to_see:
        model.see_patches(patches_of_training(data, most=model.patches_to_see))


def patches_of_training(data: FoldData, *, most: int) -> np.ndarray:
    """Return patches (n, n_features), float32, of the slides of the labelled training samples.

    Parameters
    ----------
    data
        Samples of a fold.
    most
        Largest number: of each slide as many, but at least one, evenly spaced in the order of the store. A patch that
        stands more than once on the map is taken as one.
    """
    slides = np.unique(data.slides[data.labelled("train")])
    if data.check is not None:
        data.check(slides.tolist())
    each = max(most // len(slides), 1)
    chosen = []
    for slide in slides:
        rows = np.unique(data.rows[slide])
        chosen.append(rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int)])
    patches: np.ndarray = np.take(data.features, np.concatenate(chosen), axis=0).astype(np.float32)
    return patches
