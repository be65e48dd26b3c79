"""What identifies a slide's file and its image, so that one slide under two names is found without comparing pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from ksfusion.slides.reading.disk_image import DiskImage, strips
from ksfusion.slides.reading.errors import SlideError
from ksfusion.terms.fingerprints import HASH_SIDE

PIECE_BYTES = 1 << 20
IMAGE_PX = 64
# A thumbnail whose grey values vary less than this is an empty glass: all of those look alike.
MIN_CONTRAST = 2.0


def file_digest(path: Path | str) -> str:
    """Hash a file's size and its first, middle and last MiB: the whole of a slide of gigabytes would take minutes.

    Returns
    -------
    str
        SHA-256, in hexadecimal digits.

    Raises
    ------
    SlideError
        With reason ``unreadable``.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            for start in sorted({0, max(0, size // 2 - PIECE_BYTES // 2), max(0, size - PIECE_BYTES)}):
                file.seek(start)
                digest.update(file.read(PIECE_BYTES))
    except OSError as error:
        raise SlideError("unreadable", f"{path}: cannot be read ({error})") from None
    return digest.hexdigest()


def thumbnail_hash(thumbnail: np.ndarray | DiskImage) -> str:
    """Hash an image so that copies of it, re-encoded, rescaled or with other colours, differ in few bits.

    The signs of the 16 x 16 lowest frequencies (discrete cosine transform) of the image in grey, at 64 x 64 px. A
    mirrored image has the signs of its odd columns (or rows) reversed, a transposed one has them transposed.

    Parameters
    ----------
    thumbnail : numpy.ndarray of shape (height, width, 3), uint8
        An image; or one in a file, of which a few rows at a time are read.

    Returns
    -------
    str
        256 bits, row by row, in hexadecimal digits; empty for an image without contrast.
    """
    narrow = np.empty((thumbnail.shape[0], IMAGE_PX), dtype=np.float32)
    for rows in strips(thumbnail.shape):
        grey = cv2.cvtColor(thumbnail[rows], cv2.COLOR_RGB2GRAY).astype(np.float32)
        narrow[rows] = cv2.resize(grey, (IMAGE_PX, len(grey)), interpolation=cv2.INTER_AREA)
    small = cv2.resize(narrow, (IMAGE_PX, IMAGE_PX), interpolation=cv2.INTER_AREA)
    if small.std() < MIN_CONTRAST:
        return ""
    frequencies = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE]
    frequencies[0, 0] = 0  # the mean
    return np.packbits(frequencies > 0).tobytes().hex()
