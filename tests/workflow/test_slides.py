"""Slides in the workflow: one that is bad stops nothing, and a run that is killed goes on as if it had not been."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import tifffile
import yaml
from PIL import Image
from project import Project, copy_project

GLASS = (242, 242, 242)


def draw_tissue(side, seed=0):
    """Draw pixels of two stains."""
    generator = np.random.default_rng(seed)
    is_nucleus = generator.random((side // 8, side // 8)).repeat(8, 0).repeat(8, 1)[..., None] < 0.3
    amounts = generator.gamma(6, 0.12, (side // 8 * 8, side // 8 * 8, 2))
    amounts *= np.where(is_nucleus, [1.0, 0.2], [0.1, 1.0])
    density = amounts @ np.array([[0.60, 0.70, 0.39], [0.15, 0.93, 0.33]])
    return np.round(255 * np.exp(-density)).astype(np.uint8)


def write_slide(path, rgb, mpp=0.5):
    tifffile.imwrite(
        path, rgb, tile=(256, 256), photometric="rgb", compression="jpeg", resolution=(1e4 / mpp, 1e4 / mpp),
        resolutionunit="CENTIMETER",
    )  # fmt: skip


def shelve(folder):
    """Write slides of every kind; return their files and the reasons that the ledger must give."""
    tissue = draw_tissue(1400)
    for number in range(3):
        write_slide(folder / f"good{number}.tiff", draw_tissue(1400, seed=number + 1))
    write_slide(folder / "elsewhere.data", tissue)
    (folder / "linked.tiff").symlink_to("elsewhere.data")
    whole = (folder / "elsewhere.data").read_bytes()
    (folder / "truncated.tiff").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.svs").touch()
    (folder / "text.svs").write_text("This is no slide.\n" * 100)
    write_slide(folder / "glass.tiff", np.full((1400, 1400, 3), GLASS, np.uint8))
    one_tile = np.full((1400, 1400, 3), GLASS, np.uint8)
    one_tile[448:680, 448:680] = tissue[:232, :232]
    write_slide(folder / "one_tile.tiff", one_tile)
    Image.fromarray(tissue).save(folder / "scaleless.png")
    write_slide(folder / "implausible.tiff", tissue, 0.05)
    write_slide(folder / "coarse.tiff", tissue, 1.0)
    write_slide(folder / "million.tiff", tissue)
    with tifffile.TiffFile(folder / "million.tiff", mode="r+b") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[tag].overwrite(1_000_000)
    write_slide(folder / "broken.tiff", tissue)
    with tifffile.TiffFile(folder / "broken.tiff") as file:
        offset, size = file.pages[0].dataoffsets[14], file.pages[0].databytecounts[14]
    with (folder / "broken.tiff").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(size))
    good = dict.fromkeys(["good0", "good1", "good2", "linked"], "")
    os.mkfifo(folder / "hanging.tiff")
    return good | {
        "truncated": "truncated",
        "empty": "unreadable",
        "text": "unreadable",
        "glass": "no_tissue",
        "one_tile": "too_few_tiles",
        "scaleless": "missing_mpp",
        "implausible": "implausible_mpp",
        "coarse": "too_coarse",
        "million": "unreadable",
        "broken": "unreadable",
        "missing": "missing_file",
        "hanging": "timeout",
    }


def make_project(folder, names, **blocks):
    """Write the tables and the configuration of a cohort whose cases have one slide each."""
    copy_project(folder)
    suffix = {"empty": ".svs", "text": ".svs", "scaleless": ".png"}
    rows = [(name, name, "mine", f"slides/{name}{suffix.get(name, '.tiff')}", name) for name in names]
    columns = ["sample_id", "case_id", "cohort", "slide", "expression_id"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "samples.tsv", sep="\t", index=False)
    cases = pd.DataFrame({"case_id": list(names), "grade": "G2", "survival_days": range(100, 100 + len(names))})
    cases.assign(event=1).to_csv(folder / "cases.tsv", sep="\t", index=False)
    genes = pd.DataFrame(np.random.default_rng(0).gamma(2, 2, (5, len(names))), columns=list(names))
    genes.insert(0, "gene", ["EGFR", "TP53", "CD8A", "PTEN", "CCL2"])
    genes.to_csv(folder / "expression.tsv", sep="\t", index=False)
    expression = {"cohort": "mine", "format": "matrix", "unit": "tpm", "path": "expression.tsv"}
    config = {
        "cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [expression]},
        "patches": {"count": 36},
        "features": {"encoder": "seeded-conv", "batch_size": 8},
        "tasks": ["grading", "survival"],
        "methods": ["snn"],
    }
    for block, values in blocks.items():
        config[block] = config.get(block, {}) | values
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return Project(folder, "mine.yaml")


def test_bad_slides_are_rows_with_reasons(tmp_path):
    (tmp_path / "slides").mkdir()
    reasons = shelve(tmp_path / "slides")
    project = make_project(
        tmp_path / "project", reasons, slides={"batches": 2, "max_failed_fraction": 0.7, "timeout": 20}
    )
    (project.folder / "slides").symlink_to(tmp_path / "slides")
    stopped = project.snakemake("results/features/store", check=False)
    assert stopped.returncode != 0
    printed = stopped.stdout + stopped.stderr
    assert "12 of 16 slides failed (unreadable 4, " in printed and "results/slides.tsv says which" in printed
    assert not (project.folder / "results/features/store").exists()
    ledger = project.tsv("results/slides.tsv").set_index("slide_id")
    assert ledger["reason"].fillna("").to_dict() == reasons
    assert (ledger["status"] == np.where(ledger["reason"].isna(), "ok", "failed")).all()
    # 1,400 px hold six tiles of 224 a side.
    assert (ledger.loc[ledger["status"] == "ok", "tiles"] == 36).all()
    timing = project.tsv("results/slides_timing.tsv").set_index("slide_id")
    assert set(timing.index) == set(reasons)
    assert (timing.loc["good0"] > 0).all()

    samples = project.tsv("results/samples.tsv").set_index("sample_id")
    assert samples["reason"].fillna("").to_dict() == reasons

    project.configure(slides={"max_failed_fraction": 0.75})
    assert project.planned("results/features/store") == {"build_store": 1}
    project.snakemake("results/features/store")


SLIDE_STAGES = ("tiles", "stain", "patches", "features")


def slide_files(project):
    """Return the bytes of all that the slide stages made, but for what the runs leave for themselves."""
    folder = project.folder / "results"
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for stage in SLIDE_STAGES
        for path in sorted((folder / stage).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


VERBS = ("tile-slides", "fit-stain", "sample-patches", "extract-features", "build-store")


def live_verbs(run):
    """Return what the jobs of a run are doing."""
    verbs = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(run.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "-m" in words[:-1] and words[words.index("-m") + 1] == "ksfusion":
                    verbs.add(words[words.index("-m") + 2])
    return verbs


def start_watched(command, folder):
    """Start a run in a session of its own, so that all its processes can be killed together."""
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def lengths_of_verbs(run):
    """Return the seconds from the first to the last sight of each verb's jobs in a run that is left to end."""
    first, last = {}, {}
    while run.poll() is None:
        now = time.monotonic()
        for verb in live_verbs(run):
            first.setdefault(verb, now)
            last[verb] = now
        time.sleep(0.02)
    assert run.returncode == 0
    return {verb: last[verb] - first[verb] for verb in first}


