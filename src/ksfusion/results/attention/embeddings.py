"""What the streams of a method make of test samples, on a plane: UMAP of their embeddings."""

from __future__ import annotations

import numpy as np
import torch

from ksfusion.methods.output import Method
from ksfusion.training.data import FoldData
from ksfusion.training.predict import batched

# Fewer samples have no neighbourhoods to speak of.
LEAST_SAMPLES, NEIGHBOURS, SEED = 8, 15, 0


def embeddings_of(model: Method, data: FoldData, *, batch_size: int) -> dict[str, np.ndarray]:
    """Return the embedding of each stream, or modality, of all samples, (n_samples, width); empty where it has none.

    Parameters
    ----------
    model
        A trained method on the CPU, in evaluation mode.
    data
        The samples.
    batch_size
        Samples that are computed together.
    """
    parts: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for positions in batched(np.arange(len(data.samples)), batch_size):
            out = model(*data.gather(positions, torch.device("cpu")))
            for stream, values in out.embeddings.items():
                parts.setdefault(stream, []).append(values.float().numpy())
    return {stream: np.concatenate(found) for stream, found in parts.items()}


def on_a_plane(embedding: np.ndarray) -> np.ndarray | None:
    """Return scanpy's UMAP of an embedding (n_samples, width), as (n_samples, 2); None of too few or odd numbers.

    Its seed is fixed: the same embedding has the same picture.
    """
    if len(embedding) < LEAST_SAMPLES or not np.isfinite(embedding).all():
        return None
    import anndata
    import scanpy

    samples = anndata.AnnData(embedding)
    neighbours = min(NEIGHBOURS, len(embedding) - 1)
    scanpy.pp.neighbors(samples, n_neighbors=neighbours, use_rep="X", random_state=SEED)
    scanpy.tl.umap(samples, random_state=SEED)
    plane: np.ndarray = samples.obsm["X_umap"]
    return plane
