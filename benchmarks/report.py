"""How large the report of a long cohort is, and how long a browser takes to open it.

    python benchmarks/report.py [--results demo/results] [--slides 2400]

Takes a finished run, repeats its slides and samples under new names up to so many, and writes the report anew. Opens it
in headless Chromium, where there is one, and prints the time from its start to the event `load`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd

from ksfusion.core.provenance import forget_modules
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.results.report.files import ReportFiles
from ksfusion.results.stage_settings import WriteReportSettings
from ksfusion.stages.write_report import write_report

READY = (
    "<script>addEventListener('load', () => setTimeout(() => { document.title = 'loaded ' + "
    "performance.getEntriesByType('navigation')[0].loadEventEnd; }));</script></head>"
)


def repeated(table: pd.DataFrame, columns: list[str], count: int) -> pd.DataFrame:
    """Repeat the rows of a table, with a number behind the ids of each repetition."""
    parts = []
    while sum(map(len, parts)) < count:
        part = table.copy()
        for column in columns:
            part[column] = part[column].astype(str) + f"-{len(parts)}"
        parts.append(part)
    return pd.concat(parts).iloc[:count]


def enlarge(results: Path, folder: Path, count: int) -> list[Path]:
    """Write ledgers of so many slides, and the lists of their pictures, which are links to those that there are."""
    slides = read_tsv(results / "slides.tsv", dtype={"slide_id": str})
    samples = read_tsv(results / "samples.tsv", dtype=str)
    write_tsv(repeated(slides, ["slide_id"], count), folder / "slides.tsv")
    write_tsv(repeated(samples, ["sample_id", "case_id", "slide_id"], count), folder / "samples.tsv")
    lists = []
    for path in sorted((results / "slides").glob("*.tsv")):
        listed = read_tsv(path, dtype=str).dropna(subset=["overview"])
        more = repeated(listed, ["slide_id"], len(listed) * count // len(slides))
        (folder / "slides").mkdir(exist_ok=True)
        for name in listed["overview"]:
            shutil.copy(path.with_name(name), folder / "slides" / name)
        write_tsv(more, folder / "slides" / path.name)
        lists.append(folder / "slides" / path.name)
    return lists


def seconds_to_load(page: Path) -> float | None:
    """Return the time that Chromium takes from the start of the page to its `load` event; None without Chromium."""
    if not (program := shutil.which("chromium")):
        return None
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    timed = page.with_name("timed.html")
    timed.write_text(text.replace("</head>", READY, 1), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--timeout=20000", "--dump-dom"]
    done = subprocess.run([program, *options, timed.as_uri()], capture_output=True, text=True, check=True)
    found = re.search(r"<title>loaded ([\d.]+)", done.stdout)
    return float(found[1]) / 1000 if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("demo/results"))
    parser.add_argument("--slides", type=int, default=2400)
    args = parser.parse_args()
    results, tables = args.results, args.results / "tables"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = enlarge(results, folder, args.slides)
        forget_modules()
        begun = time.perf_counter()
        files = ReportFiles(
            tables=tables,
            figures=results / "figures",
            slides=folder / "slides.tsv",
            samples=folder / "samples.tsv",
            audit=results / "cohort/audit.tsv",
            leakage=results / "cohort/leakage.tsv",
            expression_findings=results / "genes/findings.tsv",
            selected=sorted(results.glob("genes/fold*/selected.tsv")),
            overviews=lists,
            heatmaps=sorted(results.glob("heatmaps/*/*/*/*/heatmaps.tsv")),
            comparisons=tables / "comparisons.tsv",
        )
        write_report(
            files,
            folder / "report.html",
            settings=WriteReportSettings(config={}),
        )
        written = time.perf_counter() - begun
        size = (folder / "report.html").stat().st_size / 1e6
        loaded = seconds_to_load(folder / "report.html")
        browser = "no chromium here" if loaded is None else f"opened in {loaded:.2f} s"
        print(f"{args.slides} slides: {size:.1f} MB, written in {written:.1f} s, {browser}")


if __name__ == "__main__":
    main()
