"""The slides on the report: small pictures of those worth a look, links to the rest."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ksfusion.flags import FLAGS
from ksfusion.storage import read_tsv

MOST_PICTURES = 24
PICTURE_PX, JPEG_QUALITY = 420, 82
# A slide is shown before others where at least so many of its tiles have a flag.
WORTH_A_LOOK = 0.05


def slide_gallery(slides: pd.DataFrame, overviews: Sequence[Path], *, report: Path) -> dict[str, Any]:
    """Choose the slides to show, those with warnings first and the worst of them at the top.

    Parameters
    ----------
    slides
        The ledger of slides.
    overviews
        The lists of `ksfusion.slides.overview.draw_batch`.
    report
        The page, from whose folder links start.

    Returns
    -------
    dict
        ``pictures`` (slide_id, image, link, about, warnings), ``links`` (slide_id, link) of the others, and ``flags``
        (flag, meaning, slides, highest share in percent).
    """
    files = _pictures(overviews)
    drawn = slides[slides["slide_id"].isin(files)].copy()
    drawn["warnings"] = [_warnings(row) for _, row in drawn.iterrows()]
    drawn["worst"] = drawn[list(FLAGS)].max(axis=1).where(drawn["stain"] != "fallback", 1.0)
    drawn["worst"] = drawn["worst"].where(drawn["warnings"].map(bool), 0.0)
    drawn = drawn.sort_values(["worst", "slide_id"], ascending=[False, True])
    links = [
        {"slide_id": slide_id, "link": Path(os.path.relpath(files[slide_id], report.parent)).as_posix()}
        for slide_id in drawn["slide_id"]
    ]
    shown = list(zip(drawn.iloc[:MOST_PICTURES].to_dict("records"), links, strict=False))
    return {
        "total": len(drawn),
        "pictures": [
            {**link, "image": _small(files[row["slide_id"]]), "about": _about(row), "warnings": row["warnings"]}
            for row, link in shown
        ],
        "links": links[MOST_PICTURES:],
        "flags": _flags(drawn),
    }


def _pictures(overviews: Sequence[Path]) -> dict[str, Path]:
    """Return the picture of each slide that has one."""
    files = {}
    for path in overviews:
        listed = read_tsv(path, dtype=str).dropna(subset=["overview"])
        files |= {row.slide_id: path.with_name(row.overview) for row in listed.itertuples()}
    return {slide_id: file for slide_id, file in files.items() if file.is_file()}


def _warnings(row: pd.Series) -> list[str]:
    warnings = [f"{flag} {row[flag]:.0%}" for flag in FLAGS if row[flag] >= WORTH_A_LOOK]
    return warnings + ["stain not fitted"] * (row["stain"] == "fallback")


def _about(row: dict[str, Any]) -> str:
    repeated = f", {row['repeated_patches']} patches repeated" if row["repeated_patches"] else ""
    mask = ", your mask" if row["mask"] == "external" else ""
    return f"{row['tissue_mm2']:.3g} mm² of tissue{mask}, {row['tiles']} tiles{repeated}"


def _flags(drawn: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "flag": flag,
            "meaning": meaning,
            "slides": int((drawn[flag] > 0).sum()),
            "highest": round(100 * float(drawn[flag].max())) if len(drawn) else 0,
        }
        for flag, meaning in FLAGS.items()
    ]


def _small(path: Path) -> str:
    """Return a picture as the text of a small JPEG."""
    from PIL import Image

    with Image.open(path) as image:
        image.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        image.convert("RGB").save(data, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
