"""Patches shrunk for the encoder (`features.input_px`): against Pillow, and what of finished files it may not touch."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from ksfusion.core.checksums import PROVENANCE_KEY
from ksfusion.core.errors import UserError
from ksfusion.core.provenance import as_json
from ksfusion.slides import build_encoder
from ksfusion.slides.config import Encoding, ExtractFeaturesSettings, Features, Reading, Stain
from ksfusion.slides.encoders.batches import PatchEncoder
from ksfusion.slides.encoders.build import Encoder
from ksfusion.slides.encoders.names import check_patch_size
from ksfusion.slides.features.cache import made_of
from ksfusion.slides.features.store import lay_out
from ksfusion.slides.stain.target import load_target
from ksfusion.stages.adopt import _same_settings

# What version 0.1.0 wrote of an encoder.
OLD = {"encoder": "seeded-conv", "weights": None, "batch_size": 64, "precision": "float32", "compile": False}


@pytest.fixture(scope="module")
def patches():
    return np.random.default_rng(0).integers(0, 256, (37, 96, 96, 3), dtype=np.uint8)


def seen_by_an_encoder(patches, side, threads=1):
    """Return what the encoder is given, of values 0 to 1: (n, side, side, 3)."""
    encoder = Encoder(torch.nn.Flatten(), n_features=3 * side * side, mean=(0, 0, 0), std=(1, 1, 1))
    encode = PatchEncoder(encoder, load_target("builtin"), "cpu", threads, input_px=side)
    try:
        return encode.gathered([encode(patches, None)]).reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
    finally:
        encode.close()


@pytest.mark.parametrize("side", [48, 40, 64])
def test_pixels_are_averaged_as_by_pillow(patches, side):
    expected = [np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.BILINEAR)) for patch in patches]
    # Pillow rounds twice to whole numbers, and the features are half-precision.
    assert np.abs(255 * seen_by_an_encoder(patches, side).astype(float) - np.stack(expected)).max() < 1.2


def test_an_even_patch_stays_even(patches):
    even = np.broadcast_to(patches[:, :1, :1], patches.shape)
    found = 255 * seen_by_an_encoder(np.ascontiguousarray(even), 40).astype(float)
    assert np.abs(found - even[:, :40, :40]).max() < 0.1


def test_the_same_side_changes_nothing(patches):
    np.testing.assert_array_equal(seen_by_an_encoder(patches, 96), (patches / 255).astype(np.float16))


def test_the_result_depends_on_no_thread(patches):
    first = seen_by_an_encoder(patches, 40)
    assert first.tobytes() == seen_by_an_encoder(patches, 40).tobytes() == seen_by_an_encoder(patches, 40, 3).tobytes()


def test_a_side_that_no_patch_has():
    check_patch_size("any", None, 224, 112)
    check_patch_size("uni", 224, 448, 224)
    with pytest.raises(UserError, match=r"features\.input_px: patches of 224 px .* 448 is more"):
        check_patch_size("any", None, 224, 448)
    with pytest.raises(UserError, match=r"uni takes patches of 224 px; set features\.input_px to that \(it is 112\)"):
        check_patch_size("uni", 224, 224, 112)
    with pytest.raises(UserError, match=r"uni takes patches of 224 px; set slides\.patch_px to that \(it is 448\)"):
        check_patch_size("uni", 224, 448)
    with pytest.raises(ValidationError, match="greater than or equal to 32"):
        Encoding(input_px=16)


class TestFilesMadeWithoutIt:
    def test_what_is_recorded_is_as_before_where_it_is_not_set(self):
        assert Encoding(encoder="seeded-conv", batch_size=64).record() == OLD
        settings = ExtractFeaturesSettings(slides=Reading(), stain=Stain(), features=Encoding.model_validate(OLD))
        assert settings.record()["features"] == OLD
        assert "input_px" not in Features().record()
        assert Encoding(input_px=112).record()["input_px"] == 112
        assert Encoding.model_validate(Encoding(input_px=112).record()).input_px == 112

    def test_the_key_changes_with_it_alone(self):
        def shared(**features):
            settings = ExtractFeaturesSettings(slides=Reading(), stain=Stain(), features=Encoding(**OLD, **features))
            return made_of(settings, load_target("builtin"), code="0", device="cpu")

        assert shared()["features"] == OLD
        assert shared(input_px=112)["features"] == {**OLD, "input_px": 112}

    def test_settings_of_before_are_taken_over(self):
        def wanted(**features):
            return ExtractFeaturesSettings(slides=Reading(), stain=Stain(), features=Encoding(**OLD, **features))

        old = wanted().record()
        assert "input_px" not in old["features"]
        assert _same_settings("extract_features", old, wanted())
        assert not _same_settings("extract_features", old, wanted(input_px=112))

    def test_old_and_new_batches_make_one_store(self, tmp_path):
        def batch(name, features):
            path = tmp_path / name
            with h5py.File(path, "w") as file:
                settings = {"features": features}
                file.attrs[PROVENANCE_KEY] = as_json({"ksfusion": "0.1.0", "code": "0", "settings": settings})
                slide = file.create_group(name)
                slide.attrs["status"] = "ok"
                slide["features"], slide["index"] = np.ones((2, 3), np.float16), np.zeros(4, np.int32)
            return path

        old = batch("old.h5", OLD)
        new = batch("new.h5", Encoding.model_validate(OLD).record())
        assert lay_out([old, new]).slides["slide_id"].tolist() == ["new.h5", "old.h5"]
        shrunk = batch("shrunk.h5", Encoding(**OLD, input_px=112).record())
        with pytest.raises(UserError, match="different settings"):
            lay_out([old, shrunk])


def test_an_encoder_of_any_size_takes_them(patches):
    encoder = build_encoder("seeded-conv")
    encode = PatchEncoder(encoder, load_target("builtin"), "cpu", 1, input_px=48)
    assert encode(patches, None).shape == (37, encoder.n_features)
    encode.close()
