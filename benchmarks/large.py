"""What tens of thousands of slides take apart from their pixels: the plan, a dry run, the ledger.

    python benchmarks/large.py plan dry-run ledger [--slides 30000] [--folder FOLDER]

plan      configuration and tables read and checked, in a process of its own
dry-run   `snakemake -n` of a study that has not begun: processor time, time on the clock, memory of the largest process
ledger    `ksfusion write-ledger` on files as a run of slides with 4,000 tiles and 2,500 patches leaves them

A run of so many slides, tiny ones, is `tiny_slides.py`.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from ksfusion.core.atomic import atomic
from ksfusion.core.features_file import FeaturesWriter
from ksfusion.core.ids import batch_of
from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.study import batches_for
from ksfusion.estimates.running import used_by, verb
from ksfusion.genes import gene_sets
from ksfusion.slides.config import TileSlidesSettings, Tiling
from ksfusion.slides.tiles.table import COLUMN_TYPES
from ksfusion.terms.flags import FLAGS

PARTS = ("plan", "dry-run", "ledger")
SLIDES_PER_CASE, N_GENES = 3, 60
TILES, PATCHES, FAILED_EVERY = 4000, 2500, 50
LEDGER = '{"require": "paired", "pairing": "any", "tasks": {"grading": "classification"}}'
OPTIONAL_COLUMNS = ("tumour_id", "slide_specimen_id", "slide_block_id", "expression_specimen_id", "expression_block_id")
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


def write_study(
    folder: Path, n_slides: int, write_slide: Callable[[Path, int], None] | None = None, **settings: object
) -> None:
    """Write tables, expression and configuration, with further settings; slides are of one byte unless written."""
    (folder / "slides").mkdir(parents=True)
    random = np.random.default_rng(0)
    samples, cases = [], {}
    for number in range(n_slides):
        case = f"c{number // SLIDES_PER_CASE:05d}"
        cases[case] = (CLASSES[int(random.integers(3))], int(random.integers(30, 3000)), int(random.integers(2)))
        path = folder / f"slides/s{number:05d}.tiff"
        if write_slide:
            write_slide(path, number)
        else:
            path.write_bytes(b"\0")
        samples.append((f"s{number:05d}", case, "X", f"slides/{path.name}", case))
    write_rows(folder / "samples.tsv", ("sample_id", "case_id", "cohort", "slide", "expression_id"), samples)
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
    for block, values in settings.items():
        config[block] = {**config.get(block, {}), **values} if isinstance(values, dict) else values
    (folder / "my.yaml").write_text(yaml.safe_dump(config))


def write_rows(path: Path, header, rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])


def measure_plan(n_slides: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, n_slides)
        (folder / "plan.py").write_text(PLAN)
        import subprocess

        subprocess.run([sys.executable, "plan.py"], cwd=folder, check=True)


def measure_dry_run(n_slides: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, n_slides)
        command = [*verb("run"), str(folder / "my.yaml"), "--dry-run", "--", "--quiet", "rules"]
        used = used_by(command)
        print(
            f"dry run of {n_slides:,} slides: {used.processor:.1f} s of processor, {used.clock:.1f} s, {used.mb:.0f} MB"
        )


def tile_table(slides: list[str], random: np.random.Generator) -> pd.DataFrame:
    """Return a batch's table of tiles as `tile_slides` writes it; one of `FAILED_EVERY` slides failed."""
    failed = np.array([int(slide_id[1:]) % FAILED_EVERY == 0 for slide_id in slides])
    tiles_of = np.where(failed, 1, TILES)
    is_tile, n = np.repeat(~failed, tiles_of), int(tiles_of.sum())
    tile = np.concatenate([np.arange(tiles, dtype=np.int32) for tiles in tiles_of])
    table = pd.DataFrame({"slide_id": np.repeat(slides, tiles_of), "tile": np.where(is_tile, tile, np.int32(-1))})
    for axis in ("x", "y"):
        table[axis] = random.integers(0, 10**5, n, dtype=np.int32)
    table["tissue"] = random.random(n, dtype=np.float32)
    for flag in FLAGS:
        table[flag] = is_tile & (random.random(n) < 0.1)
    for name, low, high in (("width", 60_000, 140_000), ("height", 50_000, 100_000)):
        table[name] = np.repeat(random.integers(low, high, len(slides), dtype=np.int32), tiles_of)
    for name, high in (("tissue_mm2", 200.0), ("tissue_share", 1.0)):
        table[name] = np.repeat(random.uniform(0, high, len(slides)), tiles_of)
    table["mpp"] = np.repeat(np.where(np.arange(len(slides)) % 2, 0.2485, 0.5026), tiles_of)
    said = {"status": ("ok", "failed"), "reason": ("", "no_tissue")}
    said |= {"mpp_source": ("header", "header"), "mask": ("automatic", "automatic"), "masks_origin": ("", "")}
    for name, (ok, not_ok) in said.items():
        table[name] = np.where(is_tile, ok, not_ok)
    for name, digits in (("digest", 64), ("thumbnail_hash", 16)):
        table[name] = np.repeat([f"{int(slide_id[1:]):0{digits}x}" for slide_id in slides], tiles_of)
    return table[list(COLUMN_TYPES)].astype(COLUMN_TYPES)


