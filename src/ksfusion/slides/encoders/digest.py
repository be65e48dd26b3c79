"""The digest of an encoder's weights, by which another machine knows whether it has the same."""

from __future__ import annotations

import hashlib

import torch

from ksfusion.slides.encoders.build import Encoder


def encoder_digest(encoder: Encoder) -> str:
    """Return the SHA-256 of the weights of an encoder: of the names, types, shapes and values of all its tensors.

    It does not depend on the file or the hub that they came from.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
