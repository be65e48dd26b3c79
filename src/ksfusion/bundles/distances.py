"""How far a sample is from what a model was trained on: its features, its genes, its stain, its scale, its tissue.

Distances are Mahalanobis', with the covariance of the training samples shrunk towards a multiple of the identity [1]_.
A distance is far where it exceeds a stated quantile of the distances of cases that the covariance was not fitted on:
so many of new samples like those of training are flagged too.

References
----------
.. [1] Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, J. Multivar. Anal. 88,
   365-411 (2004).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ksfusion.bundles.config import FoldTraining
from ksfusion.bundles.contents import read_block, training_file
from ksfusion.bundles.manifest import AGAIN
from ksfusion.core.errors import UserError

Kind: TypeAlias = Literal["features", "expression", "stain"]
FlagCode: TypeAlias = Literal[
    "features_far", "expression_far", "stain_far", "stain_fallback", "other_scale", "other_scale_source",
    "little_tissue", "few_patches",
]  # fmt: skip
FAR: Mapping[Kind, tuple[FlagCode, str]] = {
    "features": ("features_far", "the mean features of its patches"),
    "expression": ("expression_far", "its scaled genes"),
    "stain": ("stain_far", "its stain"),
}
# Relative to the nearest scale of training.
SAME_SCALE = 0.05


class Flag(NamedTuple):
    """Why a sample is outside of what a model was trained on: a closed code, and a sentence with the numbers."""

    code: FlagCode
    detail: str


@dataclass(frozen=True)
class SampleStatistics:
    """What is compared of a sample with training; None where not known, or without meaning for the bundle.

    Attributes
    ----------
    features : numpy.ndarray (n_features,)
        Mean of the features over its map (`ksfusion.training.covariates.mean_patches`).
    expression : numpy.ndarray (genes,)
        Scaled genes in the order of `ksfusion.bundles.members.FoldGenes.symbols`.
    stain : numpy.ndarray (numbers,)
        Numbers of its stain (`ksfusion.slides.stain.profiles.arrays_of`, one after another).
    stain_status
        Of ``stain/*.parquet``: ``ok`` or ``fallback``.
    mpp, mpp_source
        Micrometres per pixel of the slide, and where they come from.
    tissue_mm2
        Area of its tissue.
    unique_patches
        How many different patches stand for it.
    """

    features: np.ndarray | None = None
    expression: np.ndarray | None = None
    stain: np.ndarray | None = None
    stain_status: str | None = None
    mpp: float | None = None
    mpp_source: str | None = None
    tissue_mm2: float | None = None
    unique_patches: int | None = None


@dataclass(frozen=True)
class Gaussian:
    """Mean and shrunk covariance of training samples, in spreads of each number.

    Attributes
    ----------
    centre, scale : numpy.ndarray (d,)
        Mean and standard deviation of each number, or their robust likes.
    mean : numpy.ndarray (d,)
        Mean of the numbers that are left when these are taken away and the rest is cut off; 0 where nothing is.
    axes : numpy.ndarray (r, d)
        Directions in which the samples vary.
    variances : numpy.ndarray (r,)
        Along these, shrinkage included.
    floor : numpy.ndarray (1,)
        Variance in all other directions, which shrinkage alone gives.
    limit
        Largest distance that is not far.
    cut
        Numbers are cut off at so many spreads from their centre, so that a few of a profile's thousands, which may be
        of any size, do not outweigh all others; None where they are not.
    """

    centre: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    floor: np.ndarray
    limit: float
    cut: float | None = None

    def distances(self, values: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance of samples, (n, d), from the mean: (n,)."""
        centred = standardised(values, self.centre, self.scale, self.cut) - self.mean
        along = centred @ self.axes.T
        inside = (along**2 / self.variances).sum(axis=1)
        rest = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        distances: np.ndarray = np.sqrt(inside + rest / self.floor[0])
        return distances

    def arrays(self) -> dict[str, np.ndarray]:
        """Return its arrays, by name."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = tuple(field.name for field in fields(Gaussian) if field.name not in ("limit", "cut"))


def standardised(values: np.ndarray, centre: np.ndarray, scale: np.ndarray, cut: float | None) -> np.ndarray:
    """Return the numbers of samples, (n, d), in spreads from their centre, cut off where this is asked for."""
    found: np.ndarray = (np.atleast_2d(values).astype(float) - centre) / scale
    return found if cut is None else np.clip(found, -cut, cut)


@dataclass(frozen=True)
class TrainingSummary:
    """What the training samples of a fold looked like.

    Attributes
    ----------
    known
        Limits, scales and amounts.
    gaussians
        ``features``, ``expression`` and ``stain``, of those that the method reads.
    """

    known: FoldTraining
    gaussians: Mapping[Kind, Gaussian]

    def distances(self, sample: SampleStatistics) -> dict[Kind, tuple[float, float]]:
        """Return the distance of a sample and its limit, by kind, of what is known of both."""
        found: dict[Kind, tuple[float, float]] = {}
        for kind, gaussian in self.gaussians.items():
            values = getattr(sample, kind)
            if values is not None:
                found[kind] = float(gaussian.distances(values)[0]), gaussian.limit
        return found

    def flags(self, sample: SampleStatistics) -> list[Flag]:
        """Return why a sample is outside of what was trained on; empty where nothing is seen."""
        return [*self._far(sample), *self._scales(sample), *self._amounts(sample)]

    def _far(self, sample: SampleStatistics) -> Iterator[Flag]:
        for kind, (distance, limit) in self.distances(sample).items():
            code, what = FAR[kind]
            if not distance <= limit:
                yield Flag(code, f"{what}: distance {distance:.3g} from training, of which {limit:.3g} is the limit")
        if sample.stain_status == "fallback":
            yield Flag("stain_fallback", "its stain could not be fitted, and it was taken as the target's")

    def _scales(self, sample: SampleStatistics) -> Iterator[Flag]:
        known = self.known
        own = sample.mpp
        if own is not None and known.mpp:
            nearest = min(known.mpp, key=lambda mpp: abs(own / mpp - 1))
            if abs(own / nearest - 1) > SAME_SCALE:
                yield Flag("other_scale", f"{own:.4g} um per pixel; the nearest of training has {nearest:.4g}")
        if sample.mpp_source is not None and known.mpp_sources and sample.mpp_source not in known.mpp_sources:
            seen = ", ".join(known.mpp_sources)
            yield Flag("other_scale_source", f"its scale is told by {sample.mpp_source}, in training by {seen}")

    def _amounts(self, sample: SampleStatistics) -> Iterator[Flag]:
        known = self.known
        if sample.tissue_mm2 is not None and known.least_tissue_mm2 and sample.tissue_mm2 < known.least_tissue_mm2:
            yield Flag("little_tissue", f"{sample.tissue_mm2:.3g} mm2 of tissue; limit {known.least_tissue_mm2:.3g}")
        if sample.unique_patches is not None and known.least_patches and sample.unique_patches < known.least_patches:
            yield Flag("few_patches", f"{sample.unique_patches} different patches; limit {known.least_patches:g}")


def write_summary(folder: Path, fold: int, summary: TrainingSummary) -> None:
    """Write what the training samples of a fold looked like into a bundle."""
    path = training_file(folder, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(summary.known.model_dump_json(indent=1) + "\n", encoding="utf-8")
    arrays = {
        f"{kind}.{name}": value for kind, one in summary.gaussians.items() for name, value in one.arrays().items()
    }
    tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in arrays.items()}
    save_file(tensors, path.with_suffix(".safetensors"))


def read_summary(folder: Path, fold: int) -> TrainingSummary:
    """Read what the training samples of a fold looked like.

    Raises
    ------
    UserError
        If a number is missing or sizes do not fit.
    """
    path = training_file(folder, fold)
    known = read_block(path, FoldTraining)
    try:
        arrays = load_file(path.with_suffix(".safetensors"))
        gaussians: dict[Kind, Gaussian] = {}
        for kind, limit in known.limits.items():
            parts = {name: arrays[f"{kind}.{name}"].astype(float) for name in ARRAYS}
            r, d = parts["axes"].shape
            shapes = {"centre": (d,), "scale": (d,), "mean": (d,), "axes": (r, d), "variances": (r,), "floor": (1,)}
            if any(parts[name].shape != shape for name, shape in shapes.items()):
                raise ValueError("sizes do not fit together")
            gaussians[kind] = Gaussian(**parts, limit=limit.limit, cut=limit.cut)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"{path.with_suffix('.safetensors')}: holds no summary of training ({said}); {AGAIN}") from None
    return TrainingSummary(known, gaussians)
