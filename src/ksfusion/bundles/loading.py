"""The models of a bundle's members: checked against what the bundle says, and built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from ksfusion.bundles.config import BundleContents
from ksfusion.bundles.manifest import AGAIN
from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.methods.registry import METHODS, build
from ksfusion.training.checkpoint import load_model

if TYPE_CHECKING:
    from ksfusion.bundles.members import FoldGenes, Member
    from ksfusion.methods.output import Method
    from ksfusion.training.baselines import BaselineModel

# What building a method from a configuration that makes no sense raises.
NO_MODEL = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    RuntimeError,
    SafetensorError,
    DamagedFileError,
)


def load_member(member: Member) -> Method | BaselineModel:
    """Return the model of a member, on the CPU; see `ksfusion.bundles.members.Member.load`."""
    try:
        if not METHODS[member.config["method"]].is_baseline:
            return load_model(member.folder)
        # It imports what fits baselines, which takes longer than a network takes to predict.
        from ksfusion.training.baselines import load_baseline

        return load_baseline(member.folder)
    except NO_MODEL as error:
        raise UserError(f"{member.folder}: holds no model of this method ({_said(error)}); {AGAIN}") from None


def check_weights(member: Member, contents: BundleContents, genes: FoldGenes | None) -> None:
    """Raise UserError unless a member is of the bundle's task and method, and its weights have their shapes.

    No weight is read: the shapes stand at the head of the file.
    """
    try:
        problem = next(_problems(member, contents, genes), "")
    except (OSError, *NO_MODEL) as error:
        problem = f"holds no model of this method ({_said(error)})"
    if problem:
        raise UserError(f"{member.folder}: {problem}; {AGAIN}")


def _problems(member: Member, contents: BundleContents, genes: FoldGenes | None) -> Iterator[str]:
    config = member.config
    identity = (config["method"], config["task"]["name"], config["fold"], config["seed"])
    wanted = (contents.method, contents.task.name, member.fold, member.seed)
    if identity != wanted:
        yield "is of method {}, task {}, fold {}, seed {}".format(*identity) + ", not of {}, {}, {}, {}".format(*wanted)
    if list(config["classes"]) != contents.task.classes:
        yield f"has classes {', '.join(config['classes'])}, not {', '.join(contents.task.classes)}"
    if METHODS[contents.method].is_baseline:
        yield from _baseline_problems(member, contents, genes)
        return
    encoder = contents.encoder
    if encoder and (config["n_features"], config["n_patches"]) != (encoder.n_features, contents.n_patches):
        yield (
            f"reads {config['n_patches']} patches of {config['n_features']} features, and the bundle has "
            f"{contents.n_patches} of {encoder.n_features}"
        )
    if genes and {niche: list(symbols) for niche, symbols in config["niches"].items()} != dict(genes.niches):
        yield "its genes are not those of its fold"
    with torch.device("meta"):
        shape = {key: config[key] for key in ("n_features", "n_patches", "niches", "n_outputs", "groups")}
        model = build(config["method"], **shape, **config["options"])
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    yield from _differing_shapes(_shapes(member), expected)


def _baseline_problems(member: Member, contents: BundleContents, genes: FoldGenes | None) -> Iterator[str]:
    names = list(member.config["coding"]["names"])
    if genes and names != genes.symbols:
        yield "its genes are not those of its fold"
    if contents.encoder and len(names) != contents.encoder.n_features:
        yield f"reads {len(names)} features, and the bundle has {contents.encoder.n_features}"
    found = _shapes(member)
    yield from _differing_shapes(
        {name: found.get(name) for name in ("mean", "scale")}, dict.fromkeys(("mean", "scale"), (len(names),))
    )


def _differing_shapes(found: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            seen, wanted = (_shape_said(shapes.get(name)) for shapes in (found, expected))
            yield f"weight {name} has {seen}, and the method wants {wanted}"


def _shape_said(shape: tuple[int, ...] | None) -> str:
    return "no values" if shape is None else " x ".join(map(str, shape)) or "one value"


def _shapes(member: Member) -> dict[str, tuple[int, ...]]:
    with safe_open(member.weights, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
