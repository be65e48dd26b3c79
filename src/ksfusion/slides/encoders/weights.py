"""The weights of an encoder: read from a file or fetched from the hub, brought to timm's names, and loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ksfusion.core.errors import UserError

Weights = Mapping[str, torch.Tensor]

# How transformers names the parts of a vision transformer, and what timm calls them.
_COMMON_NAMES = {
    r"embeddings\.cls_token": "cls_token",
    r"embeddings\.position_embeddings": "pos_embed",
    r"embeddings\.patch_embeddings\.projection": "patch_embed.proj",
    r"encoder\.layer\.": "blocks.",
    r"attention\.output\.dense": "attn.proj",
    r"^layernorm": "norm",
}
_NAMES = {
    "vit": {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        r"intermediate\.dense": "mlp.fc1",
        r"output\.dense": "mlp.fc2",
    },
    "dinov2": {r"layer_scale(\d)\.lambda1": r"ls\1.gamma"},
}
_UNUSED = ("pooler.", "embeddings.mask_token")
_QUERY = re.compile(r"attention\.attention\.query\.")


def read_weights(path: Path) -> Weights:
    """Read safetensors, or a PyTorch file of tensors only.

    Raises
    ------
    UserError
        If it cannot be read or holds anything else; no code in it is run.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"features.weights: {path} cannot be read as weights ({error})") from None
    except Exception as error:  # pickle's own errors
        raise UserError(
            f"features.weights: {path} holds more than tensors or is damaged ({first_line(error)}); "
            "convert it to safetensors"
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"features.weights: {path} is not a table of tensors; save the model's state_dict")
    return {key.removeprefix("module."): value for key, value in content.items()}


def fetch_weights(repository: str, file: str | None = None) -> Weights:
    """Fetch the weights of a repository of the Hugging Face hub, or take them from its cache.

    Parameters
    ----------
    repository
        ``OWNER/NAME``.
    file
        Their file, where that has a name of its own.
    """
    from timm.models import load_state_dict_from_hf

    try:
        named = {} if file is None else {"filename": file}
        return load_state_dict_from_hf(repository, weights_only=True, **named)
    except Exception as error:  # the hub's client, the network and torch each fail in their own way
        raise not_fetched(repository, error) from None


def not_fetched(name: str, error: Exception) -> UserError:
    """Return the message for weights that could not be fetched."""
    return UserError(
        f"features.encoder: {name} could not be fetched ({first_line(error)}); some models need consent to their terms "
        "on huggingface.co and HF_TOKEN set; where there is no internet, download the weights elsewhere and name the "
        "file in features.weights"
    )


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def to_timm(weights: Weights, layout: str) -> Weights:
    """Rename the weights of a vision transformer of transformers as timm does, and join query, key and value.

    Parameters
    ----------
    weights
        Named by transformers, or by timm already: then they are returned as they are.
    layout
        ``vit`` or ``dinov2``: the model of transformers. ``timm``: nothing is to be done.
    """
    if layout == "timm" or "pos_embed" in weights:
        return weights
    weights = {re.sub(r"^(vit|dinov2)\.", "", key): value for key, value in weights.items()}
    renamed = {}
    for key, value in weights.items():
        if key.startswith(_UNUSED) or re.search(r"attention\.attention\.(key|value)\.", key):
            continue
        if _QUERY.search(key):
            names = [_QUERY.sub(f"attention.attention.{part}.", key) for part in ("query", "key", "value")]
            if not weights.keys() >= set(names):
                continue  # the network will lack it
            key, value = _QUERY.sub("attn.qkv.", key), torch.cat([weights[name] for name in names])
        for pattern, name in {**_COMMON_NAMES, **_NAMES[layout]}.items():
            key = re.sub(pattern, name, key)
        renamed[key] = value
    return renamed


def load_weights(network: nn.Module, weights: Weights, source: Path | str, *, unused: tuple[str, ...] = ()) -> None:
    """Give a network its weights, in single precision.

    Parameters
    ----------
    network
        May be on the meta device: it then holds the given tensors themselves.
    weights
        One tensor for each of the network's.
    source
        Name of the weights in messages.
    unused
        Keys that start with one of these may be there.

    Raises
    ------
    UserError
        If a tensor is missing, unknown or of another shape.
    """
    own = network.state_dict()
    given = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    given = {key: value for key, value in given.items() if key in own or not key.startswith(unused)}
    problems = {
        "lacks": sorted(own.keys() - given.keys()),
        "has unknown": sorted(given.keys() - own.keys()),
        "has other shapes of": sorted(key for key in own.keys() & given.keys() if own[key].shape != given[key].shape),
    }
    found = [f"{what} {keys[0]} and {len(keys) - 1} more" for what, keys in problems.items() if keys]
    if found:
        raise UserError(
            f"features.weights: {source} does not fit the encoder: it {'; '.join(found)}; check the encoder"
        )
    network.load_state_dict(given, assign=True)
