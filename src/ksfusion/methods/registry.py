"""Which methods there are, and how to build one.

A method is one file of this folder, of the user's (``methods_from``) or of another package, with a class under
``@register(...)``. The decorator's arguments are literals, so that the list of methods is read from the files' syntax
trees without importing torch: the Snakefile asks for it at each parse.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ksfusion.core.errors import UserError
from ksfusion.core.near_names import did_you_mean
from ksfusion.methods.declared import MethodInfo, Modalities, TrainingName, methods_of_folder
from ksfusion.methods.own_files import files_of_environment, import_own, methods_of_files, methods_of_packages
from ksfusion.terms.niches import NICHES

if TYPE_CHECKING:
    from ksfusion.methods.output import Method

__all__ = [
    "BASELINES",
    "METHODS",
    "NETWORKS",
    "SHIPPED",
    "TORCHMIL",
    "Inputs",
    "MethodInfo",
    "TrainingName",
    "build",
    "register",
    "use_methods",
]

FOLDER = Path(__file__).parent
# What begins the names of networks of torchmil, an optional package.
TORCHMIL = "torchmil:"
# Variants that had two names, by the one that is gone.
RENAMED = {
    "ksfusion-alpha0": "ksfusion-alpha000",
    "ksfusion-alpha05": "ksfusion-alpha050",
    "ksfusion-alpha1": "ksfusion-alpha100",
}


@dataclass(frozen=True)
class Inputs:
    """What a method is built for.

    Attributes
    ----------
    n_features, n_patches
        Size of a patch's features, and patches per slide (a square number for methods that use the map).
    niches
        Niche to the symbols of its genes, in the order of their columns.
    n_outputs
        Classes, or survival intervals.
    groups
        Group of genes to its symbols, for methods that embed genes by group.
    """

    n_features: int
    n_patches: int
    niches: Mapping[str, Sequence[str]]
    n_outputs: int
    groups: Mapping[str, Sequence[str]] | None = None


_CLASSES: dict[str, type[Any]] = {}
M = TypeVar("M")


def register(
    name: str,
    *,
    label: str,
    modalities: Modalities,
    settings: tuple[str, ...] = (),
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    labels: Mapping[str, str] | None = None,
    min_patches: int = 1,
    training: TrainingName = "paper",
    kinds: tuple[str, ...] = (),
    partial: bool = False,
    teacher: str = "",
    vector: bool = False,
) -> Callable[[type[M]], type[M]]:
    """Enter a class as a method; all arguments must be literals.

    Parameters
    ----------
    name
        Name in configurations and paths, in lower case.
    label
        Name in print.
    modalities
        Inputs that it reads: ``p`` (patches), ``g`` (genes), ``c`` (clinical columns), or several; empty for none.
    settings
        Keys of ``training`` that are passed to the class as options, beyond ``dropout``.
    variants
        Name of a variant to the options that set it apart.
    labels
        Name of a variant to its name in print; one that another alpha sets apart has its alpha there, and needs none.
    min_patches
        Fewest patches per slide that the method works on.
    training
        Name of the way it is trained, where that is part of what the method is.
    kinds
        Kinds of tasks that it is for, where it is not for all.
    partial
        Whether its class takes ``stand_ins=True``: learned numbers for a slide or genes that are missing.
    teacher
        Name of the method whose trained model of the same task, fold and seed it learns from.
    vector
        Whether it works on one vector a slide (``features.source: slide-vectors``), in the place of patches.
    """

    def enter(method: type[M]) -> type[M]:
        _CLASSES[name] = method
        return method

    return enter


# Of this package.
SHIPPED: Mapping[str, MethodInfo] = MappingProxyType(methods_of_folder(FOLDER))
_known: dict[str, MethodInfo] = {}
_networks: dict[str, MethodInfo] = {}
_baselines: dict[str, MethodInfo] = {}
# Views of what is known now: `use_methods` adds the methods of users' files.
METHODS: Mapping[str, MethodInfo] = MappingProxyType(_known)
NETWORKS: Mapping[str, MethodInfo] = MappingProxyType(_networks)
BASELINES: Mapping[str, MethodInfo] = MappingProxyType(_baselines)


def use_methods(files: Iterable[str | Path] = ()) -> None:
    """Let the methods of the user's files be known, beside this package's and those that other packages bring.

    Parameters
    ----------
    files
        The files, in the place of those of an earlier call; those that ``KSFUSION_METHODS`` names are known always.

    Raises
    ------
    UserError
        With a line for what is wrong in a file, see `ksfusion.methods.own_files`.
    """
    found = {**SHIPPED, **methods_of_packages(SHIPPED)}
    found |= methods_of_files([*files_of_environment(), *map(Path, files)], found)
    # The files may have changed.
    for info in _known.values():
        if info.file:
            _CLASSES.pop(info.base, None)
    for known, wanted in ((_known, (True, False)), (_networks, (False,)), (_baselines, (True,))):
        known.clear()
        known.update({name: info for name, info in found.items() if info.is_baseline in wanted})


use_methods()


def unknown_method(name: str) -> str:
    """Return what is wrong with a name that no method has, and what to do."""
    if name in RENAMED:
        return f"unknown method {name!r}: it is {RENAMED[name]} now; use that name"
    return f"unknown method {name!r}; known: {', '.join(METHODS)}{did_you_mean(name, METHODS)}"


def networks_reading(names: list[str], letter: Literal["p", "g"]) -> list[str]:
    """Return names of networks as they are.

    Parameters
    ----------
    names
        The names of a list in the configuration.
    letter
        What each must read: ``p`` (patches) or ``g`` (genes).

    Raises
    ------
    ValueError
        If one is not the name of a network that reads it.
    """
    known = [name for name, info in NETWORKS.items() if letter in info.modalities]
    if unknown := [name for name in names if name not in known]:
        read = "patches" if letter == "p" else "genes"
        raise ValueError(f"{unknown[0]!r} is no network that reads {read}; known: {', '.join(known)}")
    return names


def method_info(name: str) -> MethodInfo:
    """Return what is known of a method.

    Raises
    ------
    UserError
        If there is no method of that name.
    """
    if name not in METHODS:
        raise UserError(unknown_method(name))
    return METHODS[name]


def method_class(name: str) -> type[Any]:
    """Return the class of a method, importing its file.

    Raises
    ------
    UserError
        If there is no method of that name.
    """
    info = method_info(name)
    if info.file is None:
        importlib.import_module(info.module)
    elif info.base not in _CLASSES:
        import_own(info)
    return _CLASSES[info.base]


def accepted_options(method: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that a class takes: all of them where it has ``**options``."""
    parameters = inspect.signature(method).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return dict(options)
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in options.items() if name in names}


