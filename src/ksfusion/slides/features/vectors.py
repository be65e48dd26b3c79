"""One vector a slide, computed elsewhere: by TITAN, PRISM, GigaPath and others, in an .h5 or .pt file each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ksfusion.slides.features.precomputed import DAMAGED, MAX_FEATURES
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.fingerprint import file_digest

# What the vector is called, by TRIDENT and CLAM, STAMP, PRISM and GigaPath, and others; the first that is there.
NAMES = (
    "features",
    "feats",
    "image_embedding",
    "last_layer_embed",
    "slide_embedding",
    "slide_features",
    "embedding",
    "embeddings",
)
# A file of one vector is small.
MAX_BYTES = 1 << 28


def read_vector(path: Path) -> np.ndarray:
    """Read the vector of a slide.

    Parameters
    ----------
    path
        HDF5 with one table of numbers, or one of `NAMES`; or a tensor of PyTorch, or a mapping with one, which is read
        without running code in it.

    Returns
    -------
    numpy.ndarray of shape (d,), float16

    Raises
    ------
    SlideError
        With reason ``missing_file`` or ``unreadable``: if there is no vector, more than one, or a value of it is not
        finite in float16.
    """
    if not path.is_file():
        raise SlideError("missing_file", f"{path} is not there")
    if path.stat().st_size > MAX_BYTES:
        raise SlideError("unreadable", f"{path}: is larger than one vector can be; name a file of one vector")
    try:
        found = _of_torch(path) if path.suffix.lower() == ".pt" else _of_hdf5(path)
    except SlideError:
        raise
    except Exception as error:  # what a damaged file raises, or one made to do harm
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SlideError("unreadable", f"{path}: {said}") from None
    if found is None:
        raise SlideError("unreadable", f"{path}: holds no vector; call it features")
    if found.ndim == 0 or any(n != 1 for n in found.shape[:-1]):
        shape = " x ".join(map(str, found.shape)) or "one number"
        remedy = "one vector a slide is needed (features of patches are source: precomputed)"
        raise SlideError("unreadable", f"{path}: holds {shape}; {remedy}")
    vector = found.reshape(-1)
    if not 0 < len(vector) <= MAX_FEATURES:
        raise SlideError("unreadable", f"{path}: claims {len(vector)} features; compute them again")
    with np.errstate(over="ignore"):
        half = vector.astype(np.float16)
    if not np.isfinite(half).all():
        raise SlideError("unreadable", f"{path}: a feature is missing, infinite or beyond float16")
    return half


def _of_hdf5(path: Path) -> np.ndarray | None:
    try:
        with h5py.File(path, "r") as file:
            chosen = _chosen({name: data for name, data in file.items() if isinstance(data, h5py.Dataset)})
            if chosen is None or chosen.dtype.kind != "f":
                return None
            if chosen.size > MAX_FEATURES:  # more than one vector: told by its shape
                return np.broadcast_to(np.float16(0), chosen.shape)
            return np.asarray(chosen[()])
    except DAMAGED as error:
        raise SlideError("unreadable", f"{path}: {error}") from None


def _of_torch(path: Path) -> np.ndarray | None:
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # its words are about how to read it unsafely
        reason = "is damaged, or holds more than tensors, which is not read: it may run code"
        raise SlideError("unreadable", f"{path}: {reason}") from None
    tensor = held if isinstance(held, torch.Tensor) else None
    if isinstance(held, Mapping):
        tensor = _chosen({str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)})
    if tensor is None or not tensor.is_floating_point():
        return None
    return np.asarray(tensor.detach().float().numpy())


def _chosen(tables: Mapping[str, Any]) -> Any:
    """Return the table that is the vector: the only one, or the first of `NAMES`; None where none is."""

    def candidates() -> Iterator[Any]:
        yield from (tables[name] for name in NAMES if name in tables)
        if len(tables) == 1:
            yield from tables.values()

    return next(candidates(), None)


def read_vector_tile(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what stands for the tiles of a slide of which there is one vector; runs in a worker process.

    Parameters
    ----------
    path
        The slide's file.

    Returns
    -------
    known : dict
        width and height, which are not known, and the file's digest.
    tiles : dict of str to numpy.ndarray of shape (1,)
        One tile in the corner, as `ksfusion.slides.features.precomputed.read_tiles` returns them.
    """
    read_vector(path)
    zero = np.zeros(1, int)
    known = {"width": 0, "height": 0, "digest": file_digest(path)}
    return known, {"tile": zero, "x": zero, "y": zero, "tissue": np.full(1, np.nan)}
