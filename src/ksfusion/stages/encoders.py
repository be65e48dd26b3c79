"""The encoders of patches that have a name, and whether their weights are here."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ksfusion.slides.encoders.hub import RESNET50_REPOSITORY, WEIGHT_FILES, is_cached
from ksfusion.slides.encoders.names import COLLECTIONS, LITE0, RESNET50, own_encoders
from ksfusion.slides.encoders.presets import PRESETS, Preset

HEADER = ("encoder", "features", "patch px", "um/px", "pooling", "gated", "weights", "licence", "model card")
UNKNOWN, NOT_HERE = "-", "not here"


def encoders() -> None:
    """List the encoders of patches by name, what they expect of patches, and whether their weights are here.

    Any other of timm (timm:NAME) or of the Hugging Face hub (hf-hub:OWNER/NAME) can be named too, and those of TRIDENT
    (trident:NAME) and slide2vec (slide2vec:NAME) where that package is installed.
    """
    resnet = "here" if is_cached(RESNET50_REPOSITORY) else NOT_HERE
    timm = "https://huggingface.co/timm"
    rows: list[tuple[str, ...]] = [HEADER]
    rows += [
        (LITE0, "1280", "any", "0.5", "mean", "no", "here", "Apache-2.0", f"{timm}/tf_efficientnet_lite0.in1k"),
        (
            RESNET50,
            "1024",
            "any",
            "0.5",
            "mean of block 3",
            "no",
            resnet,
            "BSD-3-Clause",
            f"https://huggingface.co/{RESNET50_REPOSITORY}",
        ),
    ]
    rows += [_row(name, preset) for name, preset in PRESETS.items()]
    rows += [
        (entry.name, *[UNKNOWN] * 5, "its package's", UNKNOWN, entry.dist.name if entry.dist else UNKNOWN)
        for entry in own_encoders()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{line.rstrip()}\n")
    for prefix in COLLECTIONS:
        package = prefix.removesuffix(":")
        there = "installed: its encoders are known by their names" if find_spec(package) else "not installed"
        sys.stdout.write(f"{prefix}NAME: {there}\n")


def _row(name: str, preset: Preset) -> tuple[str, ...]:
    files = (preset.file,) if preset.file else WEIGHT_FILES
    here = "here" if is_cached(preset.repository, files) else NOT_HERE
    if not preset.architecture:
        packages = [other.partition(":")[0] for other in preset.elsewhere]
        here = "by " + " or ".join(dict.fromkeys(packages))
    gated = UNKNOWN if preset.gated is None else "yes" if preset.gated else "no"
    about = (str(preset.n_features), str(preset.input_px), f"{preset.mpp:g}", preset.pooling, gated, here)
    return (name, *about, preset.licence or UNKNOWN, preset.link)
