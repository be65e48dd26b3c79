"""Patch encoders: from normalised patches to feature vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ksfusion.errors import UserError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEEDED_MEAN, SEEDED_STD = 0.5, 0.25
NOT_IN_THIRD_BLOCK = ("layer4.", "fc.")

_ENCODERS: dict[str, Callable[[str | None, int], Encoder]] = {}


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
        self.eval().requires_grad_(False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) normalised patches as (B, d)."""
        return self.network(patches)


def register(name: str) -> Callable:
    """Enter a function (weights, seed) -> Encoder under a name; a name ending in ``:`` is a prefix."""

    def enter(function: Callable) -> Callable:
        _ENCODERS[name] = function
        return function

    return enter


def build_encoder(name: str, weights: str | Path | None = None, seed: int = 0) -> Encoder:
    """Build a patch encoder.

    Parameters
    ----------
    name
        ``resnet50`` (third block, 1024 features), ``timm:NAME`` or ``hf-hub:OWNER/NAME`` (pooled features of any timm
        model), or ``seeded-conv`` (for demonstrations: not pretrained).
    weights
        A file of weights, safetensors or PyTorch (read without unpickling code); by default they are fetched.
    seed
        Of ``seeded-conv``.

    Returns
    -------
    Encoder

    Raises
    ------
    UserError
        If the name is unknown, the weights cannot be fetched, or the file does not fit the network.
    """
    prefix = name.split(":")[0] + ":" if ":" in name else name
    if prefix not in _ENCODERS:
        known = ", ".join(key + "NAME" if key.endswith(":") else key for key in _ENCODERS)
        raise UserError(f"features.encoder: unknown encoder {name!r}; known: {known}")
    build = _ENCODERS[prefix]
    if name == "seeded-conv":
        if weights is not None:
            raise UserError("features.weights: seeded-conv has no weights to load; set it to null")
        return build(name, None, seed)
    return build(name, None if weights is None else Path(weights), seed)


class ThirdBlock(nn.Module):
    """A ResNet up to its third block, averaged over the patch."""

    def __init__(self, resnet: nn.Module):
        super().__init__()
        for part in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3"):
            setattr(self, part, getattr(resnet, part))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) as (B, 1024)."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(patches))))
        return self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3))


@register("resnet50")
def _resnet50(name: str, weights: Path | None, seed: int) -> Encoder:
    resnet = _create_timm("resnet50.tv_in1k", weights)
    network = ThirdBlock(resnet)
    if weights is not None:
        _load(network, weights, unused=NOT_IN_THIRD_BLOCK)
    return Encoder(network, n_features=1024)


@register("timm:")
@register("hf-hub:")
def _timm(name: str, weights: Path | None, seed: int) -> Encoder:
    import timm

    model = _create_timm(name.removeprefix("timm:"), weights)
    classifier = model.default_cfg.get("classifier") or ()
    if weights is not None:
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        _load(model, weights, unused=tuple(f"{head}." for head in heads))
    data = timm.data.resolve_model_data_config(model)
    fixed = model.default_cfg.get("fixed_input_size", False)
    return Encoder(
        model,
        n_features=model.num_features,
        mean=data["mean"],
        std=data["std"],
        input_px=data["input_size"][-1] if fixed else None,
    )


def _create_timm(name: str, weights: Path | None) -> nn.Module:
    """Create a timm model without its classifier; with fetched weights unless a file of them is given."""
    import timm

    if not name.startswith("hf-hub:") and not timm.is_model(name):
        raise UserError(f"features.encoder: timm {timm.__version__} has no model {name!r}; see timm.list_models()")
    try:
        return timm.create_model(name, pretrained=weights is None, num_classes=0)
    except Exception as error:  # the hub's client, the network and timm each fail in their own way
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"features.encoder: {name} could not be fetched ({first_line}); where there is no internet, download its "
            "weights elsewhere and name the file in features.weights"
        ) from None


def _load(network: nn.Module, path: Path, *, unused: tuple[str, ...]) -> None:
    """Load a file of weights; keys that start with one of ``unused`` may be there."""
    given = _read_weights(path)
    own = network.state_dict()
    given = {key: value for key, value in given.items() if key in own or not key.startswith(unused)}
    problems = {
        "lacks": sorted(own.keys() - given.keys()),
        "has unknown": sorted(given.keys() - own.keys()),
        "has other shapes of": sorted(key for key in own.keys() & given.keys() if own[key].shape != given[key].shape),
    }
    found = [f"{what} {keys[0]} and {len(keys) - 1} more" for what, keys in problems.items() if keys]
    if found:
        raise UserError(f"features.weights: {path} does not fit the encoder: it {'; '.join(found)}; check the encoder")
    network.load_state_dict(given)


