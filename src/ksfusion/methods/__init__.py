"""The methods that are compared, one file each, and their registry.

Public names are loaded on first use, so that importing this package is quick.
"""

from __future__ import annotations

import importlib

_MODULE_OF = {
    "METHODS": "ksfusion.methods.registry",
    "build": "ksfusion.methods.registry",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
