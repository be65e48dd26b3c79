"""Which patches a method sees before it is trained, and that they stay with its model."""

import dataclasses

import numpy as np
import pytest
import torch
from training_cohort import DIAGNOSIS, draw_cohort, epochs

from ksfusion.methods import build
from ksfusion.training.checkpoint import load_model
from ksfusion.training.data import FoldData, read_fold
from ksfusion.training.prototypes import patches_of_training, show_patches

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return draw_cohort(tmp_path_factory.mktemp("prototypes") / "cohort", 30)


@pytest.fixture(scope="module")
def data(cohort) -> FoldData:
    return read_fold(cohort.files, task=DIAGNOSIS, fold=0, modalities="pg")


def marked(data: FoldData) -> FoldData:
    """Return the data with the number of its slide as each feature of a patch, 1000 for slides not of training."""
    features, train = np.full(data.features.shape, 1000, dtype=np.float16), data.labelled("train")
    for slide in data.slides[train]:
        features[data.rows[slide]] = slide
    return dataclasses.replace(data, features=features, check=None)


@pytest.mark.parametrize("most", [1, 100, 10**6])
def test_patches_are_of_training_slides_and_of_each_as_many(data, most):
    slides = np.unique(data.slides[data.labelled("train")])
    patches = patches_of_training(marked(data), most=most)
    numbers, counts = np.unique(patches[:, 0], return_counts=True)
    assert patches.dtype == np.float32 and numbers.tolist() == slides.tolist()
    expected = [min(max(most // len(slides), 1), len(np.unique(data.rows[slide]))) for slide in slides]
    assert counts.tolist() == expected


def test_damage_of_training_slides_is_looked_for(data):
    asked = []
    patches_of_training(dataclasses.replace(data, check=asked.extend), most=10)
    assert asked == np.unique(data.slides[data.labelled("train")]).tolist()


def test_prototypes_are_of_training_patches_alone_and_are_kept_in_the_file(cohort, data):
    """Other validation and test slides leave them as they are; k-means' centres are means of their patches."""
    folder = cohort.train("mmp", task=epochs(DIAGNOSIS, 1), method="mmp")
    kept = load_model(folder).mixture.centres
    features, train = np.array(data.features), data.slides[data.labelled("train")]
    others = np.setdiff1d(data.rows, data.rows[train])
    features[others] = 77
    sizes = {"n_features": data.n_features, "n_patches": data.n_patches, "n_outputs": 3}
    model = build("mmp", niches=data.niches, groups=data.groups, **sizes)
    show_patches(model, dataclasses.replace(data, features=features, check=None))
    assert len(others) and torch.equal(kept, model.mixture.centres)
    patches = torch.from_numpy(patches_of_training(data, most=model.patches_to_see))
    nearest = torch.cdist(patches.double(), kept.double()).argmin(dim=1)
    means = torch.stack([patches[nearest == number].mean(dim=0) for number in range(len(kept))])
    torch.testing.assert_close(means, kept, rtol=1e-3, atol=1e-3)