def _read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """Read safetensors, or a PyTorch file of tensors only."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"features.weights: {path} is not there; check the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"features.weights: {path} cannot be read as weights ({error})") from None
    except Exception as error:  # pickle's own errors
        first_line = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"features.weights: {path} holds more than tensors or is damaged ({first_line}); convert it to safetensors"
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"features.weights: {path} is not a table of tensors; save the model's state_dict")
    return {key.removeprefix("module."): value for key, value in content.items()}


class SeededConv(nn.Module):
    """Two layers of random filters, each summed up by the mean and the spread of its responses over the patch.

    Not pretrained: its weights are drawn once from a seed. The means follow colour and the density of nuclei, the
    spreads texture, so that a linear model can tell them apart; it is for demonstrations and tests, where no weights
    may be fetched and a processor must do. Each summary is brought to mean 0 and spread 1 over drawn textures in the
    colours of haematoxylin and eosin, as batch normalisation would: random filters differ by orders of magnitude.

    Attributes
    ----------
    n_features : int
        192: mean and standard deviation of 32 and of 64 filters.
    """

    widths = (32, 64)
    n_features = 2 * sum(widths)

    def __init__(self, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        first, second = self.widths
        self.conv1 = nn.Conv2d(3, first, kernel_size=5, stride=2, bias=True)
        self.conv2 = nn.Conv2d(first, second, kernel_size=3, stride=2, bias=True)
        with torch.no_grad():
            for convolution in (self.conv1, self.conv2):
                fan_in = convolution.weight[0].numel()
                convolution.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
                convolution.bias.normal_(0, 0.5, generator=generator)
            scale, shift = torch.std_mean(self._summaries(_drawn_textures(generator)), dim=0)
        # A filter that hardly responds would otherwise be blown up to noise.
        self.register_buffer("scale", scale.clamp(min=float(scale.median()) / 10))
        self.register_buffer("shift", shift)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Encode (B, 3, H, W) as (B, 192)."""
        # At half the scale a nucleus still spans eight pixels, for a quarter of the work.
        return (self._summaries(nn.functional.avg_pool2d(patches, 2)) - self.shift) / self.scale

    def _summaries(self, x: torch.Tensor) -> torch.Tensor:
        summaries = []
        for convolution in (self.conv1, self.conv2):
            x = convolution(x).relu_()
            variance, mean = torch.var_mean(x, dim=(2, 3), correction=0)
            summaries += [mean, variance.sqrt()]
        return torch.cat(summaries, dim=1)


def _drawn_textures(generator: torch.Generator, count: int = 96, size: int = 112) -> torch.Tensor:
    """Draw patches of blobs of haematoxylin on clouds of eosin, at 1 um/px, as the demo encoder is given them.

    The amount of each stain, the density and the size of the blobs vary evenly from patch to patch.
    """
    stains = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # Ruifrok and Johnston's optical densities

    def clouds(cells: int) -> torch.Tensor:
        noise = torch.randn((1, count, cells, cells), generator=generator)
        return nn.functional.interpolate(noise, size=(size, size), mode="bicubic")[0]

    def amount(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand((count, 1, 1), generator=generator)

    blobs = torch.where(torch.rand((count, 1, 1), generator=generator) < 0.5, clouds(14), clouds(9))
    haematoxylin = amount(0.05, 0.3) + amount(0.6, 1.6) * (blobs > amount(0.4, 2.2))
    eosin = amount(0.2, 0.9) * (1 + 0.5 * clouds(5) + 0.5 * clouds(50)).clamp(min=0)
    density = torch.einsum("snhw,sc->nchw", torch.stack([haematoxylin, eosin]), stains)
    return (torch.exp(-density) - SEEDED_MEAN) / SEEDED_STD


@register("seeded-conv")
def _seeded_conv(name: str, weights: Path | None, seed: int) -> Encoder:
    return Encoder(SeededConv(seed), n_features=SeededConv.n_features, mean=(SEEDED_MEAN,) * 3, std=(SEEDED_STD,) * 3)
