"""The scores of a model for pairs of a slide and a profile, of one sample or of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ksfusion.methods.output import Method, Parts
from ksfusion.training.data import FoldData, to_device
from ksfusion.training.predict import batched


def pair_logits(model: Method, data: FoldData, pairs: np.ndarray, *, batch_size: int) -> Tensor:
    """Return the logits of pairs, (n_pairs, n_outputs), on the CPU and in full precision.

    What a method makes of one modality alone is computed once for each slide, and once for each profile; so is what it
    makes of a pair that is there twice. Samples may share a slide.

    Parameters
    ----------
    model
        A trained method, in evaluation mode.
    data
        The samples.
    pairs : numpy.ndarray of int, shape (n_pairs, 2)
        Positions of the samples whose patches, and whose genes, meet.
    batch_size
        Samples, or pairs, that are computed together.
    """
    device = next(model.parameters()).device
    _, first_of_slide, slide_number = np.unique(data.slides, return_index=True, return_inverse=True)
    shared = np.column_stack([first_of_slide[slide_number[pairs[:, 0]]], pairs[:, 1]])
    known, number = np.unique(shared, axis=0, return_inverse=True)
    of_slide, of_profile = known.T
    slides, firsts = np.unique(of_slide, return_index=True)
    profiles, profile = np.unique(of_profile, return_inverse=True)
    logits: list[Tensor] = []
    with torch.inference_mode():
        genes = {niche: to_device(values[profiles], device) for niche, values in data.genes.items()}
        of_genes = model.of_genes(genes)
        for here in batched(np.arange(len(slides)), batch_size):
            of_patches = model.of_patches(cast(Tensor, data.gather(slides[here], device)[0]))
            end = firsts[here[-1] + 1] if here[-1] + 1 < len(slides) else len(known)
            for part in batched(np.arange(firsts[here[0]], end), batch_size):
                slide = np.searchsorted(slides[here], of_slide[part])
                output = model.join(
                    rows_of(of_patches, to_device(torch.from_numpy(slide), device)),
                    rows_of(of_genes, to_device(torch.from_numpy(profile[part]), device)),
                )
                logits.append(output.logits.float().cpu())
    return torch.cat(logits)[torch.from_numpy(number)]


def rows_of(parts: Parts, numbers: Tensor) -> Parts:
    """Return some samples of what a method makes of one modality; what is no tensor is the same for all of them."""
    if isinstance(parts, Tensor):
        return parts[numbers]
    if isinstance(parts, Mapping):
        return {name: rows_of(part, numbers) for name, part in parts.items()}
    if isinstance(parts, tuple):
        return tuple(rows_of(part, numbers) for part in parts)
    return parts
