"""Mistakes in a file of methods that are seen without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import ksfusion
from ksfusion.core.errors import UserError
from ksfusion.methods.declared import Modalities, TrainingName

# As a name of Python, or with the other signs that names of methods here have. It becomes a folder.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
# Of the networks: what reads clinical columns is a regression of this package.
MODALITIES = tuple(letters for letters in get_args(Modalities) if letters and "c" not in letters)
TRAININGS = tuple(name for name in get_args(TrainingName) if name != "baseline")
# The arguments of ``register``: of what type, and which must be there.
TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "label": (str,),
    "modalities": (str,),
    "settings": (tuple, list),
    "variants": (dict,),
    "labels": (dict,),
    "min_patches": (int,),
    "training": (str,),
    "kinds": (tuple, list),
    "partial": (bool,),
    "teacher": (str,),
    "vector": (bool,),
}
NEEDED = ("name", "label", "modalities")
# What every method is built with, beside its own settings.
GIVEN = ("dropout",)
KINDS = ("classification", "survival", "regression")
READ_SETTINGS = ("alpha",)


def check_declaration(given: Mapping[str, Any], where: str) -> None:
    """Make sure that the arguments of ``register`` declare a method.

    Parameters
    ----------
    given
        The arguments by name.
    where
        File, line and class, for messages.

    Raises
    ------
    UserError
        If one is missing, unknown or of no use.
    """
    if problem := next(_declaration_problems(given), ""):
        raise UserError(f"{where}: {problem}")


def _declaration_problems(given: Mapping[str, Any]) -> Iterator[str]:
    for key in NEEDED:
        if key not in given:
            yield f"register needs {key}: write @register('my_name', label='My name', modalities='pg')"
    for key, value in given.items():
        if key not in TYPES:
            yield f"register takes no {key}; it takes {', '.join(TYPES)}"
        if not isinstance(value, TYPES[key]):
            yield f"register: {key} must be {TYPES[key][0].__name__}, not {value!r}"
    variants = given.get("variants", {})
    for name in (given["name"], *variants):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield f"register: {name!r} can be no name: letters, digits and . _ - alone, at most 64, a letter first"
    if given["modalities"] not in MODALITIES:
        yield f"register: modalities {given['modalities']!r}: use {', '.join(map(repr, MODALITIES))}"
    if given.get("training", "paper") not in TRAININGS:
        yield f"register: training {given['training']!r}: use {' or '.join(map(repr, TRAININGS))}"
    if unknown := [kind for kind in given.get("kinds", ()) if kind not in KINDS]:
        yield f"register: kinds: {unknown[0]!r} is no kind of task; use {', '.join(KINDS)}"
    if unknown := [key for key in given.get("settings", ()) if key not in READ_SETTINGS]:
        yield f"register: settings: training has no {unknown[0]!r} for one method; use {', '.join(READ_SETTINGS)}"
    for name, options in variants.items():
        if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
            yield f"register: variants: {name} must be a mapping of options to values"
        if name not in given.get("labels", {}) and set(options) != {"alpha"}:
            yield f"register: labels: variant {name} has no name in print; add it"
    if not given["label"].strip():
        yield "register: label is empty; write the name in print"


def check_class(node: ast.ClassDef, given: Mapping[str, Any], where: str) -> None:
    """Make sure that a class can be built and called, as far as its own text says.

    Parameters
    ----------
    node
        The class.
    given
        The arguments of ``register``.
    where
        File, line and class, for messages.

    Raises
    ------
    UserError
        If it has no base class, or ``__init__`` or ``forward`` cannot take what they are given.
    """
    if not node.bases:
        raise UserError(f"{where}: has no base class; write class {node.name}(Method)")
    functions = {entry.name: entry.args for entry in node.body if isinstance(entry, ast.FunctionDef)}
    forward, build = functions.get("forward"), functions.get("__init__")
    if forward is not None and not _takes(forward, 3):
        raise UserError(f"{where}: forward must take patches and genes: def forward(self, patches, genes)")
    if build is None:
        return
    if not _takes(build, 2):
        raise UserError(f"{where}: __init__ must take the inputs: def __init__(self, inputs, dropout=0.1)")
    names = {argument.arg for argument in (*build.posonlyargs, *build.args, *build.kwonlyargs)}
    demanded = _without_default(build)
    demanded += [
        argument.arg for argument, default in zip(build.kwonlyargs, build.kw_defaults, strict=True) if default is None
    ]
    passed = {*GIVEN, *given.get("settings", ())}
    if unknown := [name for name in demanded if name not in passed]:
        raise UserError(f"{where}: __init__ demands {unknown[0]}, which nothing gives; give it a default")
    options = {key for variant in given.get("variants", {}).values() for key in variant} | set(
        given.get("settings", ())
    )
    options |= {"stand_ins"} if given.get("partial") else set()
    if build.kwarg is None and (untaken := sorted(options - names)):
        raise UserError(f"{where}: __init__ takes no {untaken[0]}, which register declares; add it, or **options")


def _takes(arguments: ast.arguments, n: int) -> bool:
    """Return whether a function takes n arguments by position."""
    positional = [*arguments.posonlyargs, *arguments.args]
    return arguments.vararg is not None or len(positional) >= n


def check_imports(tree: ast.Module, file: Path, *, alone: bool) -> None:
    """Make sure that what a file imports is there, as far as that is seen without importing it.

    Parameters
    ----------
    tree
        The file.
    file
        Its path, for messages.
    alone
        Whether it is a file of its own, which has no neighbours to import.

    Raises
    ------
    UserError
        If a package is not installed, or a name is not in the module of ksfusion that it is imported from.
    """
    for node in tree.body:
        where = f"{file}, line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.level and alone:
            raise UserError(f"{where}: imports from its folder; a file of methods stands alone: put it into the file")
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            _check_package(node.module, where)
            if node.module.partition(".")[0] == "ksfusion":
                _check_names(node, where)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                _check_package(alias.name, where)


def _check_package(module: str, where: str) -> None:
    top = module.partition(".")[0]
    try:
        found = find_spec(top) is not None
    except ValueError:  # of a module that runs as the program
        found = True
    if not found:
        raise UserError(f"{where}: imports {top}, which is not installed; install it, or put its code into the file")


def _check_names(node: ast.ImportFrom, where: str) -> None:
    assert node.module is not None
    place = Path(ksfusion.__file__).parent.joinpath(*node.module.split(".")[1:])
    if place.is_dir():
        return
    path = place.with_suffix(".py")
    if not path.is_file():
        raise UserError(f"{where}: there is no module {node.module}; correct the name")
    names = {"*", *_bound_names(ast.parse(path.read_text(encoding="utf-8")))}
    for alias in node.names:
        if alias.name not in names:
            raise UserError(f"{where}: {node.module} has no {alias.name}; correct the name")


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module binds as it is imported."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        else:
            yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _without_default(arguments: ast.arguments) -> list[str]:
    """Return the names of the arguments by position, after self and the inputs, that have no default."""
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    return positional[2 : len(positional) - len(arguments.defaults)]
