"""Opening a file that a user downloaded, after making sure that it is data."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ksfusion.core.errors import UserError

GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", b"PK\x03\x04"
OLD_EXCEL_MAGIC = b"\xd0\xcf\x11\xe0"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LFS_POINTER = b"version https://git-lfs"


def check_is_data(path: Path) -> bytes:
    """Return the first bytes of a file after making sure that it is there and holds data.

    Raises
    ------
    UserError
        If the file is missing or empty, or is a git-LFS pointer, a web page or an Excel 97 workbook.
    """
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
        files, or damaged.
    """
    start = check_is_data(path)
    with contextlib.ExitStack() as stack:
        try:
            file = _opened(path, start, stack)
            _checked(file.read(512), path)
            file.seek(0)
        # A zip file that is encrypted is a RuntimeError, one packed in an unknown way a NotImplementedError.
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:
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
        return stack.enter_context(archive.open(_only_member(archive, path)))
    if start.startswith(GZIP_MAGIC):
        return stack.enter_context(cast(IO[bytes], gzip.open(path)))
    return stack.enter_context(path.open("rb"))


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    if "[Content_Types].xml" in archive.namelist():
        raise _workbook(path)
    # macOS adds a hidden copy of every file.
    members = [file for file in archive.infolist() if not file.is_dir() and not file.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise UserError(f"{path}: holds {len(members)} files; pack the table alone")
    return members[0]
