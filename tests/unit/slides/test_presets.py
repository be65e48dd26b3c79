"""The published encoders: against their model cards, a transformer written out by hand, and the hub's own cache."""

from dataclasses import replace

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from ksfusion.core.errors import UserError
from ksfusion.slides import build_encoder
from ksfusion.slides.encoders.build import create_published
from ksfusion.slides.encoders.names import check_encoder, find_preset
from ksfusion.slides.encoders.presets import PRESETS, built_here

pytestmark = pytest.mark.slow

# Length of a feature vector and millions of parameters, as their authors state them.
PUBLISHED = {
    "uni": (1024, 303.3),
    "uni2-h": (1536, 681),
    "virchow": (2560, 631.2),
    "virchow2": (2560, 631),
    "h-optimus-0": (1536, 1135),
    "h-optimus-1": (1536, 1135),
    "prov-gigapath": (1536, 1134.953984),
    "phikon": (768, 85.8),
    "phikon-v2": (1024, 303.4),
    "gpfm": (1024, 303),
    # UNI's architecture.
    "mstar": (1024, 303.3),
}
SMALL = {"depth": 2, "embed_dim": 32, "num_heads": 2}


def patches(n=2):
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def drawn(shapes):
    """Draw a value for each name: a scale near 1 for norms, small elsewhere."""
    generator = torch.Generator().manual_seed(2)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_architecture_is_the_published_one(name):
    assert list(PUBLISHED) == built_here()
    n_features, millions = PUBLISHED[name]
    preset = find_preset(name.upper())
    with torch.device("meta"):
        network = create_published(preset).eval()
        tokens = network.forward_features(torch.empty(1, 3, 224, 224))
    assert preset.n_features == n_features
    assert tokens.shape[2] * (2 if name.startswith("virchow") else 1) == n_features
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(millions, rel=2e-3)
    assert network.num_prefix_tokens == 1 + {"uni2-h": 8, "virchow2": 4, "h-optimus-0": 4, "h-optimus-1": 4}.get(
        name, 0
    )


def test_colours_are_those_of_the_model_cards():
    given = {name for name, preset in PRESETS.items() if preset.mean != (0.485, 0.456, 0.406)}
    assert given == {"h-optimus-0", "h-optimus-1", "h0-mini", "midnight", "hibou-l"}
    assert {PRESETS[name].std for name in ("h-optimus-0", "h-optimus-1", "h0-mini")} == {(0.211883, 0.230117, 0.177517)}
    assert PRESETS["midnight"].mean == PRESETS["midnight"].std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["uni", "uni2-h", "virchow", "virchow2", "h-optimus-1", "prov-gigapath", "gpfm"])
@pytest.mark.parametrize("half", [False, True])
def test_weights_in_timms_names(monkeypatch, tmp_path, name, half):
    # The preset's own options at a small width.
    whole = PRESETS[name]
    width = 64 if name.startswith("virchow") else 32
    preset = replace(whole, options={**whole.options, **SMALL}, n_features=width)
    monkeypatch.setitem(PRESETS, name, preset)
    torch.manual_seed(0)
    network = create_published(preset).eval()
    if half:
        network.half().float()
    state = network.state_dict()
    torch.save({key: value.half() if half else value for key, value in state.items()}, tmp_path / "pytorch_model.bin")
    encoder = build_encoder(name, tmp_path / "pytorch_model.bin")
    with torch.inference_mode():
        tokens = network.forward_features(patches())
        # Virchow2 has four registers behind the class token.
        first = {"virchow": 1, "virchow2": 5}.get(name)
        patch_tokens = [tokens[:, first:].mean(1)] if first else []
        expected = torch.cat([tokens[:, 0], *patch_tokens], dim=-1)
        assert torch.allclose(encoder(patches()), expected, atol=2e-3 if half else 1e-6)
    assert encoder.input_px == 224 and encoder.n_features == width


def transformers_state(layout, width=32, depth=2):
    """Draw the weights of a small ViT or DINOv2 under the names that transformers gives them."""
    shapes = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, 197, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, 16, 16),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
        ("pooler.dense.weight" if layout == "vit" else "embeddings.mask_token"): (width, width),
    }
    names = NAMES[layout]
    for block in range(depth):
        for part in ("query", "key", "value", "out"):
            shapes[f"encoder.layer.{block}.{names[part]}.weight"] = (width, width)
            shapes[f"encoder.layer.{block}.{names[part]}.bias"] = (width,)
        for part, shape in (("up", (4 * width, width)), ("down", (width, 4 * width))):
            shapes[f"encoder.layer.{block}.{names[part]}.weight"] = shape
            shapes[f"encoder.layer.{block}.{names[part]}.bias"] = shape[:1]
        for part in ("before", "after"):
            shapes[f"encoder.layer.{block}.{names[part]}.weight"] = (width,)
            shapes[f"encoder.layer.{block}.{names[part]}.bias"] = (width,)
        if layout == "dinov2":
            shapes[f"encoder.layer.{block}.layer_scale1.lambda1"] = (width,)
            shapes[f"encoder.layer.{block}.layer_scale2.lambda1"] = (width,)
    return drawn(shapes)


