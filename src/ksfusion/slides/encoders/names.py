"""The names of encoders: which there may be, whether their weights may be given, and which patches they take.

The Snakefile checks the name each time it is parsed, so neither torch nor timm is imported here.
"""

from __future__ import annotations

import functools
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from ksfusion.core.errors import UserError
from ksfusion.core.near_names import did_you_mean
from ksfusion.core.packages import module_file
from ksfusion.slides.encoders.presets import PRESETS, Preset

RESNET50, LITE0, SEEDED = "resnet50", "efficientnet-lite0", "seeded-conv"
TIMM, HUB = "timm:", "hf-hub:"
# Those that a thread encodes at once, where a processor encodes.
PATCHES_AT_ONCE = 16
# Packages whose encoders are known by their own names, and what begins these here.
TRIDENT, SLIDE2VEC = "trident:", "slide2vec:"
COLLECTIONS = (TRIDENT, SLIDE2VEC)
_ANY_MODEL = re.compile(
    r"timm:[A-Za-z0-9][\w.-]*|hf-hub:[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?"
    r"|(trident|slide2vec):[A-Za-z0-9][\w.-]*"
)


@functools.cache
def own_encoders() -> tuple[EntryPoint, ...]:
    """Return the encoders that other packages bring, under the entry points ``ksfusion.encoders``."""
    return tuple(sorted(entry_points(group="ksfusion.encoders"), key=lambda entry: entry.name))


def modules_of_encoder(name: str) -> tuple[str, ...]:
    """Return the module of an encoder that another package brings, whose code counts; nothing for the others."""
    modules = [entry.module for entry in own_encoders() if entry.name == name]
    return tuple(module for module in modules if module_file(module) is not None)


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
