"""What the features of patches allow: a ridge regression that is taught what patches show, on training slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ksfusion.core.feature_store import FeatureStore
from ksfusion.results.attention.localisation import ORACLE
from ksfusion.results.attention.slide_picture import SlidePatches
from ksfusion.results.attention.targets import Targets

# Of standardised features, and fixed: nothing is chosen by what comes out.
PENALTY = 10_000.0


def patch_oracle(
    store: FeatureStore,
    patches: Mapping[str, SlidePatches],
    samples: pd.DataFrame,
    targets: Targets,
) -> pd.DataFrame:
    """Return how much each patch of the test samples looks like each target.

    Parameters
    ----------
    store
        The features of all slides.
    patches
        slide_id to its patches, in the order of its features.
    samples
        sample_id, case_id, slide_id and split of the samples in use.
    targets
        What the patches of some slides show; samples of others are left out.

    Returns
    -------
    pandas.DataFrame
        One row for each patch of each test sample: sample_id, case_id, the targets, and for each the score
        ``oracle:{target}``. Empty without training or test samples.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, samples = targets.names, samples[samples["slide_id"].isin(targets.slides)]
    train = samples[samples["split"] == "train"].drop_duplicates("slide_id")
    test = samples[samples["split"] == "test"]
    if train.empty or test.empty:
        scores = {f"{ORACLE}:{name}": float for name in names}
        types: dict[str, type] = {"sample_id": str, "case_id": str, **dict.fromkeys(names, bool), **scores}
        return pd.DataFrame(columns=list(types)).astype(types)
    learnt = list(_with_truth(store, patches, train, targets))
    model = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY))
    model.fit(np.concatenate([features for _, features, _ in learnt]), np.concatenate([truth for *_, truth in learnt]))
    found = []
    for row, features, truth in _with_truth(store, patches, test, targets):
        scores = model.predict(features).reshape(len(features), len(names))
        known = {"sample_id": row.sample_id, "case_id": row.case_id, **dict(zip(names, truth.T > 0, strict=True))}
        predicted = {f"{ORACLE}:{name}": score for name, score in zip(names, scores.T, strict=True)}
        found.append(pd.DataFrame({**known, **predicted}))
    return pd.concat(found, ignore_index=True)


def _with_truth(
    store: FeatureStore,
    patches: Mapping[str, SlidePatches],
    samples: pd.DataFrame,
    targets: Targets,
) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Yield each sample with the features (patches, d) and the truth (patches, targets) of its patches."""
    position = {slide_id: number for number, slide_id in enumerate(store.slide_ids)}
    for row in samples.itertuples():
        number, here = position[row.slide_id], patches[row.slide_id]
        store.check([number])
        start = store.offsets[number]
        features = np.asarray(store.features[start : start + store.n_unique[number]], dtype=np.float32)
        place = {"slide_id": row.slide_id, "x": here.coords[:, 0], "y": here.coords[:, 1]}
        yield row, features, targets.of(pd.DataFrame(place))[targets.names].to_numpy(float)
