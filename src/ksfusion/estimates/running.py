"""The stages of slides, run on some of a study's own, and what each takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.plan import Plan

# Characters of what a failed command said.
SHOWN = 300


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
        If it fails, with what it said is wrong.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(list(command), stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            why = _failure(process.returncode, said.read().decode(errors="replace"))
            name = command[3] if list(command[:3]) == _KSFUSION else command[0]
            raise UserError(f"--measure: {name} failed ({why}); mend that, or leave --measure out")
    # Kilobytes, on Linux.
    return Used(usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1000)


def _failure(code: int, said: str) -> str:
    """Return why a command failed in one line: its own on what is wrong, or the last of a traceback."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    if code < 0 or not lines:
        return f"ended by signal {-code}" if code < 0 else f"it ended with code {code} and said nothing"
    return (
        next((line for line in lines if line.startswith("error: ")), lines[-1]).removeprefix("error: ")[:SHOWN].rstrip()
    )


_KSFUSION = [sys.executable, "-m", "ksfusion"]


def verb(name: str) -> list[str]:
    """Return the command of a verb."""
    return [*_KSFUSION, name]


class SlideStages:
    """The stages of slides, each a command of its own as in a run.

    Parameters
    ----------
    plan
        The study; the working directory is its folder.
    folder
        Where they write; it is made.
    slides
        The study's slide under each name that it has here.
    """

    def __init__(self, plan: Plan, folder: Path, slides: Mapping[str, str]):
        self._plan, self._folder, self.number = plan, folder, len(slides)
        (folder / "masks").mkdir(parents=True)
        self._tiles, self._stain = (["--" + name, str(folder / f"{name}.parquet")] for name in ("tiles", "stain"))
        rows = plan.tables.slides()
        lines = [f"{name}\t{rows[slide]['slide']}\t{rows[slide]['mpp']}" for name, slide in slides.items()]
        samples = folder / "samples.tsv"
        samples.write_text("\n".join(["slide_id\tslide\tmpp", *lines]) + "\n", encoding="utf-8")
        self._samples = ["--samples", str(samples)]
        masks = {Path(mask).stem: Path(mask) for batch in plan.batches for mask in plan.masks(batch)}
        self._masks = ["--masks"]
        for name, slide in slides.items():
            if slide in masks:
                link = folder / "masks" / f"{name}{masks[slide].suffix}"
                link.symlink_to(masks[slide].resolve())
                self._masks.append(str(link))

    def tile_slides(self) -> Used:
        """Tile them."""
        # Whatever batch they are in, they are tiled together.
        settings = _changed(self._plan.settings("tile_slides"), slides={"batches": 1})
        return self._run("tile_slides", "--batch", "0", *self._masks, settings=settings, output=self._tiles[1])

    def fit_stain(self) -> Used:
        """Fit the stains of those that are tiled."""
        return self._run("fit_stain", *self._tiles, output=self._stain[1])

    def draw_overviews(self) -> Used:
        """Draw the overviews of those that are tiled, with as many patches as the study has."""
        patches = self._sampled(self._plan.config.patches.count)
        return self._run("draw_overviews", *self._tiles, *patches, *self._masks, output=self._file("slides", "0.tsv"))

    def extract_features(self, count: int, threads: int) -> Used:
        """Encode so many patches of each, a square number, by so many processes that read and threads that encode."""
        given = [*self._tiles, *self._stain, *self._sampled(count), "--threads", str(threads)]
        # In a folder of its own: what is encoded there already is not encoded again.
        return self._run("extract_features", *given, output=self._file(f"features-{count}", "0.h5"))

    def tiles(self) -> tuple[dict[str, str], dict[str, int]]:
        """Return the reason of each slide that failed to be tiled, and the number of tiles of each that did not."""
        table = read_parquet(Path(self._tiles[1]), columns=["slide_id", "status", "reason"])
        failed = table[table["status"] != "ok"]
        numbers = table[table["status"] == "ok"]["slide_id"].value_counts()
        return dict(zip(failed["slide_id"], failed["reason"], strict=True)), {
            str(k): int(v) for k, v in numbers.items()
        }

    def _sampled(self, count: int) -> list[str]:
        """Choose so many patches of each slide, and return the option that names them."""
        patches = self._file(f"patches-{count}.parquet")
        settings = _changed(self._plan.settings("sample_patches"), patches={"count": count})
        used_by([*verb("sample-patches"), *self._tiles, "--settings", settings, "--output", patches])
        return ["--patches", patches]

    def _run(self, rule: str, *options: str, output: str, settings: str | None = None) -> Used:
        given = [*self._samples, *options, "--settings", settings or self._plan.settings(rule), "--output", output]
        return used_by([*verb(rule.replace("_", "-")), *given])

    def _file(self, *name: str) -> str:
        return str(self._folder.joinpath(*name))


def _changed(settings: str, **blocks: Mapping[str, Any]) -> str:
    read = json.loads(settings)
    for block, values in blocks.items():
        read[block] |= values
    return json.dumps(read)
