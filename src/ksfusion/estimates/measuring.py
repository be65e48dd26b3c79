"""A minute's measurement: the stages of slides, run on some of a study's own."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.estimates.rates import Rate
from ksfusion.plan import Plan

log = logging.getLogger(__name__)

# Patches of a slide that are encoded: the seconds of one are those of any.
PATCHES = 100
MEASURED = "measured here"


class Used(NamedTuple):
    """What a process and its children took: processor seconds, seconds on the clock, and the memory of the largest."""

    processor: float
    clock: float
    mb: float


def used_by(command: Sequence[str]) -> Used:
    """Run a command and return what it took.

    Raises
    ------
    UserError
        If it fails, with the end of what it said.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(list(command), stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise UserError(f"the measurement failed: {said.read().decode(errors='replace').strip()[-500:]}")
    # Kilobytes, on Linux.
    return Used(usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1000)


def verb(name: str) -> list[str]:
    """Return the command of a verb."""
    return [sys.executable, "-m", "ksfusion", name]


@dataclass(frozen=True)
class Measurement:
    """What slides took, and what became of them.

    Attributes
    ----------
    rates
        Per slide and patch, of this machine.
    patches
        Mean number of different patches of a slide that did not fail.
    failed
        Reason of each slide that failed, by slide_id.
    """

    rates: list[Rate]
    patches: float
    failed: Mapping[str, str]


def measure(plan: Plan, slides: Sequence[str], threads: int) -> Measurement:
    """Run the stages of slides on some of a study's.

    Parameters
    ----------
    plan
        The study; the working directory is its folder.
    slides
        Ids of slides whose files are there.
    threads
        Processes that read patches.

    Raises
    ------
    UserError
        If none can be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _measured(plan, slides, threads, Path(folder))


def _measured(plan: Plan, slides: Sequence[str], threads: int, folder: Path) -> Measurement:
    samples = folder / "samples.tsv"
    tiles, stain, patches = (folder / f"{name}.parquet" for name in ("tiles", "stain", "patches"))
    rows = plan.tables.slides()
    lines = [
        "slide_id\tslide\tmpp",
        *("\t".join(rows[name][key] for key in ("slide_id", "slide", "mpp")) for name in slides),
    ]
    samples.write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = ["--samples", str(samples)]
    masks = [mask for batch in plan.batches for mask in plan.masks(batch) if Path(mask).stem in slides]

    count = min(plan.config.patches.count, PATCHES)
    log.info("measuring %d slides", len(slides))
    tiling = _changed(plan.settings("tile_slides"), slides={"batches": 1})
    used = {"tile_slides": _run("tile-slides", *given, "--batch", "0", "--masks", *masks, "--settings", tiling,
                                "--output", str(tiles))}  # fmt: skip
    failed, found = _tiles(tiles)
    if not found:
        reasons = ", ".join(f"{name} {reason}" for name, reason in failed.items())
        raise UserError(f"--measure: none of the slides measured can be used ({reasons})")
    used["fit_stain"] = _run("fit-stain", *given, "--tiles", str(tiles), "--settings", plan.settings("fit_stain"),
                             "--output", str(stain))  # fmt: skip
    sampling = _changed(plan.settings("sample_patches"), patches={"count": math.isqrt(count) ** 2})
    _run("sample-patches", "--tiles", str(tiles), "--settings", sampling, "--output", str(patches))
    used["draw_overviews"] = _run("draw-overviews", *given, "--tiles", str(tiles), "--patches", str(patches), "--masks",
                                  *masks, "--settings", plan.settings("draw_overviews"),
                                  "--output", str(folder / "slides/0.tsv"))  # fmt: skip
    used["extract_features"] = _run("extract-features", *given, "--tiles", str(tiles), "--stain", str(stain),
                                    "--patches", str(patches), "--threads", str(threads), "--settings",
                                    plan.settings("extract_features"), "--output", str(folder / "0.h5"))  # fmt: skip
    encoded = sum(min(count, tiles_of) for tiles_of in found.values())
    return Measurement(
        [_rate(rule, taken, plan, len(slides), encoded) for rule, taken in used.items()],
        sum(min(plan.config.patches.count, tiles_of) for tiles_of in found.values()) / len(found),
        failed,
    )


def _rate(rule: str, used: Used, plan: Plan, n_slides: int, n_patches: int) -> Rate:
    """Return what a slide or a patch took beyond the start of the job."""
    start = used_by([*verb(rule.replace("_", "-")), "--help"]).processor
    work = max(used.processor - start, 0.0)
    if rule == "extract_features":
        return Rate(rule, plan.config.features.encoder, "patch", work / n_patches, 0, 0, MEASURED)
    return Rate(rule, "", "slide", work / n_slides, 0, 0, MEASURED)


def _tiles(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Return the reason of each slide that failed, and the number of tiles of each that did not."""
    table = read_parquet(path, columns=["slide_id", "status", "reason"])
    failed = table[table["status"] != "ok"]
    numbers = table[table["status"] == "ok"]["slide_id"].value_counts()
    return dict(zip(failed["slide_id"], failed["reason"], strict=True)), {str(k): int(v) for k, v in numbers.items()}


def _run(name: str, *options: str) -> Used:
    return used_by([*verb(name), *options])


def _changed(settings: str, **blocks: Mapping[str, Any]) -> str:
    read = json.loads(settings)
    for block, values in blocks.items():
        read[block] |= values
    return json.dumps(read)
