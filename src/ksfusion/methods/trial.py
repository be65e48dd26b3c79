"""Trials of a method on drawn samples: what it must keep to before a study trains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import build, method_info

SAMPLES, FEATURES = 4, 12
NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E"]}
GROUPS = {"growth": ["A", "D"], "immune": ["B", "E"]}
# Classes of a task of classification; intervals of one of survival; a regression has one output.
OUTPUTS = {"classification": 3, "survival": 4, "regression": 1}
PATCHES = 16
DROPOUT = 0.1


def drawn_samples(n_patches: int = PATCHES) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the patches (B, N, features) and the genes of each niche, (B, genes), of drawn samples."""
    random = torch.Generator().manual_seed(0)
    patches = torch.randn(SAMPLES, n_patches, FEATURES, generator=random)
    genes = {niche: torch.randn(SAMPLES, len(names), generator=random) for niche, names in NICHES.items()}
    return patches, genes


def built(name: str, n_outputs: int = OUTPUTS["classification"], *, n_patches: int = PATCHES, **options: Any) -> Method:
    """Return a method built for the drawn samples, of weights that are drawn from one seed.

    Parameters
    ----------
    name
        Name of the method.
    n_outputs
        Classes, or survival intervals.
    n_patches
        Patches of a slide.
    **options
        Settings that differ from its own.

    Raises
    ------
    UserError
        If it cannot be built, or is no `Method`.
    """
    torch.manual_seed(0)
    sizes = {"n_features": FEATURES, "n_patches": n_patches, "n_outputs": n_outputs}
    try:
        model = build(name, niches=NICHES, groups=GROUPS, **sizes, **options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{_where(name)}: cannot be built ({_said(error)}); correct __init__") from None
    if not isinstance(model, Method):
        raise UserError(f"{_where(name)}: is no Method; write class {type(model).__name__}(Method)")
    return model


def output_of(model: Method, name: str, n_outputs: int, *, n_patches: int = PATCHES) -> MethodOutput:
    """Return what a method makes of the drawn samples.

    Raises
    ------
    UserError
        If it fails, returns no `MethodOutput`, or one of another shape.
    """
    try:
        out = model(*drawn_samples(n_patches))
    except Exception as error:
        raise UserError(f"{_where(name)}: fails on {SAMPLES} samples ({_said(error)}); correct forward") from None
    if not isinstance(out, MethodOutput):
        raise UserError(f"{_where(name)}: forward returns {type(out).__name__}; return MethodOutput(logits)")
    logits = out.logits
    if not isinstance(logits, Tensor) or logits.shape != (SAMPLES, n_outputs):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"{_where(name)}: logits are {shape}, and must be (samples, outputs): {SAMPLES, n_outputs}")
    if not logits.isfinite().all():
        raise UserError(f"{_where(name)}: a logit is not finite on drawn samples; correct forward")
    return out


def attention_shapes(out: MethodOutput) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of the patches, by stream; empty where there are none."""
    weights = out.attention
    if weights is None:
        return {}
    streams = weights if isinstance(weights, Mapping) else {"": weights}
    return {stream: tuple(tensor.shape) for stream, tensor in streams.items()}


def without_gradient(name: str) -> list[str]:
    """Return the weights that a loss of logits and auxiliary losses does not reach, by name.

    Raises
    ------
    UserError
        If a gradient cannot be had, or is not finite.
    """
    model = built(name, dropout=0.0).train()
    out = output_of(model, name, OUTPUTS["classification"])
    loss = out.logits.logsumexp(dim=1).sum() + out.logits.square().sum()
    loss = loss + sum(extra.value for extra in model.auxiliary_losses(out).values())
    try:
        loss.backward()
    except RuntimeError as error:
        raise UserError(f"{_where(name)}: has no gradient ({_said(error)}); correct forward") from None
    parameters = {key: weight.grad for key, weight in model.named_parameters() if weight.requires_grad}
    if broken := [key for key, grad in parameters.items() if grad is not None and not grad.isfinite().all()]:
        raise UserError(f"{_where(name)}: the gradient of {broken[0]} is not finite; correct forward")
    return [key for key, grad in parameters.items() if grad is None]


def try_method(name: str) -> None:
    """Make sure that a method can be trained: it is built, gives logits of the right shape, and has gradients.

    Parameters
    ----------
    name
        Name of the method.

    Raises
    ------
    UserError
        With a line for the first thing that is wrong.
    """
    info = method_info(name)
    kinds = [kind for kind in OUTPUTS if info.serves(kind)]
    # The least map that it works on, or the next square number.
    side = max(1, round(info.min_patches**0.5))
    side += side * side < info.min_patches
    n_patches = max(PATCHES, side * side)
    state = torch.get_rng_state()
    try:
        for kind in kinds:
            model = built(name, OUTPUTS[kind], n_patches=n_patches, dropout=DROPOUT)
            output_of(model.train(), name, OUTPUTS[kind], n_patches=n_patches)
            if not any(weight.requires_grad for weight in model.parameters()):
                raise UserError(f"{_where(name)}: has no weights to train; make layers in __init__")
    finally:
        torch.set_rng_state(state)


def _where(name: str) -> str:
    file = method_info(name).file
    return f"{file}: method {name}" if file else f"method {name}"


def _said(error: Exception) -> str:
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
