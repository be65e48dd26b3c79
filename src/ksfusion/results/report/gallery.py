"""Slides and heatmaps on the report: small pictures of those worth a look, links to the rest."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ksfusion.core.storage import read_tsv
from ksfusion.results.tables.layout import method_label, plain
from ksfusion.terms.flags import FLAGS

MOST_PICTURES = 24
PICTURE_PX, HEATMAP_PX, JPEG_QUALITY = 420, 1160, 82
# A slide is shown before others where at least so many of its tiles have a flag.
WORTH_A_LOOK = 0.05


def slide_gallery(slides: pd.DataFrame, overviews: Sequence[Path], *, report: Path) -> dict[str, Any]:
    """Choose the slides to show, those with warnings first and the worst of them at the top.

    Parameters
    ----------
    slides
        The ledger of slides.
    overviews
        The lists of `ksfusion.slides.tiles.overview.draw_batch`.
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
    links = [{"slide_id": slide_id, "link": _link(files[slide_id], report)} for slide_id in drawn["slide_id"]]
    shown = list(zip(drawn.iloc[:MOST_PICTURES].to_dict("records"), links, strict=False))
    return {
        "total": len(drawn),
        "pictures": [
            {
                **link,
                "image": _small(files[row["slide_id"]], PICTURE_PX),
                "about": _about(row),
                "warnings": row["warnings"],
            }
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


def heatmap_gallery(lists: Sequence[Path], *, report: Path) -> list[dict[str, Any]]:
    """Choose the heatmaps to show: the first and the last of a task and method, which differ in class or risk.

    Parameters
    ----------
    lists
        The lists of `ksfusion.stages.draw_heatmaps`, in folders ``{task}/{method}/fold{fold}/seed{seed}``.
    report
        The page, from whose folder links start.

    Returns
    -------
    list of dict
        Of each run that has any: ``title``, ``pictures`` (sample_id, image, link; of the first run of a task and method
        alone) and ``links`` (sample_id, link) of the others.
    """
    runs, shown = [], set()
    for path in lists:
        task, method, fold, seed = path.parts[-5:-1]
        files = [file for name in read_tsv(path, dtype=str)["heatmap"] if (file := path.with_name(name)).is_file()]
        if not files:
            continue
        ends = [] if (task, method) in shown else list(dict.fromkeys([files[0], files[-1]]))
        shown.add((task, method))
        which = f"fold {fold.removeprefix('fold')}, seed {seed.removeprefix('seed')}"
        entries = [{"sample_id": file.stem, "link": _link(file, report)} for file in files]
        runs.append(
            {
                "title": f"{plain(task).capitalize()}, {method_label(method)}, {which}",
                "pictures": [
                    {**entry, "image": _small(file, HEATMAP_PX)}
                    for file, entry in zip(files, entries, strict=True)
                    if file in ends
                ],
                "links": [entry for file, entry in zip(files, entries, strict=True) if file not in ends],
            }
        )
    return runs


def _link(file: Path, report: Path) -> str:
    return Path(os.path.relpath(file, report.parent)).as_posix()


def _small(path: Path, longest: int) -> str:
    """Return a picture as the text of a small JPEG."""
    from PIL import Image

    with Image.open(path) as image:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        image.convert("RGB").save(data, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
