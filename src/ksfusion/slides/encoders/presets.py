"""The patch encoders that have a name of their own, and how each was published.

The Snakefile checks the name each time it is parsed, so neither torch nor timm is imported here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from ksfusion.core.errors import UserError
from ksfusion.core.near_names import did_you_mean
from ksfusion.core.packages import module_file

RESNET50, LITE0, SEEDED = "resnet50", "efficientnet-lite0", "seeded-conv"
TIMM, HUB = "timm:", "hf-hub:"
# Packages whose encoders are known by their own names, and what begins these here.
TRIDENT, SLIDE2VEC = "trident:", "slide2vec:"
COLLECTIONS = (TRIDENT, SLIDE2VEC)
_ANY_MODEL = re.compile(
    r"timm:[A-Za-z0-9][\w.-]*|hf-hub:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?"
    r"|(trident|slide2vec):[A-Za-z0-9][\w.-]*"
)

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


@functools.cache
def own_encoders() -> tuple[EntryPoint, ...]:
    """Return the encoders that other packages bring, under the entry points ``ksfusion.encoders``."""
    return tuple(sorted(entry_points(group="ksfusion.encoders"), key=lambda entry: entry.name))


def modules_of_encoder(name: str) -> tuple[str, ...]:
    """Return the module of an encoder that another package brings, whose code counts; nothing for the others."""
    modules = [entry.module for entry in own_encoders() if entry.name == name]
    return tuple(module for module in modules if module_file(module) is not None)


def built_here() -> list[str]:
    """Return the presets whose networks timm has: not those that other packages build."""
    return [name for name, preset in PRESETS.items() if preset.architecture]


def packages_of_encoder(name: str) -> list[str]:
    """Return the packages of which one builds an encoder, beside timm; none for those that are built here."""
    preset = find_preset(name)
    names = preset.elsewhere if preset else (name,) if name.startswith(COLLECTIONS) else ()
    return [other.partition(":")[0] for other in names]


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
        of_packages = [entry.name for entry in own_encoders()]
        if name in of_packages and weights is None:
            return
        collections = [f"{prefix}NAME" for prefix in COLLECTIONS]
        known = ", ".join(
            [RESNET50, LITE0, *PRESETS, f"{TIMM}NAME", f"{HUB}OWNER/NAME", *collections, *of_packages, SEEDED]
        )
        meant = did_you_mean(name, (RESNET50, LITE0, *PRESETS, *of_packages, SEEDED))
        raise UserError(f"features.encoder: unknown encoder {name!r}; known: {known}{meant}")
    if weights is None:
        return
    built_elsewhere = (preset := find_preset(name)) is not None and not preset.architecture
    if built_elsewhere or name.startswith(COLLECTIONS):
        raise UserError(f"features.weights: {name} is built by another package, which has its weights; set it to null")
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
