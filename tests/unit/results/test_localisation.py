"""Where models look, held against truth written by hand and scikit-learn's areas."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.demo.targets import planted_targets
from ksfusion.methods.output import MethodOutput
from ksfusion.results.attention.localisation import locate, pairs_won, patch_means, random_scores
from ksfusion.results.attention.patch_attribution import patch_attribution
from ksfusion.results.attention.targets import TargetFiles, Targets


def drawn(n_samples=14, seed=0, shift=0.8):
    """Patches of samples of which two are of one case; some have no patch with the target."""
    rng, parts = np.random.default_rng(seed), []
    for number in range(n_samples):
        n = int(rng.integers(5, 30))
        target = rng.random(n) < (0.0 if number % 5 == 4 else 0.4)
        score = np.round(rng.normal(size=n) + shift * target + number / 10, 1)  # with ties
        case = f"C{max(number, 1)}"
        parts.append(pd.DataFrame({"sample_id": f"S{number}", "case_id": case, "score": score, "target": target}))
    return pd.concat(parts, ignore_index=True)


def test_areas_are_those_of_scikit_learn():
    patches = drawn()
    by_slide, pooled = locate(patches, "score", "target", resamples=200)
    both = [rows for _, rows in patches.groupby("sample_id") if 0 < rows["target"].sum() < len(rows)]
    areas = [100 * roc_auc_score(rows["target"], rows["score"]) for rows in both]
    assert by_slide.auc == pytest.approx(np.mean(areas), abs=1e-9)
    assert pooled.auc == pytest.approx(100 * roc_auc_score(patches["target"], patches["score"]), abs=1e-9)
    assert (by_slide.over, by_slide.n_slides) == ("slide", len(areas)) and len(areas) < 14
    assert (pooled.over, pooled.n_slides, pooled.n_cases) == ("pooled", 14, 13)
    assert by_slide.ci_low < by_slide.auc < by_slide.ci_high


def test_the_interval_is_of_whole_cases_drawn_again():
    """The pooled area of each draw is that of the patches of its cases, as often as they are drawn."""
    from ksfusion.results.statistics import draw_cases

    patches = drawn()
    _, pooled = locate(patches, "score", "target", resamples=300)
    cases = np.unique(patches["case_id"])
    areas = []
    for times in draw_cases(len(cases), resamples=300):
        weights = patches["case_id"].map(dict(zip(cases, times, strict=True)))
        areas.append(100 * roc_auc_score(patches["target"], patches["score"], sample_weight=weights))
    assert [pooled.ci_low, pooled.ci_high] == pytest.approx(np.percentile(areas, [2.5, 97.5]), abs=1e-6)


def test_pairs_by_hand():
    won, positives, negatives = pairs_won(
        np.array([3.0, 1.0, 2.0, 2.0]), np.array([True, False, True, False]), np.array([0, 0, 1, 1]), 2
    )
    assert won.tolist() == [[1, 1], [1, 0.5]]
    assert positives.tolist() == negatives.tolist() == [1, 1]


def test_few_cases_have_no_interval_and_none_no_area():
    few = drawn(6)
    assert all(
        np.isnan(found.ci_low) and not np.isnan(found.auc) for found in locate(few, "score", "target", resamples=9)
    )
    nothing = few.assign(target=False)
    assert all(np.isnan(found.auc) for found in locate(nothing, "score", "target", resamples=9))
    assert all(np.isnan(found.auc) for found in locate(few.iloc[:0], "score", "target", resamples=9))


def test_a_repeated_patch_counts_once():
    assert patch_means(np.array([1.0, 5.0, 3.0]), np.array([0, 1, 0])).tolist() == [2, 5]


class Linear(torch.nn.Module):
    """Two classes, whose logits are sums of the features: of the first feature, and of minus it."""

    def forward(self, patches, genes):
        total = patches[:, :, 0].sum(dim=1)
        return MethodOutput(torch.stack([total, -total], dim=1))


def test_attribution_of_a_linear_model_is_its_terms():
    patches = torch.tensor([[[2.0, 9.0], [-0.5, 9.0]], [[-3.0, 1.0], [1.0, 1.0]]])
    out, found = patch_attribution(Linear(), patches, {}, "classification")
    assert out.logits.tolist() == [[1.5, -1.5], [-2.0, 2.0]] and not out.logits.requires_grad
    # The first sample is of the first class (1.5), the second of the second (2.0).
    assert found.tolist() == [[2.0, -0.5], [3.0, -1.0]]
    assert patch_attribution(Linear(), patches, {}, "regression")[1].tolist() == [[2.0, -0.5], [-3.0, 1.0]]


def test_random_scores_are_those_of_their_sample():
    samples = pd.Series(["A"] * 500 + ["B"] * 400)
    scores = random_scores(samples)
    assert np.array_equal(random_scores(samples[500:]), scores[500:]) and len(set(scores)) == 900
    assert abs(scores[:400].mean() - 0.5) < 0.05 and abs(np.corrcoef(scores[:400], scores[500:])[0, 1]) < 0.15
    assert len(random_scores(pd.Series([], dtype=str))) == 0


def test_what_counts_as_planted():
    tiles = pd.DataFrame(
        [
            ("A", 0, 0, 20, 10, 9, 0.0),
            ("A", 1, 0, 21, 10, 10, 0.0),
            ("A", 2, 0, 12, 9, 0, 0.1),
            ("A", 3, 0, 0, 0, 0, 0.0),
        ],
        columns=["slide_id", "x", "y", "nuclei", "tumour", "lymphocytes", "vessels"],
    )
    found = planted_targets(tiles)
    assert found["tumour"].tolist() == [True, False, False, False]
    assert found["immune"].tolist() == [False, True, False, False]
    assert found["vessels"].tolist() == [False, False, True, False]
    assert found["tme"].tolist() == [False, True, True, False]
    patches = pd.DataFrame({"slide_id": ["A", "A"], "x": [1, 1], "y": [0, 0]})
    targets = Targets(found)
    assert targets.names == ["tumour", "immune", "vessels", "tme"] and targets.slides == {"A"}
    assert targets.of(patches)["immune"].tolist() == [True, True]
    with pytest.raises(UserError, match="A: it is not known what the patch at 7, 0 shows; run again"):
        targets.of(patches.assign(x=[1, 7]))


def test_what_patches_show_is_read_from_one_of_two_files(tmp_path):
    tiles = {
        "slide_id": ["A"],
        "x": [0],
        "y": [7],
        "nuclei": [20],
        "tumour": [10],
        "lymphocytes": [9],
        "vessels": [0.0],
    }
    write_parquet(pd.DataFrame(tiles), tmp_path / "tiles.parquet", {})
    planted = Targets.read(TargetFiles([], truth=tmp_path / "tiles.parquet"))
    assert planted.table.to_dict("list") == {
        **{"slide_id": ["A"], "x": [0], "y": [7]},
        **{"tumour": [True], "immune": [False], "vessels": [False], "tme": [False]},
    }
    write_parquet(planted.table[["slide_id", "x", "y", "tme"]], tmp_path / "regions.parquet", {})
    assert Targets.read(TargetFiles([], regions=tmp_path / "regions.parquet")).names == ["tme"]
    with pytest.raises(UserError, match="--regions: names no file, and --truth neither; give either"):
        Targets.read(TargetFiles([]))
