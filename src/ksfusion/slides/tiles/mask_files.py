"""Which masks of tissue the user has put into a folder. Light: the Snakefile asks each time it is parsed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ksfusion.slides.reading.slide_files import is_readable_folder

KEY = "slides.masks"
# Of two masks of a slide the first kind is taken.
MASKS = (".geojson", ".png")
REGIONS = ".geojson"


def mask_problems(folder: str | None, source: str, *, key: str = KEY) -> list[str]:
    """Return a line for each thing in a folder of masks that has a mask's name and cannot be read, or for the folder.

    Parameters
    ----------
    folder
        The folder, where one is named.
    source, key
        Names of the configuration, and of the folder's key in it, in messages.
    """
    if folder is None:
        return []
    if not is_readable_folder(folder):
        return [f"{source}: {key}: {folder} is not a folder that can be read; correct the path, or leave it out"]
    with os.scandir(folder) as entries:
        odd = sorted(entry.name for entry in entries if Path(entry.name).suffix in MASKS and not entry.is_file())
    return [
        f"{source}: {key}: {Path(folder, name)} is a folder, a device, or a link that leads nowhere; put the "
        "mask there, or remove it"
        for name in odd
    ]


def mask_names(folder: str | None) -> set[str]:
    """Return the names of all that is in a folder of masks."""
    return {path.name for path in Path(folder).iterdir()} if folder else set()


def mask_warnings(folder: str | None, names: Iterable[str], slides: Collection[str], *, key: str = KEY) -> list[str]:
    """Return a line on masks of tissue that are no slide's: a slide whose mask has another name has none."""
    masks = [name for name in sorted(names) if Path(name).suffix in MASKS]
    strays = [name for name in masks if Path(name).stem not in slides]
    if not strays:
        return []
    return [
        f"{key}: {len(strays)} of {len(masks)} masks in {folder} match no slide, such as {strays[0]}; name each "
        "after its slide_id"
    ]


def masks_of(folder: str | None, names: Collection[str], slides: Iterable[str]) -> list[str]:
    """Return the masks of slides that have one, in the order of the slides."""
    candidates = ([slide_id + ending for ending in MASKS] for slide_id in slides)
    found = (next((name for name in names_of_slide if name in names), None) for names_of_slide in candidates)
    return [str(Path(folder or "", name)) for name in found if name]
