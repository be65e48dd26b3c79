"""Opening a file that a user downloaded, after making sure that it is data."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ksfusion.core.errors import UserError

GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
OLD_EXCEL_MAGIC = b"\xd0\xcf\x11\xe0"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LFS_POINTER = b"version https://git-lfs"
# Tables of numbers become 3 to 30 times as large when they are unpacked, and gzip packs no better than 1,032 to 1; what
# is small in memory passes whatever its ratio.
MOST_TIMES, ALWAYS_FITS = 200, 256 * 1024 * 1024
# What `zipfile` and `gzip` raise where bytes make no archive.
NO_ARCHIVE = (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, IndexError, ValueError, KeyError, struct.error)
# Bytes that are unpacked at once.
BUFFER_BYTES = 1024 * 1024


def check_is_data(path: Path) -> bytes:
    """Return the first bytes of a file after making sure that it is there and holds data.

    Raises
    ------
    UserError
        If the file is missing or empty, a device or a pipe, or is a git-LFS pointer, a web page or an Excel 97
        workbook.
    """
    # A device has no end, and a pipe may never begin.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path}: is a device or a pipe, not a file; check the path")
    try:
        with path.open("rb") as file:
            return _checked(file.read(512), path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _checked(start: bytes, path: Path) -> bytes:
    if not start:
        raise UserError(f"{path}: is empty; download it again")
    if start.removeprefix(BYTE_ORDER_MARK).startswith(LFS_POINTER):
        raise UserError(f"{path}: is a git-LFS pointer, not the data; fetch it with git lfs pull")
    if start.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"<"):
        raise UserError(f"{path}: is a web page, not data; the download failed, fetch it again")
    if start.startswith(OLD_EXCEL_MAGIC):
        raise _workbook(path)
    return start


def _workbook(path: Path) -> UserError:
    return UserError(f"{path}: is an Excel workbook; save the sheet that is wanted as CSV or tab-separated text")


@contextlib.contextmanager
def open_data(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressing gzip and one-member zip files; its first bytes decide, not its name.

    Raises
    ------
    UserError
        As `check_is_data`, for what is inside the archive too; or if it is an Excel workbook, a zip file of several
        files, or damaged; or, when it is read, if it becomes so much larger unpacked that it is no table.
    """
    start = check_is_data(path)
    with contextlib.ExitStack() as stack:
        try:
            file = _opened(path, start, stack)
            _checked(file.read(512), path)
            file.seek(0)
        # A zip file that is encrypted is a RuntimeError, one packed in an unknown way a NotImplementedError.
        except (OSError, *NO_ARCHIVE) as error:
            raise _damaged(path, error) from None
        try:
            yield file
        except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be decompressed ({error}); download it again")


def _opened(path: Path, start: bytes, stack: contextlib.ExitStack) -> IO[bytes]:
    if start.startswith(ZIP_MAGIC):
        archive = stack.enter_context(zipfile.ZipFile(path))
        member = _only_member(archive, path)
        check_unpacked(path, member.file_size, member.compress_size)
        return stack.enter_context(archive.open(member))
    if start.startswith(GZIP_MAGIC):
        return stack.enter_context(io.BufferedReader(_BoundedGzip(path), BUFFER_BYTES))
    return stack.enter_context(path.open("rb"))


class _BoundedGzip(io.RawIOBase):
    """A gzip file that is unpacked no further than a table would be."""

    def __init__(self, path: Path) -> None:
        self._path, self._packed = path, path.stat().st_size
        self._file = gzip.open(path)  # noqa: SIM115  (closed with this one)
        self._most = _most_unpacked(self._packed)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Unpack into a buffer; raise a UserError where the file has become too large."""
        count = self._file.readinto(buffer)
        if self._file.tell() > self._most:
            raise _bomb(self._path, self._packed)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another place of the unpacked file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the unpacked file."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _most_unpacked(packed: int) -> int:
    return max(ALWAYS_FITS, MOST_TIMES * packed)


def check_unpacked(path: Path, size: int, packed: int | None = None) -> None:
    """Raise a UserError if an archive becomes so much larger unpacked that it holds no table.

    Parameters
    ----------
    path
        The archive.
    size
        Bytes of what is in it, unpacked.
    packed
        The same as it is packed; the size of the archive when None.
    """
    packed = path.stat().st_size if packed is None else packed
    if size > _most_unpacked(packed):
        raise _bomb(path, packed)


def _bomb(path: Path, packed: int) -> UserError:
    return UserError(
        f"{path}: is packed to {packed / 2**20:.1f} MiB and more than {_most_unpacked(packed) / 2**20:,.0f} MiB "
        "unpacked, as no table is; see what is in it, or give it unpacked"
    )


def long_field(path: Path | str, line: int) -> UserError:
    """Return the error for a field that is longer than `csv` takes, as where a tab, a line end or a quote is lost.

    Parameters
    ----------
    path
        The table.
    line
        The row in which it stands, the header being row 1.
    """
    return UserError(
        f"{path}: row {line}: a field has more than {csv.field_size_limit():,} characters; is a tab, a line break or a "
        "closing quote missing?"
    )


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    if "[Content_Types].xml" in archive.namelist():
        raise _workbook(path)
    # macOS adds a hidden copy of every file.
    members = [file for file in archive.infolist() if not file.is_dir() and not file.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise UserError(f"{path}: holds {len(members)} files; pack the table alone")
    return members[0]
