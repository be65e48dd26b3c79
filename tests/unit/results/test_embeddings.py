"""Embeddings of test samples: those of the model, on a plane on which groups that were drawn apart stay apart."""

import warnings

import numpy as np
import pytest
import torch
from training_cohort import DIAGNOSIS, SURVIVAL

from ksfusion.core.storage import read_json, write_json
from ksfusion.results.attention.embeddings import embeddings_of, on_a_plane
from ksfusion.results.config import ShownTask
from ksfusion.results.report.heatmaps import embedding_figures
from ksfusion.results.stage_settings import DrawTasksSettings
from ksfusion.stages.draw_embeddings import draw_embeddings
from ksfusion.training.checkpoint import load_model
from ksfusion.training.data import read_fold

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_streams_are_what_the_classifier_is_given(runs, drawn):
    data = read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="pg").only("test")
    model = load_model(runs["diagnosis", "ksfusion"])
    found = embeddings_of(model, data, batch_size=4)
    assert list(found) == ["tumour", "tme"]
    with torch.no_grad():
        both = torch.from_numpy(np.concatenate(list(found.values()), axis=1))
        whole = model(*data.gather(np.arange(len(data.samples)), torch.device("cpu"))).logits
        torch.testing.assert_close(model.classifier(both), whole, rtol=1e-4, atol=1e-5)


def test_too_few_samples_and_odd_numbers_have_no_plane():
    assert on_a_plane(np.zeros((7, 3))) is None
    assert on_a_plane(np.full((20, 3), np.nan)) is None


@pytest.mark.slow
def test_groups_stay_apart_and_the_same_again_is_the_same():
    random = np.random.default_rng(0)
    group = np.arange(40) % 2
    drawn = (random.normal(size=(40, 16)) + 12 * group[:, None]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plane = on_a_plane(drawn)
    assert plane.shape == (40, 2) and np.array_equal(plane, on_a_plane(drawn))
    apart = np.linalg.norm(plane[group == 0].mean(axis=0) - plane[group == 1].mean(axis=0))
    within = [np.linalg.norm(plane[group == of] - plane[group == of].mean(axis=0), axis=1).max() for of in (0, 1)]
    assert apart > 1.5 * max(within)


@pytest.mark.slow
def test_the_figure_has_every_task_also_one_without_a_model(runs, drawn, tmp_path):
    failed = tmp_path / "failed"
    failed.mkdir()
    config = read_json(runs["survival", "ksfusion"] / "config.json")
    write_json({key: value for key, value in config.items() if key != "n_outputs"}, failed / "config.json")
    settings = DrawTasksSettings(tasks=[ShownTask.of(DIAGNOSIS), ShownTask.of(SURVIVAL)])
    stem = tmp_path / "embeddings_ksfusion_fold0"
    for run in (runs["survival", "ksfusion"], failed):
        draw_embeddings(drawn.files, runs=[runs["diagnosis", "ksfusion"], run], output=stem, settings=settings)
        (figure,) = embedding_figures([stem.with_suffix(".png")])
        assert figure["title"] == "Test samples as KS-Fusion sees them, fold 0" and figure["width"] > 300
