"""Encoders: against timm itself, and weights that do not fit."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from ksfusion.core.errors import UserError
from ksfusion.slides import build_encoder
from ksfusion.slides.encoders.build import Encoder


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return timm.create_model("resnet50.tv_in1k", pretrained=False).eval()


@pytest.fixture(scope="module")
def weights(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    save_file(resnet.state_dict(), path)
    return path


def patches(n=2, px=224):
    return torch.randn(n, 3, px, px, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_resnet50_is_the_third_block_averaged(resnet, weights):
    encoder = build_encoder("resnet50", weights)
    with torch.inference_mode():
        expected = resnet.forward_intermediates(patches(), indices=[3], intermediates_only=True)[0].mean(dim=(2, 3))
        found = encoder(patches())
    assert found.shape == (2, 1024) == (2, encoder.n_features)
    assert torch.allclose(found, expected, atol=1e-5)
    assert encoder.mean == (0.485, 0.456, 0.406) and encoder.std == (0.229, 0.224, 0.225)


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_from_a_pytorch_file(resnet, weights, tmp_path, wrapped):
    state = resnet.state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}} if wrapped else state, tmp_path / "w.pth")
    with torch.inference_mode():
        found = build_encoder("resnet50", tmp_path / "w.pth")(patches(1))
        assert torch.equal(found, build_encoder("resnet50", weights)(patches(1)))


def test_any_timm_model_with_its_own_scale(tmp_path):
    model = timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    encoder = build_encoder("timm:test_vit.r160_in1k", tmp_path / "vit.safetensors")
    assert encoder.input_px == 160
    assert encoder.mean == (0.5, 0.5, 0.5)
    with torch.inference_mode():
        assert torch.equal(encoder(patches(px=160)), model(patches(px=160)))
    assert encoder.n_features == model.num_features


def test_features_widened_behind_the_pooling_are_counted(tmp_path):
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    encoder = build_encoder("timm:mobilenetv3_small_050", tmp_path / "w.safetensors")
    with torch.inference_mode():
        assert encoder(patches(1, 64)).shape == (1, encoder.n_features)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=0).state_dict(), path)
    return "timm:test_vit.r160_in1k", path


class TestHowItComputes:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_products_in_half_precision(self, vit, precision):
        encoder = build_encoder(*vit, precision=precision)
        inside = []
        encoder.network.blocks[0].mlp.fc1.register_forward_hook(lambda *call: inside.append(call[-1].dtype))
        with torch.inference_mode():
            found, exact = encoder(patches(px=160)), build_encoder(*vit)(patches(px=160))
        assert inside == [getattr(torch, precision)] and found.dtype == torch.float32
        assert not torch.equal(found, exact)
        assert torch.cosine_similarity(found, exact).min() > 0.999

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")  # torch's compiler has its own
    def test_compiled(self):
        encoder = build_encoder("seeded-conv", compiled=True)
        with torch.inference_mode():
            torch._dynamo.utils.counters.clear()
            assert torch.allclose(encoder(patches(px=64)), build_encoder("seeded-conv")(patches(px=64)), atol=1e-4)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1

    def test_output_that_is_not_one_vector_a_patch(self):
        with pytest.raises(UserError, match=r"gives \(3, 8, 8\) values a patch, not 5"):
            Encoder(torch.nn.Identity(), n_features=5)(patches(1, 8))


class TestWeightsThatDoNotFit:
    def test_a_key_is_missing(self, resnet, tmp_path):
        state = {key: value for key, value in resnet.state_dict().items() if key != "layer2.0.conv1.weight"}
        save_file(state, tmp_path / "w.safetensors")
        with pytest.raises(UserError, match=r"lacks layer2\.0\.conv1\.weight"):
            build_encoder("resnet50", tmp_path / "w.safetensors")

    def test_a_key_is_unknown(self, resnet, tmp_path):
        save_file(resnet.state_dict() | {"blocks.0": torch.zeros(1)}, tmp_path / "w.safetensors")
        with pytest.raises(UserError, match=r"unknown blocks\.0"):
            build_encoder("resnet50", tmp_path / "w.safetensors")

    def test_a_shape_differs(self, resnet, tmp_path):
        save_file(resnet.state_dict() | {"conv1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
        with pytest.raises(UserError, match=r"other shapes of conv1\.weight"):
            build_encoder("resnet50", tmp_path / "w.safetensors")

    def test_code_in_a_pickle_is_not_run(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        torch.save({"conv1.weight": Trap()}, tmp_path / "w.pth")
        with pytest.raises(UserError, match="more than tensors"):
            build_encoder("resnet50", tmp_path / "w.pth")
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
    def test_damaged_or_absent(self, tmp_path, name):
        with pytest.raises(UserError, match="is not there"):
            build_encoder("resnet50", tmp_path / name)
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(UserError, match=r"features\.weights"):
            build_encoder("resnet50", tmp_path / name)

    def test_a_folder(self, tmp_path):
        with pytest.raises(UserError, match="is a folder; name the weight file in it"):
            build_encoder("resnet50", tmp_path)


def test_no_internet_is_told_with_its_remedy(monkeypatch):
    def fail(*_, **__):
        raise OSError("Network is unreachable\nand more")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(UserError, match=r"Network is unreachable\).*features\.weights"):
        build_encoder("resnet50")


@pytest.mark.parametrize("name", ["resnet5", "timm:no_such_model", "torch:resnet", "timm:../x", "hf-hub:owner"])
def test_unknown_encoder(name):
    with pytest.raises(UserError, match=r"features\.encoder"):
        build_encoder(name)


class TestSeededConv:
    def test_is_the_same_each_time(self):
        first, second, other = (build_encoder("seeded-conv", seed=seed) for seed in (0, 0, 1))
        with torch.inference_mode():
            assert torch.equal(first(patches()), second(patches()))
            assert not torch.allclose(first(patches()), other(patches()))
            assert first(patches()).shape == (2, first.n_features)

    @pytest.mark.slow
    def test_shows_colour_density_and_texture_linearly(self):
        from sklearn.linear_model import RidgeCV
        from sklearn.model_selection import cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # Discs on a ground: what is planted is the ground's shade, the number of discs, and the coarseness of noise.
        random = torch.Generator().manual_seed(0)
        row, column = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
        drawn, planted = [], []
        for _ in range(80):
            shade, share, coarse = torch.rand(3, generator=random).tolist()
            size = 8 + int(48 * (1 - coarse))
            noise = torch.randn(1, 3, size, size, generator=random)
            patch = torch.nn.functional.interpolate(noise, size=(224, 224), mode="bilinear")[0] * 0.3
            patch += torch.tensor([0.6 + 0.4 * shade, 0.3, 0.8 - 0.4 * shade])[:, None, None]
            for x, y in torch.randint(0, 224, (int(60 * share), 2), generator=random).tolist():
                patch[:, (row - y) ** 2 + (column - x) ** 2 < 64] = -0.8
            drawn.append(patch)
            planted.append((shade, share, coarse))
        encoder, truth = build_encoder("seeded-conv"), torch.tensor(planted).numpy()
        with torch.inference_mode():
            features = encoder(torch.stack(drawn)).numpy()
        for target in truth.T:
            model = make_pipeline(StandardScaler(), RidgeCV([0.1, 1, 10, 100]))
            predicted = cross_val_predict(model, features, target, cv=5)
            assert 1 - ((predicted - target) ** 2).mean() / target.var() > 0.8

    def test_takes_no_weights(self, weights):
        with pytest.raises(UserError, match="no weights to load"):
            build_encoder("seeded-conv", weights)
