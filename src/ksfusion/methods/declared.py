"""What the files of methods declare: read from their syntax trees, so that nothing heavy is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

# Patches, genes, clinical columns, some of them together, or none.
Modalities = Literal["p", "g", "pg", "c", "cg", ""]
# How a method is trained: `ksfusion.training.fit_method.STRATEGIES` has one for each network; baselines are fitted
# (`ksfusion.training.baselines`).
TrainingName = Literal["paper", "released", "baseline"]


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
    vector
        Whether it works on one vector a slide, in the place of patches.
    file
        The user's file, or that of another package, that it is in; None for this package's.
    package
        Name and version of the package that it comes with; empty for this package and the user's files.
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
    vector: bool = False
    file: Path | None = None
    package: str = ""

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


def registered_classes(tree: ast.Module) -> Iterator[tuple[ast.ClassDef, ast.Call]]:
    """Yield the classes of a file that `register` decorates, each with the call."""
    for node in tree.body:
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(decorator, ast.Call) and "register" in (
                getattr(decorator.func, "id", None),
                getattr(decorator.func, "attr", None),
            ):
                assert isinstance(node, ast.ClassDef)
                yield node, decorator


def arguments_of(call: ast.Call) -> dict[str, Any]:
    """Return the arguments of a call of `register`, which are literals, by name.

    Raises
    ------
    ValueError
        If one is no literal.
    """
    named = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in call.keywords}
    return {**({"name": ast.literal_eval(call.args[0])} if call.args else {}), **named}


def declared_methods(
    given: Mapping[str, Any], module: str, *, file: Path | None = None, package: str = ""
) -> Iterator[MethodInfo]:
    """Yield a method and its variants, as the arguments of `register` declare them.

    Parameters
    ----------
    given
        The arguments by name.
    module
        Dotted name of the file.
    file, package
        See `MethodInfo`.
    """
    base = given["name"]
    labels = {base: given["label"], **given.get("labels", {})}
    settings = tuple(given.get("settings", ()))
    for name, options in {base: {}, **given.get("variants", {})}.items():
        yield MethodInfo(
            name=name,
            label=labels[name] if name in labels else f"{given['label']}, alpha {options['alpha']:g}",
            base=base,
            module=module,
            modalities=given["modalities"],
            settings=tuple(key for key in settings if key not in options),
            options=MappingProxyType(dict(options)),
            min_patches=given.get("min_patches", 1),
            training=given.get("training", "paper"),
            kinds=tuple(given.get("kinds", ())),
            partial=given.get("partial", False),
            teacher=given.get("teacher", ""),
            vector=given.get("vector", False),
            file=file,
            package=package,
        )


def methods_of_folder(folder: Path) -> dict[str, MethodInfo]:
    """Return the methods of the files of this package: each, then its variants.

    Raises
    ------
    ValueError
        If two have one name.
    """
    methods: dict[str, MethodInfo] = {}
    for path in sorted(folder.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for _, call in registered_classes(ast.parse(text)) if "@register(" in text else ():
            for info in declared_methods(arguments_of(call), f"ksfusion.methods.{path.stem}"):
                if info.name in methods:
                    raise ValueError(f"{path.name}: method {info.name} is also in {methods[info.name].module}")
                methods[info.name] = info
    return methods