def write_slide_files(folder: Path, n_slides: int) -> int:
    """Write what the stages of slides leave of each batch, and return the number of batches."""
    batches = batches_for(n_slides)
    by_batch: dict[int, list[str]] = {}
    for number in range(n_slides):
        slide_id = f"s{number:05d}"
        by_batch.setdefault(batch_of(slide_id, batches), []).append(slide_id)
    made = provenance("ksfusion.stages.tile_slides", TileSlidesSettings(slides=Tiling(batches=batches)).record())
    random = np.random.default_rng(0)
    index = np.arange(PATCHES, dtype=np.int32)
    arrays = {"features": np.zeros((PATCHES, 4), np.float16), "coords": np.zeros((PATCHES, 2), np.int32)}
    for batch, slides in by_batch.items():
        tiles = tile_table(slides, random)
        write_parquet(tiles, folder / f"tiles/{batch}.parquet", made)
        known = tiles.drop_duplicates("slide_id")[["slide_id", "status", "reason"]].reset_index(drop=True)
        write_parquet(known, folder / f"stain/{batch}.parquet", made)
        chosen = [index if status == "ok" else np.array([-1], np.int32) for status in known["status"]]
        patches = {"slide_id": np.repeat(slides, [len(tiles) for tiles in chosen]), "tile": np.concatenate(chosen)}
        write_parquet(pd.DataFrame(patches), folder / f"patches/{batch}.parquet", made)
        path = folder / f"features/{batch}.h5"
        with atomic(path) as temporary, FeaturesWriter(temporary, made) as file:
            for slide_id, status, reason in known.itertuples(index=False):
                attributes = {"status": status, "reason": reason, "mpp": 0.25}
                file.write(slide_id, attributes, {**arrays, "index": index} if status == "ok" else None)
        for stage in ("tiles", "stain", "features"):
            seconds = "".join(f"{slide_id}\t{random.random():.3f}\n" for slide_id in slides)
            (folder / stage / f".{batch}.timing.tsv").write_text(seconds)
    return len(by_batch)


def write_tables(folder: Path) -> None:
    """Write what the stages of tables leave of a study, for the ledger."""
    made = provenance("ksfusion.stages.check_cohort", {})
    samples = pd.read_csv(folder / "samples.tsv", sep="\t", dtype=str)
    samples["slide_id"] = samples["sample_id"]
    for column in OPTIONAL_COLUMNS:
        samples[column] = ""
    write_parquet(samples, folder / "samples.parquet", made)
    cases = pd.DataFrame({"case_id": sorted(set(samples["case_id"])), "label_grading": "G2"})
    write_parquet(cases, folder / "cases.parquet", made)
    profiles = cases[["case_id"]].rename(columns={"case_id": "expression_id"}).assign(cohort="X", GENE=1.0)
    write_parquet(profiles, folder / "profiles.parquet", made)


def measure_ledger(n_slides: int, folder: Path) -> None:
    if not folder.is_dir():
        write_study(folder, n_slides)
        write_slide_files(folder, n_slides)
        write_tables(folder)
    batches = sorted(path.stem for path in (folder / "tiles").glob("*.parquet"))
    options = ["--slides-output", "out/slides.tsv", "--samples-output", "out/samples.tsv", "--timing-output",
               "out/timing.tsv", "--samples", "samples.parquet", "--cases", "cases.parquet", "--profiles",
               "profiles.parquet", "--settings", LEDGER]  # fmt: skip
    for stage, ending in (("tiles", "parquet"), ("stain", "parquet"), ("patches", "parquet"), ("features", "h5")):
        options += [f"--{stage}", *(f"{stage}/{batch}.{ending}" for batch in batches)]
    used = used_by(["env", f"--chdir={folder}", *verb("write-ledger"), *options])
    print(f"ledger of {n_slides:,} slides: {used.processor:.1f} s of processor, {used.clock:.1f} s, {used.mb:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--slides", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, help="of the ledger's files: made where it is not there, and kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for part in args.parts:
            if part == "ledger":
                measure_ledger(args.slides, args.folder or Path(name, "study"))
            else:
                {"plan": measure_plan, "dry-run": measure_dry_run}[part](args.slides)


if __name__ == "__main__":
    main()
