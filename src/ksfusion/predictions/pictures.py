"""Pictures of a patient's slides: where the models look, and the patches that they look at most."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ksfusion.core.storage import atomic
from ksfusion.results.attention.maps import WHOLE, sum_by_patch
from ksfusion.results.attention.slide_picture import Patches, lay_on, on_white, read_picture
from ksfusion.results.plots.attention import LONGEST_PX, attention_png
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide import open_slide
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.workers import IsolatedCalls

log = logging.getLogger(__name__)

TOP_PATCHES, PATCH_PX, QUALITY = 6, 168, 88
STREAMS = {"tumour": "the tumour stream", "tme": "the TME stream", WHOLE: "the model"}


@dataclass(frozen=True)
class DrawnSample:
    """The pictures of a sample's slide.

    Attributes
    ----------
    sample_id, slide_id
        Of what.
    heatmap
        File of the picture of attention.
    top
        Stream to the files of the patches with most attention of their even share, the first first.
    reason
        Why the slide could not be read: its patches lie on white then, and none is shown.
    """

    sample_id: str
    slide_id: str
    heatmap: str
    top: dict[str, list[str]]
    reason: str


def draw_sample(
    sample_id: str,
    slide_id: str,
    attention: Mapping[str, np.ndarray],
    patches: Patches,
    source: SlideSource | None,
    output: Path,
    *,
    read: IsolatedCalls | None,
    reading: Reading | None,
    lines: Sequence[str],
    description: str,
) -> DrawnSample:
    """Draw where models look on the slide of a sample, and keep the patches that they look at most.

    Parameters
    ----------
    sample_id, slide_id
        Of what.
    attention
        Stream to the attention of each cell of the map.
    patches
        The patches of the slide.
    source
        The slide's file.
    output
        Folder of the pictures.
    read
        `read_slide` in a process of its own; None where no slide is read.
    reading
        How the slide is read; None where it is not.
    lines
        What stands above the picture.
    description
        A text that the files carry.
    """
    shares = {stream: sum_by_patch(cells, patches.index) for stream, cells in attention.items()}
    reason, slide, top = "", None, {}
    if read and reading and source:
        chosen = {stream: top_patches(own, patches.cells) for stream, own in shares.items()}
        corners = [tuple(map(int, patches.coords[patch])) for own in chosen.values() for patch in own]
        try:
            rgb, scale, pictures = read(source.path, source.mpp, reading, LONGEST_PX, corners)
            slide = lay_on(rgb, scale, patches, settings=reading)
            top = _written(sample_id, chosen, pictures, output)
        except SlideError as error:
            reason = error.reason
            log.warning("%s\t%s: %s", slide_id, reason, error)
    slide = slide or on_white(patches, longest=LONGEST_PX)
    png = attention_png(slide, shares, patches.cells, title=sample_id, lines=lines, description=description)
    _write(output / f"{sample_id}.png", png)
    return DrawnSample(sample_id, slide_id, f"{sample_id}.png", top, reason)


def _written(
    sample_id: str, chosen: Mapping[str, Sequence[int]], pictures: Sequence[bytes], output: Path
) -> dict[str, list[str]]:
    """Write the pictures of patches, stream by stream; return their files."""
    left, files = iter(pictures), {}
    for stream, own in chosen.items():
        files[stream] = [f"{sample_id}.{stream}.{number + 1}.jpg" for number in range(len(own))]
        for name in files[stream]:
            _write(output / name, next(left))
    return files


def top_patches(shares: np.ndarray, cells: np.ndarray) -> list[int]:
    """Return the patches with most attention relative to their even share, the first first; of equal ones the first.

    Parameters
    ----------
    shares : numpy.ndarray (patches,)
        Attention of each patch.
    cells : numpy.ndarray (patches,)
        Number of cells of the map that hold it.
    """
    order = np.argsort(-shares / cells, kind="stable")[:TOP_PATCHES]
    chosen: list[int] = order.tolist()
    return chosen


def read_slide(
    path: str, mpp: float | None, settings: Reading, longest: int, corners: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, float, list[bytes]]:
    """Return a slide as a picture, its micrometres per px, and some patches; runs in a worker process.

    Parameters
    ----------
    path, mpp, settings, longest
        See `ksfusion.results.attention.slide_picture.read_picture`.
    corners
        Upper left corners of the patches, which become small JPEGs, as they are in the slide.
    """
    rgb, scale = read_picture(path, mpp, settings, longest)
    pictures = []
    with open_slide(path, mpp, reader=settings.reader, icc=settings.icc) as slide:
        for x, y in corners:
            picture = Image.fromarray(slide.read(x, y, settings.patch_px, settings.mpp))
            picture.thumbnail((PATCH_PX, PATCH_PX), Image.Resampling.LANCZOS)
            data = io.BytesIO()
            picture.save(data, "JPEG", quality=QUALITY)
            pictures.append(data.getvalue())
    return rgb, scale, pictures


def _write(path: Path, data: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(data)
