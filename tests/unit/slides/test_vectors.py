"""One vector a slide from files of other tools: what is read, what is refused, and that no code in a file runs."""

import pickle

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from ksfusion.config import Config
from ksfusion.core.features_file import open_features
from ksfusion.slides.config import (
    Features,
    ImportFeaturesSettings,
    ImportTilesSettings,
    Patches,
    SamplePatchesSettings,
    Slides,
)
from ksfusion.slides.features.vectors import read_vector
from ksfusion.slides.reading.errors import SlideError
from ksfusion.stages.import_features import import_features
from ksfusion.stages.import_tiles import import_tiles
from ksfusion.stages.sample_patches import sample_patches

VECTOR = np.array([0.5, -2.0, 3.25], np.float32)
SOURCE = {"cohort": "a", "format": "matrix", "unit": "log", "path": "m.tsv"}


def write(path, content):
    if path.suffix == ".pt":
        torch.save(content, path)
    else:
        with h5py.File(path, "w") as file:
            for name, values in content.items():
                file[name] = values
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.h5", {"features": VECTOR}),
        ("a.h5", {"features": VECTOR[None], "coords": np.zeros((1, 2))}),
        ("a.h5", {"feats": VECTOR[None, None].astype(np.float16)}),
        ("a.h5", {"anything": VECTOR.astype(np.float64)}),
        ("a.pt", torch.from_numpy(VECTOR)),
        ("a.pt", torch.from_numpy(VECTOR)[None].to(torch.bfloat16)),
        # As PRISM and GigaPath leave them: an embedding beside other tensors.
        ("a.pt", {"image_embedding": torch.from_numpy(VECTOR)[None], "image_latents": torch.zeros(1, 512, 8)}),
        ("a.pt", {"layer_0_embed": torch.zeros(1, 3), "last_layer_embed": torch.from_numpy(VECTOR)[None]}),
    ],
)
def test_a_vector_is_read_from_files_of_other_tools(tmp_path, name, content):
    found = read_vector(write(tmp_path / name, content))
    assert found.dtype == np.float16 and found.tolist() == [0.5, -2.0, 3.25]


class Harmful:
    def __reduce__(self):
        return (open, ("harm_was_done", "w"))


def test_no_code_in_a_file_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"features": torch.zeros(3), "more": Harmful()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Harmful()))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(SlideError) as told:
            read_vector(tmp_path / name)
        assert told.value.reason == "unreadable" and "it may run code" in str(told.value)
    assert not (tmp_path / "harm_was_done").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.h5", {"features": np.zeros((7, 3), np.float32)}, "holds 7 x 3; one vector a slide is needed"),
        ("a.pt", torch.zeros(7, 3), "holds 7 x 3; one vector a slide is needed"),
        ("a.h5", {"features": np.zeros((70_000, 3), np.float32)}, "holds 70000 x 3"),
        ("a.h5", {"features": np.array([1.0, np.nan])}, "a feature is missing"),
        ("a.h5", {"features": np.array([1.0, 1e5])}, "beyond float16"),
        ("a.h5", {"features": np.arange(3)}, "holds no vector"),
        ("a.h5", {"one": VECTOR, "two": VECTOR}, "holds no vector; call it features"),
        ("a.h5", {"features": np.zeros(0, np.float32)}, "claims 0 features"),
        ("a.h5", {"features": np.float32(3)}, "holds one number"),
    ],
)
def test_what_is_no_vector_is_told(tmp_path, name, content, said):
    path = write(tmp_path / name, content)
    with pytest.raises(SlideError, match=said) as told:
        read_vector(path)
    assert told.value.reason == "unreadable"


def test_files_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(SlideError) as told:
        read_vector(tmp_path / "a.h5")
    assert told.value.reason == "missing_file"
    for name in ("b.h5", "b.pt"):
        (tmp_path / name).write_bytes(b"not a file of features")
        with pytest.raises(SlideError) as told:
            read_vector(tmp_path / name)
        assert told.value.reason == "unreadable"


