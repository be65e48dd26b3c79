"""Provenance of a file: the package version, the code version of the stage that made it, and its settings.

Editing a module does not make Snakemake rerun a job, so every rule carries the version of the code it depends on: a
hash of the syntax trees of the stage's module and of all modules of this package that it imports, directly or not.
This module imports nothing heavy: the Snakefile uses it each time it is parsed.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ksfusion

PACKAGE_ROOT = Path(ksfusion.__file__).parent
# The name of a module's logger, everywhere in this package.
LOGGER = "log"
# Fields of a node of the tree that are not hashed: they follow from where it stands, or change no result.
UNWRITTEN_FIELDS = frozenset({"ctx", "type_comment", "kind"})
# Arguments of ``@register`` that are not hashed: what a method and its variants are called in print.
UNHASHED_KEYWORDS = ("label", "labels")


# Modules of the user's files and of packages that bring methods or encoders, whose code counts too.
_known_files: dict[str, Path] = {}
_known_roots: dict[str, Path] = {}


def know_file(module: str, file: Path, *, root: Path | None = None) -> None:
    """Let a file from elsewhere count in code versions.

    Parameters
    ----------
    module
        Dotted name by which it is known.
    file
        The file.
    root
        Folder of its package, whose other modules count where it imports them.
    """
    _known_files[module] = file
    if root is not None:
        _known_roots[module.partition(".")[0]] = root
    forget_modules()


@functools.cache
def _module_file(module: str) -> Path | None:
    """Return the file of a dotted module name of this package, or None for a package or a foreign module.

    Of a foreign one too that `know_file` has been told of, or of its package.
    """
    if module in _known_files:
        return _known_files[module]
    parts = module.split(".")
    if parts[0] in _known_roots and len(parts) > 1:
        path = _known_roots[parts[0]].joinpath(*parts[1:]).with_suffix(".py")
        return path if path.is_file() else None
    if parts[0] != "ksfusion" or len(parts) < 2:
        return None
    path = PACKAGE_ROOT.joinpath(*parts[1:]).with_suffix(".py")
    return path if path.is_file() else None


def _tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of this package; raise ModuleNotFoundError where it has no file."""
    path = _module_file(module)
    if path is None:
        raise ModuleNotFoundError(f"{module} is not a module file of ksfusion")
    return ast.parse(path.read_text(encoding="utf-8"))


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield a module and all statements in it, outer before inner, without those under ``if TYPE_CHECKING``."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            pending.extend(getattr(node, part, ()))


def _only_what_computes(tree: ast.Module, *, of_settings: bool) -> ast.Module:
    """Remove from a syntax tree what changes no result: docstrings, calls of the logger, and the labels of methods.

    In a module of settings (``of_settings``) fields and validators are removed too: the values that they give are in
    the settings, which each job carries beside its code version. The tree is changed and returned.
    """
    for node in _statements(tree):
        for part in ("body", "orelse", "finalbody"):
            if statements := getattr(node, part, None):
                setattr(node, part, [entry for entry in statements if not _is_told(entry)])
        if isinstance(node, ast.ClassDef):
            if of_settings:
                node.body = [entry for entry in node.body if not _is_field_or_check(entry)]
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call):
                    decorator.keywords = [word for word in decorator.keywords if word.arg not in UNHASHED_KEYWORDS]
    return tree


def _is_told(node: ast.AST) -> bool:
    """Return whether a statement is a docstring or a call of the module's logger."""
    if not isinstance(node, ast.Expr):
        return False
    call = node.value
    if isinstance(call, ast.Constant):
        return True
    function = call.func if isinstance(call, ast.Call) else None
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == LOGGER


def _is_field_or_check(node: ast.AST) -> bool:
    """Return whether a statement of a settings class is a field or a validator of pydantic."""
    if isinstance(node, ast.AnnAssign):
        return True
    calls = [part.func for part in getattr(node, "decorator_list", ()) if isinstance(part, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id in ("field_validator", "model_validator") for call in calls)


def imported_names(module: str) -> set[str]:
    """Return the dotted names that a module of this package imports when it runs, in functions too.

    Parameters
    ----------
    module
        Dotted name, such as ``"ksfusion.slides.stain.target"``.
    """
    return _names_in(_tree(module), module)


def _names_in(tree: ast.Module, module: str) -> set[str]:
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Packages from elsewhere import their own modules by dots.
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names.add(source)
            names.update(f"{source}.{alias.name}" for alias in node.names)
    return names


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off, which would take two fifths of the time: a syntax tree has no cycle to collect."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@functools.cache
@_no_garbage_collection()
def _parse(module: str) -> tuple[str, tuple[str, ...]]:
    """Return the SHA-256 of a module's syntax tree, and the modules of this package that it imports."""
    tree = _tree(module)
    imported = tuple(sorted(name for name in _names_in(tree, module) if _module_file(name)))
    computing = _only_what_computes(tree, of_settings=module.endswith(".config"))
    parts: list[str] = []
    _write_tree(computing, parts)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest(), imported


def _write_tree(node: ast.AST, parts: list[str]) -> None:
    """Append a syntax tree to ``parts`` as text: `ast.dump` is slower, and every job of a cluster parses the Snakefile.

    Empty fields are left out, so that a field that a later Python adds changes no code version.
    """
    parts.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in UNWRITTEN_FIELDS:
            continue
        parts.append(name)
        if isinstance(value, ast.AST):
            _write_tree(value, parts)
        elif isinstance(value, list):
            parts.append(f"[{len(value)}")
            for item in value:
                if isinstance(item, ast.AST):
                    _write_tree(item, parts)
                else:
                    parts.append(repr(item))
        else:
            parts.append(repr(value))


def forget_modules() -> None:
    """Forget the hashes of modules, so that those whose files have changed in this process are read again."""
    _parse.cache_clear()
    _module_file.cache_clear()


def module_digest(module: str) -> str:
    """Return the SHA-256 of a module's syntax tree, without what changes no result; see `code_version`."""
    return _parse(module)[0]


def code_version(*modules: str) -> str:
    """Hash the syntax trees of modules and of all that they import from this package.

    Comments, docstrings, layout, calls of the logger, labels of methods, and fields and validators of settings (whose
    values each job carries beside the code version) do not count: a job is redone when the code that computes its
    output has changed.

    Parameters
    ----------
    *modules
        Dotted names, such as ``"ksfusion.slides.stain.target"``.

    Returns
    -------
    str
        Code version, twelve hexadecimal digits.

    Raises
    ------
    ModuleNotFoundError
        If a module is not a file of this package.
    """
    pending, digests = list(modules), {}
    while pending:
        module = pending.pop()
        if module in digests:
            continue
        digests[module], imported = _parse(module)
        pending.extend(imported)
    listing = "\n".join(f"{name} {digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


def provenance(modules: str | Iterable[str], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the provenance of a file, as it is stored in it: ``ksfusion`` (package version), ``code``, ``settings``.

    Parameters
    ----------
    modules
        Dotted name, or names, of the modules that make the file.
    settings
        Settings that it is made with, of types that JSON has.
    """
    modules = [modules] if isinstance(modules, str) else list(modules)
    return {"ksfusion": ksfusion.__version__, "code": code_version(*modules), "settings": dict(settings or {})}


def as_json(value: Any) -> str:
    """Write settings as one line of JSON with sorted keys, so that equal settings are equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