def build(
    name: str,
    *,
    n_features: int,
    n_patches: int,
    niches: Mapping[str, Sequence[str]],
    n_outputs: int,
    groups: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> Method:
    """Build a method with freshly drawn weights (from torch's global generator).

    Parameters
    ----------
    name
        Name of the method, a key of `METHODS`.
    n_features, n_patches, niches, n_outputs, groups
        Sizes and symbols, see `Inputs`.
    **options
        Settings of the method that differ from the published ones; what its variant fixes stays.

    Returns
    -------
    torch.nn.Module
        ``model(patches, genes)`` takes (B, n_patches, n_features) and, for each niche, (B, genes), and returns a
        `ksfusion.methods.output.MethodOutput`.

    Raises
    ------
    UserError
        If the method is unknown or a baseline, or cannot work on such a map or without genes.
    """
    info = method_info(name)
    if info.is_baseline:
        raise UserError(f"method {name}: is no network; ksfusion.training.baselines.load_baseline reads its model")
    for niche in NICHES:
        if not niches.get(niche):
            raise UserError(f"method {name}: niche {niche} has no genes; see selected.tsv of the fold")
    # Methods that read the genes of all niches side by side read them in this order, whatever that of the mapping: a
    # file that a model is rebuilt from has its keys sorted.
    inputs = Inputs(n_features, n_patches, {niche: niches[niche] for niche in NICHES}, n_outputs, groups)
    method = method_class(name)
    model: Method = method(inputs, **accepted_options(method, {**options, **info.options}))
    return model
