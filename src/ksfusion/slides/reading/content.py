"""What a file is, by what it holds rather than by its name; and slides of which only the preview is there."""

from __future__ import annotations

from pathlib import Path

from ksfusion.slides.reading.errors import SlideError

TIFF, CONVERT = "TIFF", "convert the slide to a pyramidal TIFF, with QuPath or bfconvert"
# Containers first: a DICOM file may begin like a TIFF, of which it shows one level of the slide, or the label.
SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "DICOM"),
    (0, b"ZISRAWFILE", "a Zeiss CZI"),
    (0, b"OLYMPUSRAWFORMAT", "an Olympus OIR"),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2"),
    (0, b"p\0\0\0", "a Leica LIF"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a compound file, such as Zeiss ZVI"),
    (0, b"SQLite format 3\0", "a database, such as Sakura SVSLIDE"),
    (0, b"<DataObject", "a Philips iSyntax"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"\0\0\0\x0cjP  \r\n", "a JPEG 2000"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
)
HEAD_BYTES = 132
# Plain images by their names, beside which the pixels of the slide lie in a folder.
MIRAX, MIRAX_INDEX, VSI = ".mrxs", "Slidedat.ini", ".vsi"


def content_of(path: Path) -> str:
    """Return what a file begins like: ``TIFF``, another name in `SIGNATURES`, or empty."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((name for start, mark, name in SIGNATURES if head[start : start + len(mark)] == mark), "")


def refuse_unknown(path: Path, content: str) -> None:
    """Raise SlideError for a slide that OpenSlide does not know and that is no TIFF or plain image either.

    Parameters
    ----------
    path
        The file.
    content
        Kind of file by its first bytes (`content_of`).
    """
    suffix = path.suffix.lower()
    problem = f"is {content}, which no reader knows; {CONVERT}" if content not in ("", TIFF) else ""
    if suffix == MIRAX:
        folder = path.with_suffix("")
        missing = next((part for part in (folder, folder / MIRAX_INDEX) if not part.exists()), None)
        problem = f"is the preview of a slide; {missing} with its pixels is missing, copy it to where this file is"
        if missing is None:
            problem = f"is the preview of a slide whose pixels OpenSlide does not find in {folder}; copy that again"
    elif suffix == VSI:
        folder = path.with_name(f"_{path.stem}_")
        state = "no reader knows" if folder.is_dir() else "is missing; no reader would know it"
        problem = f"is the preview of an Olympus slide; {folder} with its pixels {state}; {CONVERT}"
    if problem:
        raise SlideError("unreadable", f"{path}: {problem}")
