"""An image that is too large to hold, in a file without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from ksfusion.core.errors import UserError

# Thumbnails are worked on in strips of about so many px, which keeps memory flat in their size.
STRIP_PIXELS = 1 << 19


class DiskImage:
    """An RGB image that is written in parts and read by rows, for as long as it is open; a context manager.

    It lies in the folder for temporary files (``TMPDIR``), without a name there, so that nothing of it stays behind a
    process that is killed.

    Attributes
    ----------
    shape : tuple of int
        Height, width and 3.
    """

    def __init__(self, height: int, width: int):
        self.shape = (height, width, 3)
        self._row_bytes = 3 * width
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    def write(self, top: int, left: int, part: np.ndarray) -> None:
        """Write a part (rows, columns, 3) uint8 to its place.

        Raises
        ------
        UserError
            If the folder for temporary files has no room.
        """
        try:
            for row, line in enumerate(part, start=top):
                self._file.seek(row * self._row_bytes + 3 * left)
                if self._file.write(line.data) < line.nbytes:
                    raise OSError("it is full")
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: cannot hold the thumbnail of a slide, {self.shape[0] * self._row_bytes:,} "
                f"bytes ({error.strerror or error}); set TMPDIR to a folder with more room"
            ) from None

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read rows, as (rows, width, 3) uint8."""
        start, stop, _ = rows.indices(self.shape[0])
        self._file.seek(start * self._row_bytes)
        pixels = np.fromfile(self._file, np.uint8, (stop - start) * self._row_bytes)
        return pixels.reshape(-1, *self.shape[1:])


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield the rows of an image of a shape, some at a time."""
    step = max(1, STRIP_PIXELS // max(1, shape[1]))
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))