def kill_while(run, verb, seconds):
    """Kill a run some seconds after a job of a verb, or of a later one, was seen; return what was alive then."""
    later = set(VERBS[VERBS.index(verb) :])
    while run.poll() is None and not live_verbs(run) & later:
        time.sleep(0.02)
    time.sleep(seconds)
    alive = live_verbs(run)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return alive


def test_killed_at_random_moments_gives_the_same_bytes(tmp_path):
    (tmp_path / "slides").mkdir()
    names = [f"slide{number}" for number in range(6)]
    for number, name in enumerate(names):
        write_slide(tmp_path / "slides" / f"{name}.tiff", draw_tissue(2400, seed=number))
    projects = []
    for run in ("whole", "killed"):
        projects.append(make_project(tmp_path / run, names, slides={"batches": 2}, patches={"count": 100}))
        (projects[-1].folder / "slides").symlink_to(tmp_path / "slides")
    whole, killed = projects
    command = [sys.executable, "-m", "snakemake", "results/features/store", "--cores", "2", "--configfile", "mine.yaml"]
    lengths = lengths_of_verbs(start_watched(command, whole.folder))
    moments, aims, hits = random.Random(0), ["tile-slides"] * 3 + ["fit-stain"] * 2 + ["extract-features"] * 5, []
    for _ in range(20):
        if len(hits) == len(aims):
            break
        verb = aims[len(hits)]
        run = start_watched([*command, "--nolock"], killed.folder)
        # What was done stays done: all kills of a verb together take no longer than its work.
        alive = kill_while(run, verb, moments.uniform(0, lengths[verb] / aims.count(verb)))
        hits += [alive] if alive else []
    # Ten kills that hit a job at work, in every stage that takes time.
    assert len(hits) == 10 and set().union(*hits) >= {"tile-slides", "fit-stain", "extract-features"}
    killed.snakemake("results/features/store", "--nolock")
    expected = slide_files(whole)
    assert len(expected) >= 4 * 2 + 4
    assert slide_files(killed) == expected
    left = [path.name for path in (killed.folder / "results").rglob(".*") if "timing" not in path.name]
    assert sorted(left) == sorted(
        path.name for path in (whole.folder / "results").rglob(".*") if "timing" not in path.name
    )
