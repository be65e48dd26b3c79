"""A stain target of the user's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.provenance import provenance
from ksfusion.core.storage import write_text
from ksfusion.slides.stain.target import fit_target


def fit_stain_target(images: Sequence[Path], output: Path) -> None:
    """Fit a stain target on images of well stained tissue.

    Parameters
    ----------
    images
        Plain images, each with the same weight: PNG, JPEG or TIFF regions.
    output
        The JSON file for ``stain.target``; it names the images and their digests, and holds numbers only.

    Raises
    ------
    UserError
        If an image cannot be read, or holds no two stains.
    """
    target = fit_target(images)
    target["provenance"] |= provenance(__name__)
    write_text(json.dumps(target, indent=1) + "\n", output)
