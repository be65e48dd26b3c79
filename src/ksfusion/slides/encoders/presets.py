"""The patch encoders that have a name of their own, and how each was published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preset:
    """A published vision transformer for pathology.

    Attributes
    ----------
    repository
        Where its weights are on the Hugging Face hub; most ask for a login and for consent to their terms.
    architecture, options
        The timm model and its keywords; empty for one that is built by another package alone.
    swiglu
        Whether its blocks have packed SwiGLU layers in place of the usual two.
    norm_eps
        Of its layer norms.
    n_features
        Length of a feature vector.
    pooling
        ``token``: the class token. ``token+mean``: that and the mean of the patch tokens, without the registers.
        ``own``: a layer of the encoder's.
    layout
        How the keys of its weight file are named: by timm, or by the ViT or the DINOv2 model of transformers.
    mean, std, input_px
        What it expects of a patch.
    mpp
        Micrometres per pixel for which it is meant.
    licence
        Of its weights; empty where sources say nothing, or differ.
    gated
        Whether the hub gives its weights to who has agreed to their terms alone; None where sources differ.
    file
        Of its weights, where that has a name of its own.
    elsewhere
        Names of the same encoder in other packages, by which it is built where it has no architecture here.
    """

    repository: str
    architecture: str
    n_features: int
    options: Mapping[str, Any] = field(default_factory=dict)
    swiglu: bool = False
    norm_eps: float = 1e-6
    pooling: Literal["token", "token+mean", "own"] = "token"
    layout: Literal["timm", "vit", "dinov2"] = "timm"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    input_px: int = 224
    mpp: float = 0.5
    licence: str = ""
    gated: bool | None = None
    file: str | None = None
    elsewhere: tuple[str, ...] = ()

    @property
    def link(self) -> str:
        """Where its model card is."""
        return f"https://huggingface.co/{self.repository}"


NO_DERIVATIVES, APACHE, OWKIN = "CC-BY-NC-ND-4.0", "Apache-2.0", "Owkin non-commercial"
OPTIMUS_MEAN, OPTIMUS_STD = (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)
OPTIMUS_OPTIONS = {"img_size": 224, "init_values": 1e-5, "global_pool": "token"}

# From the model cards, and the loaders of TRIDENT, slide2vec and LazySlide.
PRESETS = {
    "uni": Preset(
        "MahmoodLab/UNI", "vit_large_patch16_224", 1024, {"init_values": 1e-5}, licence=NO_DERIVATIVES, gated=True
    ),
    "uni2-h": Preset(
        "MahmoodLab/UNI2-h",
        "vit_giant_patch14_224",
        1536,
        {
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "init_values": 1e-5,
            "no_embed_class": True,
            "reg_tokens": 8,
        },
        swiglu=True,
        licence=NO_DERIVATIVES,
        gated=True,
    ),
    "virchow": Preset(
        "paige-ai/Virchow",
        "vit_huge_patch14_224",
        2560,
        {"init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": ""},
        swiglu=True,
        pooling="token+mean",
        licence=APACHE,
        gated=True,
    ),
    "virchow2": Preset(
        "paige-ai/Virchow2",
        "vit_huge_patch14_224",
        2560,
        {"init_values": 1e-5, "mlp_ratio": 5.3375, "reg_tokens": 4, "global_pool": ""},
        swiglu=True,
        pooling="token+mean",
        licence=NO_DERIVATIVES,
        gated=True,
    ),
    "h-optimus-0": Preset(
        "bioptimus/H-optimus-0",
        "vit_giant_patch14_reg4_dinov2",
        1536,
        OPTIMUS_OPTIONS,
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        licence=APACHE,
    ),
    "h-optimus-1": Preset(
        "bioptimus/H-optimus-1",
        "vit_giant_patch14_reg4_dinov2",
        1536,
        OPTIMUS_OPTIONS,
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        licence=NO_DERIVATIVES,
        gated=True,
    ),
    "prov-gigapath": Preset(
        "prov-gigapath/prov-gigapath",
        "vit_giant_patch14_dinov2",
        1536,
        {
            "img_size": 224,
            "patch_size": 16,
            "depth": 40,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 5.33334,
            "init_values": 1e-5,
            "global_pool": "token",
        },
        licence="Apache-2.0 with conditions",
        gated=True,
    ),
    "phikon": Preset("owkin/phikon", "vit_base_patch16_224", 768, norm_eps=1e-12, layout="vit", licence=OWKIN),
    "phikon-v2": Preset(
        "owkin/phikon-v2", "vit_large_patch16_224", 1024, {"init_values": 1e-5}, layout="dinov2", licence=OWKIN
    ),
    "gpfm": Preset(
        "majiabo/GPFM",
        "vit_large_patch14_dinov2",
        1024,
        {"img_size": 224, "init_values": 1e-5},
        gated=False,
        file="GPFM.pth",
    ),
    "mstar": Preset("Wangyh/mSTAR", "vit_large_patch16_224", 1024, {"init_values": 1e-5}, gated=True),
    "conch-v1.5": Preset(
        "MahmoodLab/conchv1_5",
        "",
        768,
        pooling="own",
        input_px=448,
        licence=NO_DERIVATIVES,
        gated=True,
        elsewhere=("trident:conch_v15", "slide2vec:conchv15"),
    ),
    "h0-mini": Preset(
        "bioptimus/H0-mini",
        "",
        1536,
        pooling="token+mean",
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        licence=NO_DERIVATIVES,
        gated=True,
        elsewhere=("slide2vec:h0-mini",),
    ),
    "midnight": Preset(
        "kaiko-ai/midnight",
        "",
        3072,
        pooling="token+mean",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="MIT",
        elsewhere=("slide2vec:midnight",),
    ),
    "hibou-l": Preset(
        "histai/hibou-L",
        "",
        1024,
        mean=(0.7068, 0.5755, 0.722),
        std=(0.195, 0.2316, 0.1816),
        licence=APACHE,
        gated=True,
        elsewhere=("slide2vec:hibou-l", "trident:hibou_l"),
    ),
}


def built_here() -> list[str]:
    """Return the presets whose networks timm has: not those that other packages build."""
    return [name for name, preset in PRESETS.items() if preset.architecture]
