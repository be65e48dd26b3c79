"""The patch encoders that have a name of their own, and how each was published.

The Snakefile checks the name each time it is parsed, so neither torch nor timm is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ksfusion.core.errors import UserError

RESNET50, LITE0, SEEDED = "resnet50", "efficientnet-lite0", "seeded-conv"
TIMM, HUB = "timm:", "hf-hub:"
_ANY_MODEL = re.compile(r"timm:[A-Za-z0-9][\w.-]*|hf-hub:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preset:
    """A published vision transformer for pathology.

    Attributes
    ----------
    repository
        Where its weights are on the Hugging Face hub; most ask for a login and for consent to their terms.
    architecture, options
        The timm model and its keywords.
    swiglu
        Whether its blocks have packed SwiGLU layers in place of the usual two.
    norm_eps
        Of its layer norms.
    n_features
        Length of a feature vector.
    pooling
        ``token``: the class token. ``token+mean``: that and the mean of the patch tokens, without the registers.
    layout
        How the keys of its weight file are named: by timm, or by the ViT or the DINOv2 model of transformers.
    mean, std, input_px
        What it expects of a patch.
    """

    repository: str
    architecture: str
    n_features: int
    options: Mapping[str, Any] = field(default_factory=dict)
    swiglu: bool = False
    norm_eps: float = 1e-6
    pooling: Literal["token", "token+mean"] = "token"
    layout: Literal["timm", "vit", "dinov2"] = "timm"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    input_px: int = 224


# From the model cards.
PRESETS = {
    "uni": Preset("MahmoodLab/UNI", "vit_large_patch16_224", 1024, {"init_values": 1e-5}),
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
    ),
    "virchow2": Preset(
        "paige-ai/Virchow2",
        "vit_huge_patch14_224",
        2560,
        {"init_values": 1e-5, "mlp_ratio": 5.3375, "reg_tokens": 4, "global_pool": ""},
        swiglu=True,
        pooling="token+mean",
    ),
    "h-optimus-1": Preset(
        "bioptimus/H-optimus-1",
        "vit_giant_patch14_reg4_dinov2",
        1536,
        {"img_size": 224, "init_values": 1e-5, "global_pool": "token"},
        mean=(0.707223, 0.578729, 0.703617),
        std=(0.211883, 0.230117, 0.177517),
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
    ),
    "phikon": Preset("owkin/phikon", "vit_base_patch16_224", 768, norm_eps=1e-12, layout="vit"),
    "phikon-v2": Preset("owkin/phikon-v2", "vit_large_patch16_224", 1024, {"init_values": 1e-5}, layout="dinov2"),
}


def find_preset(name: str) -> Preset | None:
    """Return the preset of a name, or of its repository's, in any letters; None for the other encoders."""
    name = name.lower()
    named = (preset for key, preset in PRESETS.items() if name in (key, f"{HUB}{preset.repository}".lower()))
    return next(named, None)


def check_encoder(name: str, weights: str | Path | None = None) -> None:
    """Raise UserError unless an encoder of this name may exist, and the weights may be its own.

    Whether timm or the hub has the model is seen when it is built.
    """
    if name not in (RESNET50, LITE0, SEEDED) and find_preset(name) is None and not _ANY_MODEL.fullmatch(name):
        known = ", ".join([RESNET50, LITE0, *PRESETS, f"{TIMM}NAME", f"{HUB}OWNER/NAME", SEEDED])
        raise UserError(f"features.encoder: unknown encoder {name!r}; known: {known}")
    if weights is None:
        return
    if name == SEEDED:
        raise UserError(f"features.weights: {SEEDED} has no weights to load; set it to null")
    if name == LITE0:
        raise UserError(
            f"features.weights: {LITE0} comes with its own; set it to null, or the encoder to "
            f"{TIMM}tf_efficientnet_lite0"
        )
    if not Path(weights).exists():
        raise UserError(
            f"features.weights: {weights} is not there; correct the path "
            "(relative paths start at the working directory)"
        )
    if not Path(weights).is_file():
        what = "a folder; name the weight file in it" if Path(weights).is_dir() else "a device or a pipe; name a file"
        raise UserError(f"features.weights: {weights} is {what}")


def check_patch_size(name: str, demanded_px: int | None, patch_px: int, input_px: int | None = None) -> None:
    """Raise UserError if an encoder cannot be given the patches.

    Parameters
    ----------
    name
        The encoder.
    demanded_px
        The side that it demands; None where it takes any.
    patch_px, input_px
        ``slides.patch_px``, and ``features.input_px``, to which patches are shrunk.
    """
    if input_px is not None and input_px > patch_px:
        raise UserError(
            f"features.input_px: patches of {patch_px} px (slides.patch_px) are shrunk, not blown up, and {input_px} "
            "is more; leave it out, or make it smaller"
        )
    given_px = input_px or patch_px
    if demanded_px not in (None, given_px):
        key = "slides.patch_px" if input_px is None else "features.input_px"
        raise UserError(
            f"features.encoder: {name} takes patches of {demanded_px} px; set {key} to that (it is {given_px})"
        )
