"""Measure what jobs take for each slide, patch, sample and profile, and write it as a table of rates.

    python benchmarks/rates.py CONFIG --output resources/rates.tsv [--parts results slides encoders memory methods]

CONFIG is that of a finished run on this machine (the demo's config.yaml, with its results). `ksfusion estimate` reads
the table; a part that is not measured stays as the table has it.

results    from the benchmark files of the finished run: each rule's processor time, less that of its start
slides     a drawn slide of 100,000 x 80,000 px at 0.25 um/px: what pixels and patches of large slides take
encoders   the forward pass of a patch; weights are drawn, which does not change the time
memory     what encoding takes: readers, batches that wait, patches that are encoded at the same time
methods    a training step at 144 and at 2,500 patches

Processor time on one thread: it swings less than the clock on a machine that others use too.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import torch
from drawn_slides import draw_region, write_pyramid
from slides import settings

from ksfusion.core.resources import resource
from ksfusion.core.workflow import due_jobs, folder_of, workflow_command
from ksfusion.doctor.studies import planned_study
from ksfusion.estimates.rates import ANY_RULE
from ksfusion.estimates.running import used_by, verb
from ksfusion.estimates.slide_sizes import look_at_slides
from ksfusion.estimates.workload import STEP_SAMPLES, Workload
from ksfusion.methods.registry import NETWORKS
from ksfusion.slides.config import Patches, Reading, SamplePatchesSettings
from ksfusion.slides.encoders.names import LITE0, RESNET50, SEEDED
from ksfusion.slides.encoders.presets import PRESETS, built_here

PARTS = ("results", "slides", "encoders", "memory", "methods")
COLUMNS = ("rule", "kind", "per", "seconds", "mb", "disk_mb", "measured")
# What the jobs of a rule have most of; of the others a whole job is a unit.
UNITS = {
    "tile_slides": "slide",
    "fit_stain": "slide",
    "sample_patches": "slide",
    "draw_overviews": "slide",
}
# What they leave on the disk.
FOLDERS = {"draw_overviews": "slides", "tile_slides": "tiles", "fit_stain": "stain", "sample_patches": "patches"}
SIZES, BATCH = (144, 2500), STEP_SAMPLES
FORWARDS = 4


def where() -> str:
    """Return where and when this is measured."""
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.MULTILINE)
    model = " ".join(names[0].split()[:2]) if names else platform.machine()
    return f"{os.cpu_count()} cores of an {model}, {datetime.date.today()}"


def row(rule, kind, per, seconds=0.0, mb=0.0, disk_mb=0.0):
    return {"rule": rule, "kind": kind, "per": per, "seconds": max(seconds, 0.0), "mb": mb, "disk_mb": disk_mb}


def start_of(rule: str) -> float:
    """Return the processor seconds of a verb that starts, imports what it needs, and does nothing."""
    return min(used_by([*verb(rule.replace("_", "-")), "--help"]).processor for _ in range(2))


def size_of(path: Path) -> float:
    """Return what a folder or a file takes on the disk, in MB."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def benchmark_of(job, folder: Path) -> tuple[float, float] | None:
    """Return processor seconds and memory in MB of a finished job; None where none were noted."""
    path = (
        folder / job.logs[0].replace("results/logs", "results/benchmarks").replace(".log", ".tsv") if job.logs else None
    )
    if path is None or not path.is_file():
        return None
    noted = next(csv.DictReader(path.open(), delimiter="\t"))
    # Its own processor time is that of its last look at the process, which may be half a minute before the end.
    return float(noted["s"]) * float(noted["mean_load"]) / 100, float(noted["max_rss"])


def of_results(config: Path):
    """Yield the rates of rules that a finished run has noted."""
    folder = folder_of(config)
    jobs = [job for job in due_jobs(workflow_command(config), "--forceall") if not job.gathers]
    with planned_study(config) as plan:
        slides = look_at_slides(plan.tables.slides(), Reading.of(plan.config.slides))
        unique = [int(line["unique_patches"] or 0) for line in read(folder / "results/slides.tsv")]
        work = Workload(plan, slides, sum(unique) / max(sum(map(bool, unique)), 1))
        by_rule: dict[str, list] = {}
        for job in jobs:
            if found := benchmark_of(job, folder):
                by_rule.setdefault(job.rule, []).append((work.of(job), *found, job))
        for rule, noted in by_rule.items():
            yield from of_rule(rule, noted, folder)
        yield row(ANY_RULE, "", "job", start_of("check_cohort") + 0.3, 250, 0.1)
        features = json.loads((folder / "results/features/store/store.json").read_text())
        yield from of_store(folder, features, sum(unique), plan.config.features.encoder)


