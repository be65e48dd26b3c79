"""Pictures of samples' slides: where models look, and the patches that they look at most and least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ksfusion.core.atomic import atomic
from ksfusion.results.attention.maps import sum_by_patch
from ksfusion.results.attention.patch_gallery import gallery_png, pictures_of
from ksfusion.results.attention.slide_picture import SlidePatches
from ksfusion.results.plots.attention import attention_png
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.workers import IsolatedCalls


@dataclass(frozen=True)
class DrawnSample:
    """The pictures of a sample's slide.

    Attributes
    ----------
    sample_id, slide_id
        Of what.
    heatmap
        File of the picture of attention.
    patches
        File of the sheet of patches with most and least attention; empty where there is none.
    reason
        Why the slide could not be read: its patches lie on white then, and there is no sheet.
    """

    sample_id: str
    slide_id: str
    heatmap: str
    patches: str
    reason: str


@dataclass(frozen=True)
class Drawing:
    """How slides are drawn.

    Attributes
    ----------
    patches
        The patches of each slide.
    sources
        The slides' files.
    output
        Folder of the pictures.
    read
        `ksfusion.results.attention.patch_gallery.read_slide_and_patches` in a process of its own; None where no slide
        is read.
    reading
        How slides are read; None where they are not.
    description
        A text that the pictures carry.
    sheet_name
        Name of the file of a sheet of patches, ``{}`` standing for the sample_id.
    sheet_note
        What follows in the title of a sheet of patches.
    """

    patches: Mapping[str, SlidePatches]
    sources: Mapping[str, SlideSource]
    output: Path
    read: IsolatedCalls | None
    reading: Reading | None
    description: str
    sheet_name: str = "{}.patches.png"
    sheet_note: str = ""

    def draw(
        self, sample_id: str, slide_id: str, attention: Mapping[str, np.ndarray], lines: Sequence[str]
    ) -> DrawnSample:
        """Draw where models look on the slide of a sample, and its patches of most and least attention.

        Parameters
        ----------
        sample_id, slide_id
            Of what.
        attention
            Stream to the attention of each cell of the map.
        lines
            What stands above the picture.
        """
        here = self.patches[slide_id]
        shares = {stream: sum_by_patch(cells, here.index) for stream, cells in attention.items()}
        slide, sheet, reason = pictures_of(slide_id, here, shares, self.read, self.sources, self.reading)
        about, heatmap = self.description, f"{sample_id}.png"
        self._write(heatmap, attention_png(slide, shares, here.cells, title=sample_id, lines=lines, description=about))
        patches = self.sheet_name.format(sample_id) if sheet else ""
        if sheet:
            title = f"{sample_id}: patches by attention{self.sheet_note}"
            self._write(patches, gallery_png(sheet, title=title, description=about))
        return DrawnSample(sample_id, slide_id, heatmap, patches, reason)

    def _write(self, name: str, data: bytes) -> None:
        with atomic(self.output / name) as temporary:
            temporary.write_bytes(data)
