"""Public names of a package that are loaded on first use, so that importing the package is quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose public names are loaded on first use (PEP 562).

    Parameters
    ----------
    package
        ``__name__`` of the package.
    modules
        Public name to the module of the package that defines it, relative to the package.

    Returns
    -------
    callable
        Raises AttributeError for any other name.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return load
