"""Which methods there are, and how to build one.

A method is one file of this folder with a class under ``@register(...)``. The decorator's arguments are literals, so
that the list of methods is read from the files' syntax trees without importing torch: the Snakefile asks for it at each
parse.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ksfusion.core.errors import UserError
from ksfusion.terms.niches import NICHES

if TYPE_CHECKING:
    from ksfusion.methods.output import Method

FOLDER = Path(__file__).parent
# Patches, genes, clinical columns, some of them together, or none.
Modalities = Literal["p", "g", "pg", "c", "cg", ""]
# How a method is trained: `ksfusion.training.fit.STRATEGIES` has one for each network; baselines are fitted
# (`ksfusion.training.baselines`).
TrainingName = Literal["paper", "released", "baseline"]
# Variants that had two names, by the one that is gone.
RENAMED = {
    "ksfusion-alpha0": "ksfusion-alpha000",
    "ksfusion-alpha05": "ksfusion-alpha050",
    "ksfusion-alpha1": "ksfusion-alpha100",
}


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method without building it.

    Attributes
    ----------
    name
        Name of the method, or of a variant of one.
    label
        Name in print.
    base
        Method that it is a variant of, or its own name.
    module
        Dotted name of the file.
    modalities
        Inputs that it reads: ``p`` (patches), ``g`` (genes), ``c`` (clinical columns), or several; empty for none.
    settings
        Keys of ``training`` that it reads beyond those that all methods read.
    options
        What sets a variant apart: keyword arguments of the method's settings.
    min_patches
        Fewest patches per slide that it works on.
    training
        Name of the way it is trained.
    kinds
        Kinds of tasks that it is for; empty for all.
    partial
        Whether it can have stand-ins for a slide or genes that are missing (``training.modality_dropout``).
    teacher
        Method whose trained model of the same task, fold and seed it learns from; empty for none.
    """

    name: str
    label: str
    base: str
    module: str
    modalities: Modalities
    settings: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    min_patches: int = 1
    training: TrainingName = "paper"
    kinds: tuple[str, ...] = ()
    partial: bool = False
    teacher: str = ""

    @property
    def is_baseline(self) -> bool:
        """Whether it is fitted in one go, and not trained for epochs."""
        return self.training == "baseline"

    def serves(self, kind: str) -> bool:
        """Return whether it is for tasks of a kind."""
        return not self.kinds or kind in self.kinds

    @property
    def alpha(self) -> float | None:
        """The alpha that sets a variant apart; None where that is something else."""
        alpha: float | None = self.options["alpha"] if set(self.options) == {"alpha"} else None
        return alpha

    @property
    def ablates(self) -> bool:
        """Whether a variant lacks a component of its base."""
        return any(value is None or value is False for value in self.options.values())


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
    """

    def enter(method: type[M]) -> type[M]:
        _CLASSES[name] = method
        return method

    return enter


def _decorators(path: Path) -> Iterator[ast.Call]:
    """Yield the calls of `register` that decorate the classes of a file."""
    text = path.read_text(encoding="utf-8")
    if "@register(" not in text:
        return
    for node in ast.parse(text).body:
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "register":
                yield decorator


def _read_methods(folder: Path) -> dict[str, MethodInfo]:
    """Read the decorators of the files of a folder: each method, then its variants."""
    methods: dict[str, MethodInfo] = {}
    for path in sorted(folder.glob("*.py")):
        for call in _decorators(path):
            base: str = ast.literal_eval(call.args[0])
            given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            labels = {base: given["label"], **given.get("labels", {})}
            settings = tuple(given.get("settings", ()))
            for name, options in {base: {}, **given.get("variants", {})}.items():
                if name in methods:
                    raise ValueError(f"{path.name}: method {name} is also in {methods[name].module}")
                methods[name] = MethodInfo(
                    name=name,
                    label=labels[name] if name in labels else f"{given['label']}, alpha {options['alpha']:g}",
                    base=base,
                    module=f"ksfusion.methods.{path.stem}",
                    modalities=given["modalities"],
                    settings=tuple(key for key in settings if key not in options),
                    options=MappingProxyType(dict(options)),
                    min_patches=given.get("min_patches", 1),
                    training=given.get("training", "paper"),
                    kinds=tuple(given.get("kinds", ())),
                    partial=given.get("partial", False),
                    teacher=given.get("teacher", ""),
                )
    return methods


METHODS: Mapping[str, MethodInfo] = MappingProxyType(_read_methods(FOLDER))
NETWORKS: Mapping[str, MethodInfo] = MappingProxyType({n: info for n, info in METHODS.items() if not info.is_baseline})
BASELINES: Mapping[str, MethodInfo] = MappingProxyType({n: info for n, info in METHODS.items() if info.is_baseline})


def unknown_method(name: str) -> str:
    """Return what is wrong with a name that no method has, and what to do."""
    if name in RENAMED:
        return f"unknown method {name!r}: it is {RENAMED[name]} now; use that name"
    return f"unknown method {name!r}; known: {', '.join(METHODS)}"


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
    importlib.import_module(info.module)
    return _CLASSES[info.base]


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
    model: Method = method_class(name)(inputs, **{**options, **info.options})
    return model
