"""The manifest of a bundle: its files, their SHA-256 and sizes, and the version of its layout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ksfusion.bundles.config import FORMAT
from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.storage import read_json, write_json

MANIFEST = "manifest.json"
AGAIN = "copy the bundle again, or make it anew with ksfusion bundle"


def write_manifest(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Write the manifest of a folder of files, all of which it lists."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    listed = {
        path.relative_to(folder).as_posix(): {"sha256": digest_of(path), "bytes": path.stat().st_size} for path in files
    }
    write_json({"format": FORMAT, "files": listed, "provenance": dict(made_by)}, folder / MANIFEST)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle after making sure that each of its files is what the manifest says.

    Raises
    ------
    UserError
        If the folder is no bundle or one of a later version, or a file is missing, not listed, changed, a link, or
        outside of the folder.
    """
    manifest = _read(folder)
    files = manifest["files"]
    for name, known in sorted(files.items()):
        path = _inside(folder, name)
        if not path.is_file():
            raise UserError(f"{path}: is missing; {AGAIN}")
        if path.stat().st_size != known["bytes"]:
            raise UserError(f"{path}: has {path.stat().st_size} bytes, not {known['bytes']}; {AGAIN}")
        if digest_of(path) != known["sha256"]:
            raise UserError(f"{path}: was changed since the bundle was made; {AGAIN}")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST and path.relative_to(folder).as_posix() not in files:
            raise UserError(f"{path}: is not in {MANIFEST}; remove it, or make the bundle anew with ksfusion bundle")
    return manifest


def _read(folder: Path) -> dict[str, Any]:
    """Return the manifest after making sure of its form and of the version of the layout."""
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(f"{folder}: is no bundle, it has no {MANIFEST}; name a folder that ksfusion bundle made")
    try:
        manifest = read_json(path)
        version = manifest["format"]
        if isinstance(version, int) and version > FORMAT:
            by = manifest.get("provenance", {}).get("ksfusion", "a later version")
            raise UserError(
                f"{folder}: is a bundle of format {version} (made by ksfusion {by}), and this version reads format "
                f"{FORMAT}; update ksfusion"
            )
        known = {name: (entry["sha256"], entry["bytes"]) for name, entry in manifest["files"].items()}
    except (DamagedFileError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise UserError(f"{path}: was changed since the bundle was made; {AGAIN}") from None
    if version != FORMAT or not all(isinstance(size, int) and isinstance(sha, str) for sha, size in known.values()):
        raise UserError(f"{path}: is no manifest of a bundle; {AGAIN}")
    return dict(manifest)


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a listed file after making sure that it lies in the folder, and that no link leads out."""
    parts = PurePosixPath(name).parts
    plain = bool(parts) and not name.startswith("/") and ".." not in parts and "\\" not in name and "\0" not in name
    path = folder / name if plain else folder
    if not plain or any((folder / Path(*parts[:depth])).is_symlink() for depth in range(1, len(parts) + 1)):
        raise UserError(f"{folder / MANIFEST}: names {name!r}, which is not a file of the bundle; {AGAIN}")
    return path
