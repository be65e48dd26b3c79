"""Pictures of the pages, from a finished demo: chosen ones of its results, and its report as a browser shows it.

``python tools/pictures.py --demo demo --output docs`` (``make docs-pictures``). The report needs Chromium; without it
its picture stays. ``docs/encoder.png`` is made by ``benchmarks/encoder.py``, from real slides.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

log = logging.getLogger(__name__)
# Name on the pages to file of the results: the same whichever machine has drawn them.
CHOSEN = {
    "slide.jpg": "slides/KG-001-DX1.png",
    "attention.jpg": "heatmaps/diagnosis/ksfusion/fold0/seed0/{first}",
    "differences.png": "figures/forest_survival.png",
    "genes.png": "figures/attributions_ksfusion_fold0.png",
}
WIDTH, COLOURS, QUALITY = 1000, 256, 82
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORT_SIZE = (1140, 860)
# Of the report, what stands between these is left out: the table is on the picture then.
LEFT_OUT = ('<h2 id="answer"', '<h2 id="table1"')


def first_heatmap(folder: Path) -> str:
    """Return the first picture that a folder of heat maps lists."""
    header, first = (line.split("\t") for line in (folder / "heatmaps.tsv").read_text(encoding="utf-8").split("\n")[:2])
    return first[header.index("heatmap")]


def small(source: Path, target: Path) -> None:
    """Write a picture at most `WIDTH` px wide: as JPEG, or as PNG with few colours."""
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".png":
        picture = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(target, optimize=True, quality=QUALITY)


def report(page: Path, target: Path) -> None:
    """Write Table 1 of a report as a browser shows it."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        log.warning("%s stays as it is: none of %s is here", target, ", ".join(BROWSERS))
        return
    text = page.read_text(encoding="utf-8")
    first, last = (text.index(part) for part in LEFT_OUT)
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "report.html"
        cut.write_text(text[:first] + text[last:], encoding="utf-8")
        shot, size = Path(folder) / "report.png", ",".join(map(str, REPORT_SIZE))
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        command = [browser, *options, f"--screenshot={shot}", f"--window-size={size}", cut.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        small(shot, target)


def pictures(demo: Path, output: Path) -> None:
    """Write all pictures.

    Parameters
    ----------
    demo
        The folder of a finished demo, with ``results`` in it.
    output
        The folder of the pages.
    """
    results = demo / "results"
    for name, file in CHOSEN.items():
        source = results / file
        small(source.parent / first_heatmap(source.parent) if "{first}" in file else source, output / "pictures" / name)
    report(results / "report.html", output / "report.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    pictures(arguments.demo, arguments.output)
