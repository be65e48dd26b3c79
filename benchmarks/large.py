"""What tens of thousands of slides take apart from their pixels: the plan, a dry run, the ledger, a run of tiny slides.

    python benchmarks/large.py plan dry-run ledger [--slides 30000]
    python benchmarks/large.py run [--slides 3000] [--cores 2]

plan      configuration and tables read and checked, in a process of its own
dry-run   `snakemake -n` of a study that has not begun: processor time, time on the clock, memory of the largest process
ledger    `ksfusion write-ledger` on files as a run of slides with 2,500 patches leaves them
run       drawn slides of 300 x 300 px through tiles, stain, patches and features to the store; what of it is start-up
          (each job's own, Snakemake's, and that of reading a slide in a process of its own)
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from ksfusion.core.features_file import FeaturesWriter
from ksfusion.core.ids import batch_of
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import atomic, write_parquet
from ksfusion.core.study import batches_for
from ksfusion.estimates.measuring import used_by, verb
from ksfusion.genes import gene_sets
from ksfusion.slides.config import TileSlidesSettings, Tiling
from ksfusion.terms.flags import FLAGS

PARTS = ("plan", "dry-run", "ledger", "run")
SLIDES_PER_CASE, N_GENES, PX = 3, 60, 300
TILES, PATCHES = 4000, 2500
LEDGER = '{"require": "paired", "pairing": "any", "tasks": {}}'
CLASSES = ["G2", "G3", "G4"]
PLAN = """
import sys, time
from pathlib import Path
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.plan import make_plan
started = time.process_time()
plan = make_plan(read_yaml(Path("my.yaml")), source="my.yaml", files=["my.yaml"])
made = time.process_time()
for batch in plan.batches:
    plan.slide_identities(batch), plan.raw_slides(batch)