def of_rule(rule, noted, folder):
    """Yield the rates of a rule."""
    # The encoder's library is imported where it is built.
    start = start_of("train_model" if rule == "extract_features" else rule)
    used, largest = sum(entry[1] for entry in noted), max(entry[2] for entry in noted)
    unit = UNITS.get(rule)
    if rule == "extract_features":
        patches = sum(work.units["patch"] for work, *_ in noted)
        # Its start and its memory are measured by `memory`.
        print(
            f"extract_features: {(used - start * len(noted)) / patches:.5f} s a patch, reading and encoding", flush=True
        )
    elif rule == "train_model":
        # The rest is measured by `methods`.
        yield row(rule, "", "job", start, min(entry[2] for entry in noted), disk_of(noted, folder))
    elif unit:
        amount = sum(work.units[unit] for work, *_ in noted)
        disk = size_of(folder / "results" / FOLDERS[rule]) if rule in FOLDERS else 0.0
        yield row(rule, "", "job", start, largest)
        yield row(rule, "", unit, (used - start * len(noted)) / amount, 0.0, disk / amount)
    elif {work.kinds for work, *_ in noted} != {()} and rule != "extract_features":
        for kind in sorted({kind for work, *_ in noted for kind in work.kinds}):
            of_kind = [entry for entry in noted if kind in entry[0].kinds]
            mean = sum(entry[1] for entry in of_kind) / len(of_kind)
            yield row(rule, kind, "job", mean, max(entry[2] for entry in of_kind), disk_of(of_kind, folder))
    else:
        yield row(rule, "", "job", used / len(noted), largest, disk_of(noted, folder))


def disk_of(noted, folder: Path) -> float:
    """Return what the jobs of a rule leave on the disk, in MB a job."""
    return sum(size_of(folder / output) for *_, job in noted for output in job.outputs) / len(noted)


def of_store(folder: Path, store, patches: int, encoder: str):
    """Yield what a patch takes on the disk: in its batch's file, and in the store that training reads."""
    batches = sum(size_of(path) for path in (folder / "results/features").glob("*.h5"))
    yield row("extract_features", encoder, "patch", 0.0, 0.0, batches / patches)
    yield row("build_store", "", "job", start_of("build_store"), 300)
    yield row("build_store", "", "patch", 0.0, 0.0, size_of(folder / "results/features/store") / patches)


