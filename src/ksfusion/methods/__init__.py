"""The methods that are compared, one file each, and their registry."""

from __future__ import annotations

from ksfusion.core.lazy import lazy_names

_MODULES = {
    "METHODS": "registry",
    "build": "registry",
    "use_methods": "registry",
}
__all__ = list(_MODULES)
__getattr__ = lazy_names(__name__, _MODULES)
