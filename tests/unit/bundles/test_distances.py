"""Distances from training: against scikit-learn's, and how often what is alike, and what is not, is flagged."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import median_abs_deviation
from sklearn.covariance import LedoitWolf

from ksfusion.bundles import read_bundle
from ksfusion.bundles.distances import SampleStatistics, TrainingSummary, read_summary, write_summary
from ksfusion.bundles.summary import QUANTILE, Numbers, fit_gaussian, fit_summary, once

NO_SLIDES = pd.DataFrame(columns=["mpp", "mpp_source", "tissue_mm2", "unique_patches"])


def drawn(n, d, seed=0, shift=0.0):
    """Draw correlated numbers on different scales."""
    mixing = np.random.default_rng(99).normal(size=(d, d)) * np.linspace(0.1, 3, d)
    return np.random.default_rng(seed).normal(size=(n, d)) @ mixing + shift


def numbers(n, d, n_val=0, seed=0):
    trained = np.arange(n + n_val) < n
    return Numbers(drawn(n + n_val, d, seed), [f"C{number}" for number in range(n + n_val)], trained)


@pytest.mark.parametrize(("n", "d"), [(200, 8), (30, 50)])
def test_distances_are_those_of_scikit_learn(n, d):
    """The reference: LedoitWolf on standardised numbers, and its full covariance inverted."""
    own = numbers(n, d)
    gaussian, known = fit_gaussian(own)
    mean, scale = own.values.mean(axis=0), own.values.std(axis=0)
    reference = LedoitWolf().fit((own.values - mean) / scale)
    new = drawn(40, d, seed=5, shift=1.0)
    expected = np.sqrt(reference.mahalanobis((new - mean) / scale))
    assert gaussian.distances(new) == pytest.approx(expected, rel=1e-6)
    assert (known.samples, known.cases) == (n, n)


def test_as_many_of_alike_samples_are_flagged_as_is_stated():
    """New samples of the same kind: 2.5 % by design. Over 40 fits, each with 60 training and 40 validation cases."""
    shares = []
    for seed in range(40):
        gaussian, _ = fit_gaussian(numbers(60, 30, 40, seed=seed))
        shares.append((gaussian.distances(drawn(200, 30, seed=1000 + seed)) > gaussian.limit).mean())
    print(np.mean(shares), np.std(shares) / 40**0.5)
    assert np.mean(shares) == pytest.approx(1 - QUANTILE, abs=0.0075)


def test_samples_from_elsewhere_are_flagged():
    gaussian, _ = fit_gaussian(numbers(60, 30, 40))
    scale = drawn(500, 30, seed=3).std(axis=0)
    elsewhere = drawn(100, 30, seed=4) + 3 * scale
    assert (gaussian.distances(elsewhere) > gaussian.limit).mean() > 0.95
    shuffled = np.random.default_rng(0).permuted(drawn(100, 30, seed=6), axis=1)
    assert (gaussian.distances(shuffled) > gaussian.limit).mean() > 0.95


def reference_distances(train, new, cut):
    """Distances by medians, median deviations and a covariance of scikit-learn, of numbers that are cut off."""
    centre = np.median(train, axis=0)
    scale = median_abs_deviation(train, scale="normal")
    inside, outside = (np.clip((own - centre) / scale, -cut, cut) for own in (train, new))
    return np.sqrt(LedoitWolf().fit(inside).mahalanobis(outside))


def test_genes_are_cut_off_at_three_robust_spreads():
    own = numbers(80, 20)
    gaussian, known = fit_gaussian(own, cut=3.0)
    new = drawn(40, 20, seed=5, shift=1.0)
    assert gaussian.distances(new) == pytest.approx(reference_distances(own.values, new, 3.0), rel=1e-3)
    assert known.cut == 3.0 and fit_summary({"expression": own}, NO_SLIDES).gaussians["expression"].cut == 3.0


def test_a_gene_that_is_huge_in_a_few_of_training_hides_no_shuffled_profile():
    """As of real z-scores, some of which are thousands: uncut, they would set the limit for all."""
    random = np.random.default_rng(2)
    values = drawn(140, 30)
    values[random.choice(140, 8, replace=False), random.integers(0, 30, 8)] = 3000
    own = Numbers(values, [f"C{number}" for number in range(140)], np.arange(140) < 100)
    shuffled = random.permuted(drawn(100, 30, seed=6), axis=1)
    cut, uncut = fit_gaussian(own, cut=3.0)[0], fit_gaussian(own)[0]
    assert (cut.distances(shuffled) > cut.limit).mean() > 0.95
    assert (uncut.distances(shuffled) > uncut.limit).mean() < 0.05
    assert (cut.distances(drawn(500, 30, seed=7)) > cut.limit).mean() < 0.06


def test_too_few_samples_tell_no_distance():
    assert fit_gaussian(numbers(9, 4, 30)) == "9 training samples; 10 are the fewest"
    summary = fit_summary({"features": numbers(9, 4)}, NO_SLIDES)
    assert summary.known.no_limits == {"features": "9 training samples; 10 are the fewest"}
    assert summary.flags(SampleStatistics(features=np.full(4, 1e9))) == []


def test_a_number_that_never_varies_is_no_division_by_zero():
    values = drawn(30, 5)
    values[:, 2] = 7.0
    gaussian, _ = fit_gaussian(Numbers(values, [f"C{number}" for number in range(30)], np.ones(30, bool)))
    assert np.isfinite(gaussian.distances(values)).all()
    same = np.tile(values[0], (30, 1))
    gaussian, _ = fit_gaussian(Numbers(same, [f"C{number}" for number in range(30)], np.ones(30, bool)))
    assert gaussian.distances(same).max() == pytest.approx(0)


def test_what_samples_of_a_slide_share_counts_once():
    values = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    found = once(values, pd.Series(["A", "A", "B", "C"]), pd.Series(["train", "train", "val", "test"]))
    assert found.values.tolist() == [[1, 2], [3, 4]]
    assert list(found.cases) == ["A", "B"] and found.trained.tolist() == [True, False]


def test_every_flag_has_its_reason():
    slides = pd.DataFrame(
        {
            "mpp": [0.25, 0.5],
            "mpp_source": ["header", "manifest"],
            "tissue_mm2": [30.0, 90.0],
            "unique_patches": [300, 800],
        }
    )
    summary = fit_summary({"expression": numbers(60, 6)}, slides)
    alike = SampleStatistics(mpp=0.2507, mpp_source="header", tissue_mm2=31.0, unique_patches=300, stain_status="ok")
    assert summary.flags(alike) == []
    strange = SampleStatistics(
        expression=np.full(6, 100.0), mpp=1.0, mpp_source="objective", tissue_mm2=0.5, unique_patches=12,
        stain_status="fallback",
    )  # fmt: skip
    found = dict(summary.flags(strange))
    assert set(found) == {
        "expression_far", "stain_fallback", "other_scale", "other_scale_source", "little_tissue", "few_patches",
    }  # fmt: skip
    assert found["other_scale"] == "1 um per pixel; the nearest of training has 0.5"
    assert found["few_patches"] == "12 different patches; limit 300"
    assert "of which" in found["expression_far"]
    not_finite = SampleStatistics(expression=np.full(6, np.nan))
    assert [flag.code for flag in summary.flags(not_finite)] == ["expression_far"]


def test_a_summary_is_read_back(tmp_path):
    summary = fit_summary(
        {"features": numbers(60, 12), "stain": numbers(30, 8), "expression": numbers(60, 12)}, NO_SLIDES
    )
    write_summary(tmp_path, 0, summary)
    again = read_summary(tmp_path, 0)
    new = drawn(5, 12, seed=8)
    assert isinstance(again, TrainingSummary) and again.known == summary.known
    for kind in ("features", "expression"):
        known, read = (one.gaussians[kind].distances(new) for one in (summary, again))
        assert read == pytest.approx(known, rel=1e-4)


def test_the_bundle_of_a_study_knows_its_training_samples(bundled):
    fold = read_bundle(bundled).folds[0]
    assert set(fold.training.gaussians) == {"features", "expression", "stain"}
    assert fold.training.known.mpp == [0.25, 0.5] and fold.training.known.mpp_sources == ["header"]
    # Of 60 cases 36 train (three of five blocks), every third with two slides.
    assert fold.training.known.limits["features"].samples == 48
    assert 20 <= fold.training.known.least_tissue_mm2 < 25
    far = fold.training.flags(SampleStatistics(features=np.full(12, 50.0), expression=np.zeros(12)))
    assert [flag.code for flag in far] == ["features_far"]