def of_slides():
    """Yield what a billion pixels, and a patch, of a large slide take beyond what any slide takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width, height = 100_000, 80_000
        write_pyramid(folder / "large.tif", draw_region(), width, height)
        (folder / "samples.tsv").write_text(f"slide_id\tslide\tmpp\nlarge\t{folder}/large.tif\t\n")
        given, of_verbs = ["--samples", f"{folder}/samples.tsv"], settings(encoder=SEEDED)
        tiles, stain, patches = (str(folder / f"{part}.parquet") for part in ("tiles", "stain", "patches"))

        def run(verb_name, *options):
            asked = ["--settings", of_verbs[verb_name].as_json()]
            return used_by([*verb(verb_name), *given, *options, *asked]).processor - start_of(
                verb_name.replace("-", "_")
            )

        tiling = run("tile-slides", "--batch", "0", "--masks", "--output", tiles)
        yield row("tile_slides", "", "gigapixel", (tiling) / (width * height / 1e9))
        run("fit-stain", "--tiles", tiles, "--output", stain)
        chosen = SamplePatchesSettings(patches=Patches(count=2500), min_tiles=1).as_json()
        used_by([*verb("sample-patches"), "--tiles", tiles, "--settings", chosen, "--output", patches])
        overview = run(
            "draw-overviews", "--tiles", tiles, "--patches", patches, "--masks", "--output", f"{folder}/s/0.tsv"
        )
        yield row("draw_overviews", "", "gigapixel", overview / (width * height / 1e9))
        reading = run("extract-features", "--tiles", tiles, "--stain", stain, "--patches", patches, "--threads", "1",
                      "--output", f"{folder}/0.h5")  # fmt: skip
        yield row("extract_features", "", "patch", reading / 2500)


def of_encoders(names):
    """Yield what the forward pass of a patch takes, and its features on the disk."""
    import timm

    from ksfusion.slides.encoders.build import ThirdBlock, build_encoder, create_published

    torch.set_num_threads(1)
    for name in names:
        px = 112 if name == LITE0 else 224
        if name in PRESETS:
            model = create_published(PRESETS[name])
        elif name == RESNET50:
            model = ThirdBlock(timm.create_model("resnet50"))
        else:
            model = build_encoder(name, None, device="cpu", precision="float32")
        if isinstance(model, torch.nn.Module):
            model = model.eval()
        shape = torch.randn(FORWARDS, 3, px, px).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            model(shape)
            started = time.process_time()
            out = model(shape)
            seconds = (time.process_time() - started) / FORWARDS
        out = out[0] if isinstance(out, tuple) else out
        features = PRESETS[name].n_features if name in PRESETS else out.shape[-1]
        weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
        print(f"{name}: {seconds:.4f} s, {features} features, {weights:.0f} MB", flush=True)
        yield row("extract_features", name, "job", 0.0, weights)
        yield row("extract_features", name, "patch", seconds, 0.0, features * 2 / 1e6)
        del model


def of_memory(names):
    """Yield the start of encoding, and what it takes in memory."""
    from encoding_memory import each_patch_mb, reading_mb

    job, reader, queued = reading_mb()
    # The encoder's library is imported where it is built.
    yield row("extract_features", "", "job", start_of("train_model"), job)
    yield row("extract_features", "", "reader", 0.0, reader)
    yield row("extract_features", "", "queued", 0.0, queued)
    for name in names:
        encoded = each_patch_mb(name)
        print(f"{name}: {encoded:.1f} MB a patch", flush=True)
        yield row("extract_features", name, "encoded", 0.0, encoded)


def of_methods(names):
    """Yield what training takes for each sample, for each of its patches, and in memory for a larger map."""
    from training import measure

    asked = SimpleNamespace(threads=1, features=1024, steps=2, grid=False)
    for name in names:
        costs = []
        for patches in SIZES:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                costs.append(pool.submit(measure, name, BATCH, patches, "cpu", asked).result())
        few, many = costs
        slope = (many.processor - few.processor) / BATCH / (SIZES[1] - SIZES[0])
        sample = max(few.processor / BATCH - slope * SIZES[0], 0.0)
        memory = max(many.memory - few.memory, 0.0) * 2**30 / 1e6 / (SIZES[1] - SIZES[0])
        print(f"{name}: {few.processor / BATCH:.4f}, {many.processor / BATCH:.4f} s a sample", flush=True)
        yield row("train_model", name, "sample", sample)
        yield row("train_model", name, "sample_patch", slope)
        yield row("train_model", name, "map_patch", 0.0, memory)


def read(path: Path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--output", type=Path, default=resource("rates.tsv"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--encoders", nargs="+", default=[SEEDED, LITE0, RESNET50, *built_here()])
    parser.add_argument("--methods", nargs="+", default=list(NETWORKS))
    args = parser.parse_args()
    found = (
        {(line["rule"], line["kind"], line["per"]): line for line in read(args.output)} if args.output.exists() else {}
    )
    makers = {
        "results": lambda: of_results(args.config),
        "slides": of_slides,
        "encoders": lambda: of_encoders(args.encoders),
        "memory": lambda: of_memory(args.encoders),
        "methods": lambda: of_methods(args.methods),
    }
    for part in args.parts:
        for line in makers[part]():
            text = {key: value if isinstance(value, str) else f"{value:.4g}" for key, value in line.items()}
            found[tuple(line[key] for key in COLUMNS[:3])] = {**text, "measured": where()}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(found[key] for key in sorted(found))
    print(f"{args.output}: {len(found)} rates", file=sys.stderr)


if __name__ == "__main__":
    main()
