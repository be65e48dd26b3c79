"""Checksums, by which damage is noticed when a file is read.

A file with room for it carries the checksum of its own bytes, in which the checksum's digits count as zeros; of other
files it stands beside them (`ksfusion.core.storage.write_text`). A file without one is accepted: versions up to 0.1.0
wrote none.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ksfusion.core.errors import DamagedFileError

if TYPE_CHECKING:
    import numpy as np

MARK, DIGITS = "ksfusion-crc32:", 8
# What tells of a checksum of which something is lost.
BEGINNING = b"ksfusion-crc"
# What is written before the checksum is known.
UNSEALED = MARK + DIGITS * "0"
# Where a file has room for it, under these stand what made it, as JSON, and in that its checksum.
PROVENANCE_KEY, SEAL_KEY = "ksfusion", "seal"
SEAL = re.compile(rf"{MARK}([0-9a-f]{{{DIGITS}}})".encode())
PARQUET_MAGIC, PARQUET_TAIL_BYTES = b"PAR1", 8
HEADER_LENGTH_BYTES = 8
CHUNK_BYTES = 1 << 22


def checksum(*parts: bytes | memoryview) -> str:
    """Return the CRC-32 of parts that follow each other, as hexadecimal digits."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return f"{crc:0{DIGITS}x}"


def array_checksum(values: np.ndarray) -> str:
    """Return the checksum of the values of an array."""
    return checksum(values.ravel().view("u1").data)


def sealed_text(text: str) -> str:
    """Return a text with its checksum in place of the zeros of `UNSEALED` in it."""
    return text.replace(UNSEALED, MARK + checksum(text.encode()), 1)


def check_sealed_text(content: bytes, path: Path) -> None:
    """Raise DamagedFileError where the content of a text file has checksums and none of them is its own.

    One that a text quotes may stand in it too.
    """
    found = list(SEAL.finditer(content))
    zeros = DIGITS * b"0"
    own = (checksum(content[: one.start(1)], zeros, content[one.end(1) :]) == one[1].decode() for one in found)
    if BEGINNING in content and not any(own):
        raise DamagedFileError(path)


def seal(path: Path) -> None:
    """Write the checksum of a Parquet or safetensors file into it, in place of the zeros of `UNSEALED` in its metadata.

    Raises
    ------
    ValueError
        If its metadata have no such zeros.
    """
    with path.open("r+b") as file:
        found = _find_seal(file)
        if found is None:
            raise ValueError(f"{path} has no place for a checksum")
        start, _ = found
        digits = _checksum_of(file, start)
        file.seek(start)
        file.write(digits.encode())


def check_seal(path: Path) -> bool:
    """Return whether a Parquet or safetensors file has a checksum, which it then keeps.

    Raises
    ------
    DamagedFileError
        If the file is not what its checksum says.
    """
    with path.open("rb") as file:
        found = _find_seal(file)
        if found is None:
            return False
        start, digits = found
        if _checksum_of(file, start) != digits:
            raise DamagedFileError(path)
        return True


def _find_seal(file: IO[bytes]) -> tuple[int, str] | None:
    """Return where the digits of the checksum stand in the metadata of a file, and the digits."""
    start, length = _metadata_of(file)
    file.seek(start)
    found = SEAL.search(file.read(max(0, length)))
    return (start + found.start(1), found[1].decode()) if found else None


def _metadata_of(file: IO[bytes]) -> tuple[int, int]:
    """Return where the metadata of a Parquet file (at its end) or a safetensors file (at its start) are."""
    size = file.seek(0, 2)
    file.seek(max(0, size - PARQUET_TAIL_BYTES))
    tail = file.read()
    if tail.endswith(PARQUET_MAGIC):
        length = min(size, int.from_bytes(tail[:4], "little") + PARQUET_TAIL_BYTES)
        return size - length, length
    file.seek(0)
    return HEADER_LENGTH_BYTES, min(size, int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little"))


def _checksum_of(file: IO[bytes], start: int) -> str:
    """Return the checksum of a whole file whose digits from ``start`` on count as zeros."""
    crc = 0
    file.seek(0)
    for end in (start, None):
        while chunk := file.read(CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - file.tell())):
            crc = zlib.crc32(chunk, crc)
        if end is not None:
            crc = zlib.crc32(DIGITS * b"0", crc)
            file.seek(end + DIGITS)
    return f"{crc:0{DIGITS}x}"
