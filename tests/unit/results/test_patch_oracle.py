"""The oracle of patches: taught on training slides, asked about test slides, each patch by its own place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ksfusion.core.feature_store import FeatureStore
from ksfusion.demo.targets import TARGETS
from ksfusion.results.attention.localisation import locate_all
from ksfusion.results.attention.patch_oracle import patch_oracle
from ksfusion.results.attention.slide_picture import SlidePatches
from ksfusion.results.attention.targets import Targets

N = 30


def drawn(shown):
    """Slides whose patches have a feature for each target, and places in an order of their own."""
    rng, parts, targets, patches = np.random.default_rng(0), [], [], {}
    for slide_id in ("A", "B", "C"):
        truth = rng.random((N, len(TARGETS))) < 0.4
        coords = np.stack([rng.permutation(N), np.full(N, 7)], axis=1)
        parts.append((truth if shown else rng.random(truth.shape)).astype(np.float16))
        place = {"slide_id": slide_id, "x": coords[:, 0], "y": coords[:, 1]}
        known = pd.DataFrame({**place, **dict(zip(TARGETS, truth.T, strict=True))})
        targets.append(known.sort_values("x"))
        patches[slide_id] = SlidePatches(coords, np.arange(N), 0.5)
    offsets, counts = np.arange(3) * N, np.full(3, N)
    index = np.tile(np.arange(N, dtype=np.int32), (3, 1))
    store = FeatureStore(("A", "B", "C"), np.concatenate(parts), index, offsets, counts, Path())
    return store, patches, pd.concat(targets)


def samples(*splits):
    rows = zip("STU", "123", "ABC", splits, strict=True)
    return pd.DataFrame(rows, columns=["sample_id", "case_id", "slide_id", "split"])


def test_features_that_show_a_target_find_it_on_slides_it_has_not_seen():
    store, patches, targets = drawn(shown=True)
    found = patch_oracle(store, patches, samples("train", "val", "test"), Targets(targets))
    assert found["sample_id"].unique().tolist() == ["U"] and len(found) == N
    # In the order of the features, whatever the order of the truth.
    assert found["tumour"].tolist() == (store.features[2 * N :, 0] > 0).tolist()
    for name in TARGETS:
        shows = found[name]
        assert 0 < shows.sum() < N
        assert found.loc[shows, f"oracle:{name}"].min() > found.loc[~shows, f"oracle:{name}"].max()


def test_features_that_show_nothing_find_nothing():
    store, patches, targets = drawn(shown=False)
    found = patch_oracle(store, patches, samples("train", "train", "test"), Targets(targets))
    shows = found["tumour"]
    assert found.loc[shows, "oracle:tumour"].min() < found.loc[~shows, "oracle:tumour"].max()


@pytest.mark.parametrize("splits", [("val", "val", "test"), ("train", "val", "val")])
def test_nothing_to_learn_from_or_nobody_to_ask_finds_nothing(splits):
    store, patches, targets = drawn(shown=True)
    found = patch_oracle(store, patches, samples(*splits), Targets(targets))
    assert found.empty
    over_slides, pooled = (located for *_, located in locate_all(found, ["oracle:tumour"], ["tumour"], resamples=100))
    for _, area, low, high, n_slides, n_cases in (over_slides, pooled):
        assert np.isnan([area, low, high]).all() and n_slides == n_cases == 0