ATTENTION = {part: f"attention.attention.{part}" for part in ("query", "key", "value")}
NAMES = {
    "vit": {
        **ATTENTION,
        "out": "attention.output.dense",
        "up": "intermediate.dense",
        "down": "output.dense",
        "before": "layernorm_before",
        "after": "layernorm_after",
    },
    "dinov2": {
        **ATTENTION,
        "out": "attention.output.dense",
        "up": "mlp.fc1",
        "down": "mlp.fc2",
        "before": "norm1",
        "after": "norm2",
    },
}


def vision_transformer(state, layout, images, eps, heads=2):
    """Compute the class token of a vision transformer, step by step (Dosovitskiy et al., 2021)."""

    def affine(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    projection = "embeddings.patch_embeddings.projection"
    squares = images.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    x = squares @ state[f"{projection}.weight"].flatten(1).T + state[f"{projection}.bias"]
    x = (
        torch.cat([state["embeddings.cls_token"].expand(len(x), -1, -1), x], 1)
        + state["embeddings.position_embeddings"]
    )
    for block in range(2):
        at = {part: f"encoder.layer.{block}.{name}" for part, name in NAMES[layout].items()}
        scale = [state.get(f"encoder.layer.{block}.layer_scale{number}.lambda1", 1.0) for number in (1, 2)]
        y = norm(x, at["before"])
        q, k, v = (affine(y, at[part]).unflatten(-1, (heads, -1)).transpose(1, 2) for part in ("query", "key", "value"))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + scale[0] * affine((weights @ v).transpose(1, 2).flatten(2), at["out"])
        x = x + scale[1] * affine(torch.nn.functional.gelu(affine(norm(x, at["after"]), at["up"])), at["down"])
    return norm(x, "layernorm")[:, 0]


@pytest.mark.parametrize(
    ("name", "prefix"), [("phikon", ""), ("phikon", "vit."), ("phikon-v2", ""), ("phikon-v2", "dinov2.")]
)
def test_weights_in_the_names_of_transformers(monkeypatch, tmp_path, name, prefix):
    preset = replace(PRESETS[name], options={**PRESETS[name].options, **SMALL}, n_features=32)
    monkeypatch.setitem(PRESETS, name, preset)
    state = transformers_state(preset.layout)
    save_file({prefix + key: value for key, value in state.items()}, tmp_path / "model.safetensors")
    with torch.inference_mode():
        found = build_encoder(name, tmp_path / "model.safetensors")(patches())
        expected = vision_transformer(state, preset.layout, patches(), eps=1e-12 if name == "phikon" else 1e-6)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_file_without_its_keys(tmp_path):
    state = {name: value for name, value in transformers_state("vit").items() if ".key." not in name}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks blocks\.0\.attn\.qkv\.bias"):
        build_encoder("phikon", tmp_path / "model.safetensors")


class TestHub:
    """The hub's client reads its own cache where there is no internet."""

    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

        def repository(name):
            folder, commit = tmp_path / f"models--{name.replace('/', '--')}", "0" * 40
            (folder / "refs").mkdir(parents=True)
            (folder / "refs" / "main").write_text(commit)
            snapshot = folder / "snapshots" / commit
            snapshot.mkdir(parents=True)
            return snapshot

        return repository

    def test_a_preset(self, hub, monkeypatch):
        preset = replace(PRESETS["phikon"], options=SMALL, n_features=32)
        monkeypatch.setitem(PRESETS, "phikon", preset)
        snapshot = hub("owkin/phikon")
        save_file(transformers_state("vit"), snapshot / "model.safetensors")
        with torch.inference_mode():
            local = build_encoder("phikon", snapshot / "model.safetensors")(patches())
            assert torch.equal(build_encoder("phikon")(patches()), local)

    @pytest.mark.slow
    def test_any_model(self, hub):
        model = timm.create_model("test_vit.r160_in1k", pretrained=False).eval()
        timm.models.save_for_hf(model, hub("somebody/small-vit"))
        with torch.inference_mode():
            expected = model.forward_head(model.forward_features(patches()[..., :160, :160]), pre_logits=True)
            encoder = build_encoder("hf-hub:somebody/small-vit")
            assert torch.equal(encoder(patches()[..., :160, :160]), expected)
        assert encoder.mean == (0.5, 0.5, 0.5)

    @pytest.mark.parametrize("name", ["uni", "hf-hub:nobody/nothing", "resnet50"])
    def test_nothing_there(self, hub, name):
        with pytest.raises(UserError, match=r"could not be fetched .*features\.weights"):
            build_encoder(name)


@pytest.mark.parametrize("name", ["UNI", "UNI2-h", "Virchow2", "H-optimus-1", "Prov-GigaPath", "Phikon", "resnet50"])
def test_names_are_known_before_anything_is_built(name):
    check_encoder(name)


def test_a_repository_of_a_preset_is_that_preset():
    assert find_preset("hf-hub:paige-ai/Virchow2") is PRESETS["virchow2"]
    assert find_preset("hf-hub:paige-ai/Virchow") is PRESETS["virchow"]
    assert find_preset("hf-hub:paige-ai/Vir") is None
