"""The features of this project in the files that TRIDENT's and CLAM's own readers open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from ksfusion.core.atomic import atomic
from ksfusion.core.errors import UserError
from ksfusion.core.features_file import open_features
from ksfusion.slides.reading.slide_files import CLAM_FOLDER

# The objective that a scale stands for, where slides are named by objectives: below so many um/px it is so strong.
OBJECTIVES = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10))
WEAKEST_OBJECTIVE = 5


@dataclass(frozen=True)
class ExportedSlide:
    """What is written of a slide: features (n, d), coords (n, 2) in px of level 0, and how its patches were made."""

    slide_id: str
    features: np.ndarray
    coords: np.ndarray
    mpp: float
    size: tuple[int, int]
    patch_px: int
    patch_mpp: float
    encoder: str

    @property
    def patch_px_level0(self) -> int:
        """Side of a patch in px of level 0."""
        return round(self.patch_px * self.patch_mpp / self.mpp)


def nominal_magnification(mpp: float) -> int:
    """Return the objective that goes with a scale in um/px, such as 40 for 0.25."""
    return next((objective for limit, objective in OBJECTIVES if mpp < limit), WEAKEST_OBJECTIVE)


def extracted_slides(path: Path, slides: pd.DataFrame) -> Iterator[ExportedSlide]:
    """Yield the slides of a batch that came through.

    Parameters
    ----------
    path
        File of `ksfusion.stages.extract_features`.
    slides
        The ledger's table of slides, indexed by slide_id.

    Raises
    ------
    UserError
        If the features were not extracted here.
    """
    with open_features(path) as found:
        settings = found.made_by["settings"]
        if "slides" not in settings:
            raise UserError(
                f"{path}: its features come from {settings['features']['path']}, in another tool's layout already"
            )
        for slide_id, group in found.completed():
            row = slides.loc[slide_id]
            yield ExportedSlide(
                slide_id,
                group.read("features").astype(np.float32),
                group.read("coords"),
                float(group.attributes["mpp"]),
                (int(row["width"]), int(row["height"])),
                settings["slides"]["patch_px"],
                settings["slides"]["mpp"],
                settings["features"]["encoder"],
            )


def _write(
    path: Path, features: np.ndarray, coords: np.ndarray, of_features: Mapping[str, Any], of_coords: Mapping[str, Any]
) -> None:
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("features", data=features).attrs.update(of_features)
        file.create_dataset("coords", data=coords).attrs.update(of_coords)


def write_trident(slide: ExportedSlide, output: Path) -> None:
    """Write a slide as TRIDENT saves its patch features: ``{slide_id}.h5``."""
    # Its own `savetodir` is a path of the machine, which nothing reads; the folder's name says as much.
    where = {"name": slide.slide_id, "savetodir": output.absolute().name}
    attributes = {
        **where,
        "patch_size": slide.patch_px,
        "patch_size_level0": slide.patch_px_level0,
        "level0_magnification": nominal_magnification(slide.mpp),
        "target_magnification": nominal_magnification(slide.patch_mpp),
        "overlap": 0,
        "level0_width": slide.size[0],
        "level0_height": slide.size[1],
    }
    of_features = {**where, "encoder": slide.encoder}
    _write(output / f"{slide.slide_id}.h5", slide.features, slide.coords.astype(np.int64), of_features, attributes)


def write_clam(slide: ExportedSlide, output: Path) -> None:
    """Write a slide as CLAM saves its features: ``h5_files/{slide_id}.h5`` and ``pt_files/{slide_id}.pt``."""
    import torch

    attributes = {"name": slide.slide_id, "patch_level": 0, "patch_size": slide.patch_px_level0}
    _write(output / CLAM_FOLDER / f"{slide.slide_id}.h5", slide.features, slide.coords.astype(np.int32), {}, attributes)
    with atomic(output / "pt_files" / f"{slide.slide_id}.pt") as temporary:
        torch.save(torch.from_numpy(slide.features), temporary)


WRITERS: dict[str, Callable[[ExportedSlide, Path], None]] = {"trident": write_trident, "clam": write_clam}
