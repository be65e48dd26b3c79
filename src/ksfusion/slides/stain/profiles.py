"""What is known of the stain of a slide, by either method: as a row of a table, and as what patches are brought to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ksfusion.core.parquet import read_parquet
from ksfusion.slides.stain.reinhard import ColourProfile, normalise_colour
from ksfusion.slides.stain.vahadane import StainProfile, normalise_stain

if TYPE_CHECKING:
    import pandas as pd
    import torch

Profile = StainProfile | ColourProfile

MATRIX_COLUMNS = ("h_r", "h_g", "h_b", "e_r", "e_g", "e_b")
MAXIMUM_COLUMNS = ("h_c99", "e_c99")
MEAN_COLUMNS, STD_COLUMNS = ("mean_l", "mean_a", "mean_b"), ("std_l", "std_a", "std_b")
NUMBER_TYPES = {
    **dict.fromkeys((*MATRIX_COLUMNS, *MAXIMUM_COLUMNS, *MEAN_COLUMNS, *STD_COLUMNS), "float64"),
    "n_pixels": "int64",
}


def read_profiles(path: Path) -> pd.DataFrame:
    """Read a table of `ksfusion.stages.fit_stain`, indexed by slide_id."""
    return read_parquet(path).set_index("slide_id")


def profile_of(row: pd.Series) -> Profile:
    """Return the profile in a row of `read_profiles`."""

    def values(columns: tuple[str, ...]) -> np.ndarray:
        return row[list(columns)].to_numpy(dtype=np.float64)

    if np.isnan(row[MATRIX_COLUMNS[0]]):
        return ColourProfile(values(MEAN_COLUMNS), values(STD_COLUMNS), int(row["n_pixels"]))
    return StainProfile(values(MATRIX_COLUMNS).reshape(2, 3), values(MAXIMUM_COLUMNS), int(row["n_pixels"]))


def columns_of(profile: Profile) -> dict[str, float]:
    """Return a profile as the columns of a table: those of its method, and its number of pixels."""
    names: tuple[str, ...] = (*MATRIX_COLUMNS, *MAXIMUM_COLUMNS)
    if isinstance(profile, ColourProfile):
        names, values = (*MEAN_COLUMNS, *STD_COLUMNS), (*profile.mean, *profile.std)
    else:
        values = (*profile.matrix.ravel(), *profile.max_concentration)
    return dict(zip(names, values, strict=True)) | {"n_pixels": profile.n_pixels}


def arrays_of(profile: Profile) -> list[np.ndarray]:
    """Return the numbers that a profile consists of: all that patches brought to it depend on."""
    return [value for value in vars(profile).values() if isinstance(value, np.ndarray)]


def normalise(rgb: torch.Tensor, source: Profile, target: Profile) -> torch.Tensor:
    """Bring patches from the profile of their slide to the target's, by the method of these.

    Parameters
    ----------
    rgb : torch.Tensor of shape (B, H, W, 3), uint8
        Patches, on any device.
    source, target : StainProfile or ColourProfile
        Profile of the patches' slide, and the one to bring them to, both of one method.

    Returns
    -------
    torch.Tensor of the same shape, type and device
    """
    if isinstance(source, ColourProfile) and isinstance(target, ColourProfile):
        return normalise_colour(rgb, source, target)
    if isinstance(source, StainProfile) and isinstance(target, StainProfile):
        return normalise_stain(rgb, source, target)
    raise TypeError("the profiles of a slide and of the target are of two methods")
