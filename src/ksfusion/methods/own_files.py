"""Methods from elsewhere: files of the user's, and modules that other packages name by an entry point.

Their declarations are read from the syntax trees, as those of this package are; the code runs when a method is built.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from ksfusion.core.errors import UserError
from ksfusion.core.job_shell import METHODS_VARIABLE
from ksfusion.core.packages import module_file
from ksfusion.core.provenance import know_file, module_digest
from ksfusion.methods.declared import MethodInfo, arguments_of, declared_methods, registered_classes
from ksfusion.methods.own_checks import check_class, check_declaration, check_imports

log = logging.getLogger(__name__)

GROUP = "ksfusion.methods"
# What the user's files are called as modules.
OWN = "methods_from"


def files_of_environment() -> list[Path]:
    """Return the files that the environment names: those of the study, for the jobs of its run."""
    return [Path(file) for file in os.environ.get(METHODS_VARIABLE, "").split(os.pathsep) if file]


def content_digest(file: Path) -> str:
    """Return the SHA-256 of a file of methods."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def method_file(info: MethodInfo) -> dict[str, dict[str, str]]:
    """Return what a run records of the file that its method is in, as ``method_file``; nothing for this package's.

    That is its name, its package where it has one, its SHA-256, and the digest of its code, which comments do not
    change.
    """
    if info.file is None:
        return {}
    found = {"name": info.file.name, "sha256": content_digest(info.file), "code": module_digest(info.module)}
    return {"method_file": found | ({"package": info.package} if info.package else {})}


def methods_of_files(files: Iterable[Path], known: Mapping[str, MethodInfo]) -> dict[str, MethodInfo]:
    """Return the methods of the user's files.

    Parameters
    ----------
    files
        The files.
    known
        The methods whose names are taken.

    Raises
    ------
    UserError
        If one is not there, is not Python, declares no method, or one that is of no use: a line for the first mistake
        of each file.
    """
    found: dict[str, MethodInfo] = {}
    by_module: dict[str, Path] = {}
    problems = []
    for file in dict.fromkeys(file.resolve() for file in files):
        module = f"{OWN}.{file.stem}"
        try:
            if os.pathsep in str(file):
                raise UserError(f"{file}: has {os.pathsep!r} in its path; rename it")
            if module in by_module:
                raise UserError(f"{file}: has the name of {by_module[module]}; rename one of them")
            found |= _read(file, module, {**known, **found})
            by_module[module] = file
            know_file(module, file)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return found


def _read(file: Path, module: str, known: Mapping[str, MethodInfo], package: str = "") -> dict[str, MethodInfo]:
    """Return the methods of a file; raise UserError with a line for the first mistake in it."""
    tree = _parsed(file)
    check_imports(tree, file, alone=not package)
    found: dict[str, MethodInfo] = {}
    for node, call in registered_classes(tree):
        where = f"{file}, line {node.lineno}: class {node.name}"
        try:
            given = arguments_of(call)
        except ValueError:
            raise UserError(f"{where}: the arguments of register must be literals, such as 'p' or 3") from None
        check_declaration(given, where)
        for info in declared_methods(given, module, file=file, package=package):
            taken = {name.lower(): other for name, other in {**known, **found}.items()}.get(info.name.lower())
            if taken:
                of = taken.file or "ksfusion"
                raise UserError(f"{where}: there is a method {taken.name} already (of {of}); choose another name")
            found[info.name] = info
        if given.get("teacher") and given["teacher"] not in {**known, **found}:
            raise UserError(f"{where}: its teacher {given['teacher']!r} is no method")
        check_class(node, given, where)
    if not found:
        raise UserError(
            f"{file}: has no class under @register(...); `ksfusion new method NAME` writes one to begin with"
        )
    return found


def _parsed(file: Path) -> ast.Module:
    if not file.is_file():
        raise UserError(f"{file}: is not there, or is no file; correct the path")
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise UserError(f"{file}, line {error.lineno}: {error.msg}; correct it") from None
    except (ValueError, RecursionError, OSError) as error:
        said = "is not text in UTF-8" if isinstance(error, ValueError) else str(error)
        raise UserError(f"{file}: {said}; name a file of Python") from None


def import_own(info: MethodInfo) -> None:
    """Run the file of a method, which enters its classes.

    Parameters
    ----------
    info
        A method with a file.

    Raises
    ------
    UserError
        If that fails, or the class is not entered.
    """
    assert info.file is not None
    if info.package:
        sys.modules.pop(info.module, None)
        importlib.import_module(info.module)
        return
    module = ModuleType(info.module)
    module.__file__ = str(info.file)
    # Dataclasses look for their module there.
    sys.modules[info.module] = module
    try:
        # Compiled here: no bytecode is left beside the user's file, and none of an older one is taken.
        exec(compile(info.file.read_bytes(), str(info.file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(info.file)
        ]
        line = f", line {lines[-1]}" if lines else ""
        said = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"{info.file}{line}: {type(error).__name__}: {said}; correct it") from None


@functools.cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)))


def methods_of_packages(known: Mapping[str, MethodInfo]) -> dict[str, MethodInfo]:
    """Return the methods of the modules that other packages name under the entry points ``ksfusion.methods``.

    A module with a mistake is told and left out: it must not stop a study that has no use for it.

    Parameters
    ----------
    known
        The methods whose names are taken.
    """
    found: dict[str, MethodInfo] = {}
    for entry in _entry_points(GROUP):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
        try:
            file = module_file(entry.module)
            if file is None:
                raise UserError(f"{entry.module}: is not a module that can be found")
            found |= _read(file, entry.module, {**known, **found}, package)
        except UserError as error:
            log.warning("package %s: its methods are left out: %s", package, error)
    return found
