"""Encoders that other packages build: those of TRIDENT and slide2vec by their names, and those of entry points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import nn

from ksfusion.core.errors import UserError
from ksfusion.slides.encoders.names import SLIDE2VEC, TRIDENT, find_preset, own_encoders
from ksfusion.slides.encoders.weights import first_line, not_fetched

Colours = tuple[float, ...]


class Found(NamedTuple):
    """An encoder of another package, with what it expects of patches.

    Attributes
    ----------
    network
        Patches (B, 3, H, W), normalised, to features (B, d).
    n_features
        Length of a feature vector, d.
    mean, std
        Of each colour, for values in 0 to 1.
    input_px
        The side of the patches that it takes; None for any.
    """

    network: nn.Module
    n_features: int
    mean: Colours
    std: Colours
    input_px: int | None


class _Called(nn.Module):
    """A function of patches, with the network in it, so that its weights move and are seen."""

    def __init__(self, inner: nn.Module, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.call = inner, call

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) as (B, d)."""
        return self.call(patches)


def build_elsewhere(name: str) -> Found:
    """Build an encoder of another package, which is imported for it.

    Parameters
    ----------
    name
        ``trident:NAME``, ``slide2vec:NAME``, a preset that these build, or the name of an entry point of
        ``ksfusion.encoders``: a function without arguments that returns a network with ``n_features``, ``mean``,
        ``std`` and, where it demands a side, ``input_px``.

    Raises
    ------
    UserError
        If no such package is installed, it has no such encoder, or what it expects of patches cannot be told.
    """
    for entry in own_encoders():
        if entry.name == name:
            return _of_entry_point(name, entry.load)
    preset = find_preset(name)
    names = preset.elsewhere if preset else (name,)
    problems = []
    for candidate in names:
        build = _trident if candidate.startswith(TRIDENT) else _slide2vec
        try:
            return build(candidate)
        except ImportError as error:
            problems.append(f"{candidate} ({first_line(error)})")
    raise UserError(
        f"features.encoder: {name}: is built by another package, which cannot be imported: {', '.join(problems)}; "
        "install slide2vec (pip install slide2vec) or TRIDENT (pip install git+https://github.com/mahmoodlab/TRIDENT)"
    )


def _of_entry_point(name: str, load: Callable[[], Any]) -> Found:
    try:
        network = load()()
        found = Found(
            network, network.n_features, tuple(network.mean), tuple(network.std), getattr(network, "input_px", None)
        )
    except Exception as error:
        raise UserError(
            f"features.encoder: {name}: its package does not build it ({type(error).__name__}: {first_line(error)})"
        ) from None
    if not isinstance(network, nn.Module):
        raise UserError(f"features.encoder: {name}: its package returns {type(network).__name__}, not a network")
    return found


def _trident(name: str) -> Found:
    factory = import_module("trident.patch_encoder_models").encoder_factory
    try:
        encoder = factory(name.removeprefix(TRIDENT))
    except ValueError as error:
        raise UserError(f"features.encoder: {name}: TRIDENT has no such encoder ({first_line(error)})") from None
    except Exception as error:  # the hub, the network, and each encoder's own code
        raise not_fetched(name, error) from None
    return _measured(name, encoder, encoder.eval_transforms)


def _slide2vec(name: str) -> Found:
    registry = import_module("slide2vec.encoders").encoder_registry
    own = name.removeprefix(SLIDE2VEC)
    try:
        kind = registry.require(own)
    except Exception as error:
        raise UserError(f"features.encoder: {name}: slide2vec has no such encoder ({first_line(error)})") from None
    if not hasattr(kind, "encode_tiles"):
        raise UserError(f"features.encoder: {name}: encodes slides, not patches; give its vectors as slide-vectors")
    try:
        encoder = kind()
    except Exception as error:
        raise not_fetched(name, error) from None
    # What it holds is a network on a device of its own choice.
    inner = encoder if isinstance(encoder, nn.Module) else encoder._model
    return _measured(name, _Called(inner, encoder.encode_tiles), encoder.get_transform())


def _measured(name: str, network: nn.Module, transform: Any) -> Found:
    """Return a network with what the transform of its package does to patches, and the length of what it gives."""
    steps = list(_steps(transform))
    colours = next((step for step in steps if hasattr(step, "mean") and hasattr(step, "std")), None)
    sides = [side for step in steps if (side := _side(getattr(step, "size", None)))]
    if colours is None or not sides:
        raise UserError(f"features.encoder: {name}: its package does not say which patches it expects")
    network = network.float().eval()
    with torch.inference_mode():
        where = next((weight.device for weight in network.parameters()), torch.device("cpu"))
        n_features = network(torch.zeros(1, 3, sides[-1], sides[-1], device=where)).shape[-1]
    mean, std = (tuple(float(value) for value in values) for values in (colours.mean, colours.std))
    return Found(network, n_features, mean, std, sides[-1])


def _steps(transform: Any) -> Iterator[Any]:
    """Yield the steps of a transform of torchvision, those of its parts too."""
    parts = getattr(transform, "transforms", None)
    if parts is None:
        yield transform
        return
    for part in parts:
        yield from _steps(part)


def _side(size: Any) -> int | None:
    if isinstance(size, int):
        return size
    return size[0] if isinstance(size, list | tuple) and size and isinstance(size[0], int) else None