def test_the_stages_give_one_patch_a_slide(tmp_path):
    folder = tmp_path / "vectors"
    folder.mkdir()
    write(folder / "one.h5", {"features": VECTOR})
    write(folder / "two.pt", torch.from_numpy(-VECTOR))
    (folder / "three.pt").write_bytes(b"damaged")
    table = pd.DataFrame({"slide": "", "slide_id": ["one", "two", "three", "four"], "mpp": ["0.5", "", "", ""]})
    table.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    features = Features(source="slide-vectors", path=str(folder))
    tiles, patches, output = (tmp_path / name for name in ("tiles.parquet", "patches.parquet", "features.h5"))
    settings = ImportTilesSettings.of(Slides(min_tiles=1), features, batches=1)
    import_tiles(tmp_path / "samples.tsv", tiles, batch=0, settings=settings)
    sample_patches(tiles, patches, settings=SamplePatchesSettings(min_tiles=1, patches=Patches(count=1)))
    import_features(tiles, patches, output, settings=ImportFeaturesSettings(features=features, timeout=60))
    with open_features(output) as file:
        found = {slide: {name: file[slide].read(name) for name in file[slide]} for slide in ("one", "two")}
        status = {slide: file[slide].attributes["reason"] for slide in ("one", "two", "three", "four")}
    assert status == {"one": "", "two": "", "three": "unreadable", "four": "missing_file"}
    assert found["one"]["features"].tolist() == [[0.5, -2.0, 3.25]]
    assert found["two"]["features"].tolist() == [[-0.5, 2.0, -3.25]] and found["two"]["index"].tolist() == [0]


def configured(**more):
    cohort = {"samples": "s.tsv", "cases": "c.tsv", "expression": [SOURCE]}
    features = {"source": "slide-vectors", "path": "vectors"}
    return Config.model_validate({"cohort": cohort, "features": features, "methods": ["concat-vector", "snn"], **more})


def test_a_study_of_vectors_has_one_patch_and_no_maps():
    config = configured(slides={"batches": 2})
    assert (config.patches.count, config.slides.min_tiles, config.slides.batches) == (1, 1, 2)
    assert config.heatmaps.methods == []
    # Settings of features of patches are those of earlier runs.
    path = ImportTilesSettings(min_tiles=10, timeout=600, batches=1, path="p")
    assert "source" not in path.record()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"methods": ["snn", "attmil"]}, "methods: attmil reads patches, and features.source: slide-vectors has one"),
        ({"patches": {"count": 4}}, "leave out patches.count"),
        ({"heatmaps": {"methods": ["ksfusion"]}}, "heatmaps.methods"),
        ({"slides": {"masks": "masks"}}, "need the slides; remove them"),
        ({"features": {"source": "slide-vectors"}}, "source slide-vectors needs path"),
    ],
)
def test_what_needs_patches_is_refused_in_a_line(more, said):
    with pytest.raises(ValidationError, match=said):
        configured(**more)


def test_a_method_that_takes_vectors_takes_one():
    from ksfusion.methods import build
    from ksfusion.methods.registry import METHODS

    assert {name for name, info in METHODS.items() if info.vector} == {"concat-vector", "mean-patch"}
    torch.manual_seed(0)
    model = build(
        "concat-vector", n_features=3, n_patches=1, niches={"tumour": ["A"], "tme": ["B"]}, n_outputs=2
    ).eval()
    vector, genes = torch.from_numpy(VECTOR)[None, None], {"tumour": torch.ones(1, 1), "tme": torch.ones(1, 1)}
    # Its scale does not matter, its direction does.
    torch.testing.assert_close(model(100 * vector, genes).logits, model(vector, genes).logits, rtol=1e-3, atol=1e-4)
    assert (model(-vector, genes).logits - model(vector, genes).logits).abs().max() > 1e-3
