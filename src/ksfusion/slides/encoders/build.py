"""Patch encoders: from normalised patches to feature vectors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ksfusion.core.errors import UserError
from ksfusion.slides.encoders.collections import build_elsewhere
from ksfusion.slides.encoders.efficientnet import LITE0_MEAN, LITE0_STD, N_FEATURES, efficientnet_lite0
from ksfusion.slides.encoders.names import (
    COLLECTIONS,
    LITE0,
    RESNET50,
    SEEDED,
    TIMM,
    check_encoder,
    find_preset,
    modules_of_encoder,
)
from ksfusion.slides.encoders.presets import IMAGENET_MEAN, IMAGENET_STD, Preset
from ksfusion.slides.encoders.seeded import SEEDED_MEAN, SEEDED_STD, SeededConv
from ksfusion.slides.encoders.weights import fetch_weights, load_weights, not_fetched, read_weights, to_timm

NOT_IN_THIRD_BLOCK = ("layer4.", "fc.")


class Encoder(nn.Module):
    """A network that turns patches into vectors, with what it expects of them.

    Attributes
    ----------
    n_features : int
        Length of a feature vector, d.
    mean, std : tuple of float
        Of each colour, for values in 0 to 1: a patch is given as (value - mean) / std.
    input_px : int or None
        The side that the network demands; None where it takes any.
    dtype : torch.dtype
        In which its matrix products are computed.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        n_features: int,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        input_px: int | None = None,
    ):
        super().__init__()
        self.network = network
        self.n_features = n_features
        self.mean, self.std = tuple(mean), tuple(std)
        self.input_px = input_px
        self.dtype = torch.float32
        self.eval().requires_grad_(False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) normalised patches as (B, d) in single precision, whatever is computed within."""
        patches = patches.contiguous(memory_format=torch.channels_last)  # quicker for convolutions, on a CPU too
        if self.dtype == torch.float32:
            vectors = self.network(patches)
        else:
            with torch.autocast(patches.device.type, dtype=self.dtype):
                vectors = self.network(patches)
        if vectors.shape[1:] != (self.n_features,):
            raise UserError(
                f"features.encoder: it gives {tuple(vectors.shape[1:])} values a patch, not {self.n_features}; "
                "use a model with pooled features, or a preset"
            )
        return vectors.float()


def build_encoder(
    name: str,
    weights: str | Path | None = None,
    seed: int = 0,
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    compiled: bool = False,
) -> Encoder:
    """Build a patch encoder.

    Parameters
    ----------
    name
        ``resnet50`` (third block, 1024 features), a name of `ksfusion.slides.encoders.presets.PRESETS`, ``timm:NAME``
        or ``hf-hub:OWNER/NAME`` (pooled features of any timm model), ``trident:NAME`` or ``slide2vec:NAME`` (where that
        package is installed), the name of one that another package brings, ``efficientnet-lite0`` (1280 pooled
        features, its weights installed with this package), or ``seeded-conv`` (for tests: not pretrained).
    weights
        A file of weights, safetensors or PyTorch (read without unpickling code); by default they are fetched.
    seed
        The seed of ``seeded-conv``.
    device
        The device that computes it.
    precision
        ``float32``; or ``bfloat16`` or ``float16``: matrix products in that type, by PyTorch's automatic casting.
    compiled
        Compile the network (torch.compile) when it is first called.

    Returns
    -------
    Encoder

    Raises
    ------
    UserError
        If the name is unknown, the weights cannot be fetched, or the file does not fit the network.
    """
    check_encoder(name, weights)
    path, preset = None if weights is None else Path(weights), find_preset(name)
    if name == SEEDED:
        encoder = Encoder(SeededConv(seed), n_features=SeededConv.n_features, mean=SEEDED_MEAN, std=SEEDED_STD)
    elif name == LITE0:
        encoder = Encoder(efficientnet_lite0(), n_features=N_FEATURES, mean=LITE0_MEAN, std=LITE0_STD)
    elif name == RESNET50:
        encoder = _resnet50(path)
    elif preset and preset.architecture:
        encoder = _published(preset, path)
    elif preset or name.startswith(COLLECTIONS) or modules_of_encoder(name):
        encoder = _from_elsewhere(name)
    else:
        encoder = _any_timm(name.removeprefix(TIMM), path)
    encoder.dtype = getattr(torch, precision)
    encoder.to(device).to(memory_format=torch.channels_last)
    if compiled:
        encoder.network.compile()
    return encoder


def _from_elsewhere(name: str) -> Encoder:
    found = build_elsewhere(name)
    return Encoder(found.network, n_features=found.n_features, mean=found.mean, std=found.std, input_px=found.input_px)


class ThirdBlock(nn.Module):
    """A ResNet up to its third block, averaged over the patch."""

    def __init__(self, resnet: Any):
        super().__init__()
        self.conv1, self.bn1, self.act1, self.maxpool = resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool
        self.layer1, self.layer2, self.layer3 = resnet.layer1, resnet.layer2, resnet.layer3

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) as (B, 1024)."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(patches))))
        return self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3))


class TokenAndMean(nn.Module):
    """A vision transformer's class token beside the mean of its patch tokens; registers are left out."""

    def __init__(self, transformer: Any):
        super().__init__()
        self.transformer = transformer

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) as (B, 2 x width)."""
        tokens = self.transformer(patches)  # (B, prefix + patches, width)
        return torch.cat([tokens[:, 0], tokens[:, self.transformer.num_prefix_tokens :].mean(dim=1)], dim=1)


def _resnet50(weights: Path | None) -> Encoder:
    network = ThirdBlock(_create_timm("resnet50.tv_in1k", pretrained=weights is None))
    if weights is not None:
        load_weights(network, read_weights(weights), weights, unused=NOT_IN_THIRD_BLOCK)
    return Encoder(network, n_features=1024)


def _published(preset: Preset, weights: Path | None) -> Encoder:
    # Without memory until the weights come: drawing a billion of them first takes half a minute.
    with torch.device("meta"):
        network = create_published(preset)
    given = fetch_weights(preset.repository, preset.file) if weights is None else read_weights(weights)
    load_weights(network, to_timm(given, preset.layout), weights or preset.repository)
    pooled = TokenAndMean(network) if preset.pooling == "token+mean" else network
    return Encoder(pooled, n_features=preset.n_features, mean=preset.mean, std=preset.std, input_px=preset.input_px)


def create_published(preset: Preset) -> nn.Module:
    """Create the network of a preset without its weights."""
    import timm
    from timm.layers.mlp import SwiGLUPacked
    from timm.layers.norm import LayerNorm

    options: dict[str, Any] = {**preset.options, "norm_layer": partial(LayerNorm, eps=preset.norm_eps)}
    if preset.swiglu:
        options |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    return timm.create_model(preset.architecture, num_classes=0, **options)


def _any_timm(name: str, weights: Path | None) -> Encoder:
    from timm.data.config import resolve_model_data_config

    model: Any = _create_timm(name, pretrained=weights is None)
    if weights is not None:
        classifier = model.default_cfg.get("classifier") or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        load_weights(model, read_weights(weights), weights, unused=tuple(f"{head}." for head in heads))
    data = resolve_model_data_config(model)
    fixed = model.default_cfg.get("fixed_input_size", False)
    return Encoder(
        model,
        # Some models widen their features behind the pooling.
        n_features=getattr(model, "head_hidden_size", None) or model.num_features,
        mean=data["mean"],
        std=data["std"],
        input_px=data["input_size"][-1] if fixed else None,
    )


def _create_timm(name: str, *, pretrained: bool) -> nn.Module:
    """Create a timm model without its classifier, with its own weights or drawn ones."""
    import timm

    if not name.startswith("hf-hub:") and not timm.is_model(name):
        raise UserError(f"features.encoder: timm {timm.__version__} has no model {name!r}; see timm.list_models()")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # the hub's client, the network and timm each fail in their own way
        raise not_fetched(name, error) from None
