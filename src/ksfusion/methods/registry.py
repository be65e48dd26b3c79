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
from typing import TYPE_CHECKING, Any

from ksfusion.core.errors import UserError

if TYPE_CHECKING:
    from ksfusion.methods.output import Method

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class TrainingRules:
    """How a method is trained where that is part of what it is; the defaults are those of all others.

    Attributes
    ----------
    drop_last
        Leave out the last batch of an epoch where it is incomplete (and not the only one).
    censored_cuts
        Cut survival time at the quartiles of all training cases, those that did not die too.
    keep_by_accuracy
        Keep an epoch of a classification when the validation's AUC or accuracy is above that of the epoch kept before.
    coordinate_rows
        Coordinate the gradient of each class by itself, see `ksfusion.training.coordination.coordinate_rows`.
    """

    drop_last: bool = False
    censored_cuts: bool = False
    keep_by_accuracy: bool = False
    coordinate_rows: bool = False


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method without building it.

    Attributes
    ----------
    name
        Of the method, or of a variant of one.
    base
        The method that it is a variant of, or its own name.
    module
        Dotted name of the file.
    modalities
        ``p`` (patches), ``g`` (genes) or ``pg``.
    settings
        Keys of ``training`` that it reads beyond those that all methods read.
    options
        What sets a variant apart: keyword arguments of the method's settings.
    min_patches
        Fewest patches per slide that it works on.
    rules
        How it is trained.
    """

    name: str
    base: str
    module: str
    modalities: str
    settings: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    min_patches: int = 1
    rules: TrainingRules = TrainingRules()

    @property
    def alpha(self) -> float | None:
        """The alpha that sets a variant apart; None where that is something else."""
        return self.options["alpha"] if set(self.options) == {"alpha"} else None

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


_CLASSES: dict[str, type[Method]] = {}


def register(
    name: str,
    *,
    modalities: str,
    settings: tuple[str, ...] = (),
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    min_patches: int = 1,
    rules: Mapping[str, bool] | None = None,
) -> Callable[[type[Method]], type[Method]]:
    """Enter a class as a method; all arguments must be literals.

    Parameters
    ----------
    name
        Lower case, as in the paper's tables.
    modalities
        ``p``, ``g`` or ``pg``.
    settings
        Keys of ``training`` that are passed to the class as options, beyond ``dropout``.
    variants
        Name of a variant to the options that set it apart.
    min_patches
        Fewest patches per slide that the method works on.
    rules
        Fields of `TrainingRules` that differ from the default.
    """

    def enter(method: type[Method]) -> type[Method]:
        _CLASSES[name] = method
        return method

    return enter


def _decorators(path: Path) -> Iterator[ast.Call]:
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
            base = ast.literal_eval(call.args[0])
            given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
            settings = tuple(given.get("settings", ()))
            for name, options in {base: {}, **given.get("variants", {})}.items():
                if name in methods:
                    raise ValueError(f"{path.name}: method {name} is also in {methods[name].module}")
                read = tuple(key for key in settings if key not in options)
                module = f"ksfusion.methods.{path.stem}"
                fixed, fewest = MappingProxyType(dict(options)), given.get("min_patches", 1)
                rules = TrainingRules(**given.get("rules", {}))
                methods[name] = MethodInfo(name, base, module, given["modalities"], read, fixed, fewest, rules)
    return methods


METHODS: Mapping[str, MethodInfo] = MappingProxyType(_read_methods(FOLDER))


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
        A key of `METHODS`.
    n_features, n_patches, niches, n_outputs, groups
        See `Inputs`.
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
        If the method is unknown, or cannot work on such a map or without genes.
    """
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    for niche in ("tumour", "tme"):
        if not niches.get(niche):
            raise UserError(f"method {name}: niche {niche} has no genes; see selected.tsv of the fold")
    info = METHODS[name]
    importlib.import_module(info.module)
    inputs = Inputs(n_features, n_patches, niches, n_outputs, groups)
    return _CLASSES[info.base](inputs, **{**options, **info.options})
