"""What may crash libhdf5, read in a process of its own: in a damaged file its texts lead anywhere, or in a circle.

Run as a script, with nothing of this package: what it exits with says whether the file's names can be read.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

# Attributes and names are read in a second; a circle has no end.
SECONDS = 120


def can_be_read(path: Path | str) -> bool:
    """Return whether the attributes and the texts of an HDF5 file can be read without a crash or an endless circle.

    Errors that h5py tells are not looked at: who reads the file meets them again.

    Parameters
    ----------
    path
        The file.
    """
    # Without -P the modules beside this one would stand for those of the standard library.
    command = [sys.executable, "-P", __file__, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode >= 0


def _read_texts(path: str) -> None:
    import h5py

    def read(_: str, item: Any) -> None:
        for name in item.attrs:
            item.attrs[name]
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "O":
            item[()]

    with h5py.File(path) as file:
        read("", file)
        file.visititems(read)


if __name__ == "__main__":
    _read_texts(sys.argv[1])