plan.warnings()
told = f"plan {made - started:.2f} s, batches and warnings {time.process_time() - made:.2f} s of processor"
print(told, file=sys.stderr)
"""


def write_study(folder: Path, n_slides: int, *, drawn: bool) -> None:
    """Write tables, expression and configuration; slides are drawn, or files of one byte."""
    slides = folder / "slides"
    slides.mkdir()
    random = np.random.default_rng(0)
    samples, cases = [], {}
    for number in range(n_slides):
        case = f"c{number // SLIDES_PER_CASE:05d}"
        cases[case] = (CLASSES[int(random.integers(3))], int(random.integers(30, 3000)), int(random.integers(2)))
        path = slides / f"s{number:05d}.png"
        if drawn:
            tone = np.kron(random.uniform(0.7, 1.2, (10, 10)), np.ones((30, 30)))[..., None]
            rgb = np.array([150, 70, 145]) * tone + random.normal(0, 8, (PX, PX, 3))
            Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path, compress_level=1)
        else:
            path.write_bytes(b"\0")
        samples.append((f"s{number:05d}", case, "X", f"slides/{path.name}", case, "0.5"))
    write_rows(folder / "samples.tsv", ("sample_id", "case_id", "cohort", "slide", "expression_id", "mpp"), samples)
    rows = [(case, *values) for case, values in cases.items()]
    write_rows(folder / "cases.tsv", ("case_id", "grade", "survival_days", "event"), rows)
    names = list(gene_sets().groupby("niche")["symbol"].head(N_GENES // 2).unique())
    values = pd.DataFrame(random.lognormal(3, 1, (len(names), len(cases))).round(3), index=names, columns=list(cases))
    values.to_csv(folder / "expression.tsv", sep="\t", index_label="symbol")
    source = {"cohort": "X", "format": "matrix", "unit": "tpm", "path": "expression.tsv"}
    config = {
        "cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [source]},
        "slides": {"min_tiles": 1},
        "features": {"encoder": "seeded-conv"},
        "tasks": ["grading", "survival"],
    }
    if drawn:
        config["patches"] = {"count": 16}
        config["methods"] = ["snn"]
    (folder / "my.yaml").write_text(yaml.safe_dump(config))


def write_rows(path: Path, header, rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])


def measure_plan(n_slides: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, n_slides, drawn=False)
        (folder / "plan.py").write_text(PLAN)
        import subprocess

        subprocess.run([sys.executable, "plan.py"], cwd=folder, check=True)


def measure_dry_run(n_slides: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, n_slides, drawn=False)
        command = [*verb("run"), str(folder / "my.yaml"), "--dry-run", "--", "--quiet", "rules"]
        used = used_by(command)
        print(
            f"dry run of {n_slides:,} slides: {used.processor:.1f} s of processor, {used.clock:.1f} s, {used.mb:.0f} MB"
        )


def write_slide_files(folder: Path, n_slides: int) -> int:
    """Write what the stages of slides leave of each batch, and return the number of batches."""
    batches = batches_for(n_slides)
    by_batch: dict[int, list[str]] = {}
    for number in range(n_slides):
        slide_id = f"s{number:05d}"
        by_batch.setdefault(batch_of(slide_id, batches), []).append(slide_id)
    made = provenance("ksfusion.stages.tile_slides", TileSlidesSettings(slides=Tiling(batches=batches)).record())
    random = np.random.default_rng(0)
    for batch, slides in by_batch.items():
        n = len(slides) * TILES
        ids = np.repeat(slides, TILES)
        constant = {"status": "ok", "reason": "", "mpp_source": "header", "mask": "automatic", "masks_origin": ""}
        constant |= {"digest": "0" * 64, "thumbnail_hash": "0" * 16}
        columns = {"slide_id": ids, "tile": np.tile(np.arange(TILES, dtype=np.int32), len(slides))}
        columns |= {axis: random.integers(0, 10**5, n, dtype=np.int32) for axis in ("x", "y")}
        columns |= {"tissue": random.random(n, dtype=np.float32)} | {flag: random.random(n) < 0.1 for flag in FLAGS}
        numbers = {"mpp": 0.25, "width": 100_000, "height": 80_000, "tissue_mm2": 100.0, "tissue_share": 0.4}
        table = pd.DataFrame({**columns, **{key: np.full(n, value) for key, value in numbers.items()}})
        for key, value in constant.items():
            table[key] = pd.Categorical(np.repeat(value, n))
        write_parquet(table.astype({key: "str" for key in constant}), folder / f"tiles/{batch}.parquet", made)
        stain = pd.DataFrame({"slide_id": slides, "status": "ok", "reason": ""})
        write_parquet(stain, folder / f"stain/{batch}.parquet", made)
        chosen = np.tile(np.arange(PATCHES, dtype=np.int32), len(slides))
        patches = pd.DataFrame({"slide_id": np.repeat(slides, PATCHES), "tile": chosen})
        write_parquet(patches, folder / f"patches/{batch}.parquet", made)
        path = folder / f"features/{batch}.h5"
        with atomic(path) as temporary, FeaturesWriter(temporary, made) as file:
            for slide_id in slides:
                index = np.arange(PATCHES, dtype=np.int32)
                arrays = {"features": np.zeros((PATCHES, 4), np.float16), "coords": np.zeros((PATCHES, 2), np.int32)}
                file.write(slide_id, {"status": "ok", "reason": "", "mpp": 0.25}, {**arrays, "index": index})
    return len(by_batch)


def measure_ledger(n_slides: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, n_slides, drawn=False)
        write_slide_files(folder, n_slides)
        made = provenance("ksfusion.stages.check_cohort", {})
        samples = pd.read_csv(folder / "samples.tsv", sep="\t", dtype=str)
        samples["slide_id"] = samples["sample_id"]
        for column in (
            "tumour_id",
            "slide_specimen_id",
            "slide_block_id",
            "expression_specimen_id",
            "expression_block_id",
        ):
            samples[column] = ""
        write_parquet(samples, folder / "samples.parquet", made)
        cases = pd.DataFrame({"case_id": sorted(set(samples["case_id"])), "grading": "G2"})
        write_parquet(cases, folder / "cases.parquet", made)
        profiles = cases[["case_id"]].rename(columns={"case_id": "expression_id"}).assign(cohort="X", GENE=1.0)
        write_parquet(profiles, folder / "profiles.parquet", made)
        batches = sorted(path.stem for path in (folder / "tiles").glob("*.parquet"))
        options = ["--slides-output", "out/slides.tsv", "--samples-output", "out/samples.tsv", "--timing-output",
                   "out/timing.tsv", "--samples", "samples.parquet", "--cases", "cases.parquet", "--profiles",
                   "profiles.parquet", "--settings", LEDGER]  # fmt: skip
        for stage, ending in (("tiles", "parquet"), ("stain", "parquet"), ("patches", "parquet"), ("features", "h5")):
            options += [f"--{stage}", *(f"{stage}/{batch}.{ending}" for batch in batches)]
        used = used_by(["env", f"--chdir={folder}", *verb("write-ledger"), *options])
        print(
            f"ledger of {n_slides:,} slides: {used.processor:.1f} s of processor, {used.clock:.1f} s, {used.mb:.0f} MB"
        )


def measure_run(n_slides: int, cores: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, n_slides, drawn=True)
        started = time.monotonic()
        used = used_by([*verb("run"), str(folder / "my.yaml"), "results/features/store", "results/slides.tsv",
                        "--cores", str(cores)])  # fmt: skip
        ledger = pd.read_csv(folder / "results/slides.tsv", sep="\t", keep_default_na=False)
        usable = int((ledger["status"] == "ok").sum())
        print(f"run of {n_slides:,} tiny slides to the store: {used.processor:.0f} s of processor, "
              f"{time.monotonic() - started:.0f} s on {cores} cores, {used.mb:.0f} MB; {usable:,} usable")  # fmt: skip
        jobs = 0.0
        for path in sorted((folder / "results/benchmarks").rglob("*.tsv")):
            row = pd.read_csv(path, sep="\t").iloc[0]
            jobs += row["s"] * row["mean_load"] / 100
        print(f"of it in jobs {jobs:.0f} s; outside of them {used.processor - jobs:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--slides", type=int, default=30_000)
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    for part in args.parts:
        if part == "run":
            measure_run(args.slides, args.cores)
        else:
            {"plan": measure_plan, "dry-run": measure_dry_run, "ledger": measure_ledger}[part](args.slides)


if __name__ == "__main__":
    main()
