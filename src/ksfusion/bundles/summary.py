"""What the training samples of a fold looked like, fitted: means, shrunk covariances, and when a distance is far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sklearn.covariance import ledoit_wolf

from ksfusion.bundles.config import DistanceLimit, FoldTraining
from ksfusion.bundles.distances import Gaussian, Kind, TrainingSummary, standardised
from ksfusion.core.ids import stable_hash

# Of the distances of left-out cases, that which is the limit.
QUANTILE = 0.975
# Fewer training samples tell no spread.
FEWEST_SAMPLES = 10
# Parts of the training cases that are left out one after another, for their distances.
PARTS = 5
# Of the mean variance, the least that a direction without any gets.
SMALLEST_FLOOR = 1e-6
# A spread of no more than this, relative to the mean, is none.
ROUNDING = 1e-9
# Spreads from the median at which genes are cut off: single ones have values of any size, and those of training, for
# which such genes are chosen, would set the limit for all.
CUTS: dict[Kind, float] = {"expression": 3.0}
# A median deviation as a standard deviation.
OF_NORMAL = 1.4826


@dataclass(frozen=True)
class Numbers:
    """Numbers of the samples of a fold.

    Attributes
    ----------
    values : numpy.ndarray (n, d)
        A row for each slide, or profile.
    cases : sequence of str (n,)
        Their cases.
    trained : numpy.ndarray of bool (n,)
        Whether they trained the models; the others are validation samples.
    """

    values: np.ndarray
    cases: Sequence[str]
    trained: np.ndarray


def once(values: np.ndarray, cases: pd.Series, splits: pd.Series) -> Numbers:
    """Return the numbers of training and validation samples, those that several samples of a case share once."""
    used = np.flatnonzero(splits.isin(["train", "val"]))
    _, first = np.unique(values[used], axis=0, return_index=True)
    rows = used[np.sort(first)]
    return Numbers(values[rows], cases.iloc[rows].tolist(), (splits.iloc[rows] == "train").to_numpy())


def fit_gaussian(
    numbers: Numbers, quantile: float = QUANTILE, cut: float | None = None
) -> tuple[Gaussian, DistanceLimit] | str:
    """Fit mean and covariance on the training samples, and the limit on cases that these do not come from.

    The limit is a quantile of the distances of validation samples, and of training samples from a mean and covariance
    that were fitted without a fifth of the cases, theirs among them.

    Returns
    -------
    tuple of (Gaussian, DistanceLimit), or str
        The second where there are too few training samples: why.
    """
    train, other = numbers.values[numbers.trained], numbers.values[~numbers.trained]
    if len(train) < FEWEST_SAMPLES:
        return f"{len(train)} training samples; {FEWEST_SAMPLES} are the fewest"
    own = [case for case, trained in zip(numbers.cases, numbers.trained, strict=True) if trained]
    parts = np.array([stable_hash(f"distance {case}") % PARTS for case in own])
    whole = _fit(train, cut)
    distances = [whole.distances(other)] if len(other) else []
    for part in range(PARTS):
        left_out = parts == part
        if left_out.any() and (~left_out).sum() >= FEWEST_SAMPLES // 2:
            distances.append(_fit(train[~left_out], cut).distances(train[left_out]))
    if not distances:
        return "no case could be left out"
    limit = float(np.quantile(np.concatenate(distances), quantile, method="higher"))
    known = DistanceLimit(limit=limit, samples=len(train), cases=len(set(numbers.cases)), cut=cut)
    return replace(whole, limit=limit), known


def _fit(values: np.ndarray, cut: float | None) -> Gaussian:
    """Fit mean and shrunk covariance, (n, d); the covariance is kept by the directions in which samples vary."""
    values = values.astype(float)
    centre, scale = _centre_and_scale(values, robust=cut is not None)
    standard = standardised(values, centre, scale, cut)
    mean = np.zeros(values.shape[1]) if cut is None else standard.mean(axis=0)
    standard -= mean
    _, shrinkage = ledoit_wolf(standard, assume_centered=True)
    _, lengths, axes = np.linalg.svd(standard, full_matrices=False)
    varied = lengths > lengths.max(initial=0) * 1e-9
    own = lengths[varied] ** 2 / len(values)
    mean_variance = own.sum() / values.shape[1]
    floor = max(shrinkage, SMALLEST_FLOOR) * (mean_variance or 1.0)
    variances = (1 - shrinkage) * own + floor
    return Gaussian(centre, scale, mean, axes[varied], variances, np.array([floor]), limit=np.inf, cut=cut)


def _centre_and_scale(values: np.ndarray, *, robust: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each number, or their median and the spread that its deviations tell."""
    centre, scale = values.mean(axis=0), values.std(axis=0)
    constant = scale <= ROUNDING * np.abs(centre)
    centre[constant], scale[constant] = values[0, constant], 1
    if robust:
        centre = np.median(values, axis=0)
        spread = OF_NORMAL * np.median(np.abs(values - centre), axis=0)
        # Of a number that is the same in more than half of the samples they tell none.
        scale = np.where(spread > ROUNDING * np.abs(centre), spread, scale)
    return centre, scale


def fit_summary(numbers: dict[Kind, Numbers], slides: pd.DataFrame, quantile: float = QUANTILE) -> TrainingSummary:
    """Fit what the training samples of a fold looked like.

    Parameters
    ----------
    numbers
        Mean features, scaled genes, stains: of those that the method reads.
    slides : pandas.DataFrame
        The training slides: mpp, mpp_source, tissue_mm2, unique_patches of ``slides.tsv``; empty without patches.
    quantile
        That of all limits.
    """
    gaussians: dict[Kind, Gaussian] = {}
    limits: dict[Kind, DistanceLimit] = {}
    reasons: dict[str, str] = {}
    for kind, own in numbers.items():
        found = fit_gaussian(own, quantile, CUTS.get(kind))
        if isinstance(found, str):
            reasons[kind] = found
        else:
            gaussians[kind], limits[kind] = found
    known = FoldTraining(
        quantile=quantile,
        limits=limits,
        no_limits=reasons,
        mpp=sorted({round(float(mpp), 4) for mpp in slides["mpp"].dropna()}),
        mpp_sources=sorted(set(slides["mpp_source"].dropna().astype(str))),
        least_tissue_mm2=_least(slides["tissue_mm2"], quantile),
        least_patches=_least(slides["unique_patches"], quantile),
    )
    return TrainingSummary(known, gaussians)


def _least(amounts: pd.Series, quantile: float) -> float | None:
    known = amounts.dropna().to_numpy(float)
    return float(np.quantile(known, 1 - quantile, method="lower")) if len(known) else None
