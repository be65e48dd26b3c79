"""``make fuzz``: damaged files for every reader, which must read them or refuse them in a line, soon and alive.

What does neither is kept in ``tests/fuzz/found``: the file that was changed, and what came of it.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]

from mutations import mutate  # noqa: E402
from readers import READERS, REFUSALS, pick, stop_workers  # noqa: E402

# More than the time limit of a slide, which is among the readers.
SECONDS_AN_INPUT = 60
# Each kind of mistake has some; one that floods the terminal says nothing.
MOST_LINES = 200


@dataclass
class Outcome:
    """What came of the inputs of a reader."""

    read: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.read + self.refused} inputs, {self.refused} refused, {len(self.findings)} findings"


def fuzz(name: str, folder: Path, *, seconds: float, seed: int, found: Path | None = None, most: int = 1) -> Outcome:
    """Read damaged inputs until the time is over.

    Parameters
    ----------
    name
        Of the reader.
    folder
        An empty folder.
    seconds
        How long; at least one input is read.
    seed
        Of what is changed: the n-th input of a seed is always the same.
    found
        Gets the files that are findings.
    most
        Findings after which it ends.
    """
    reader, draw, outcome = READERS[name], random.Random(f"{name} {seed}"), Outcome()
    whole = folder / "whole"
    whole.mkdir(parents=True)
    reader.write(whole)
    reader.read(whole)
    contents = [path.read_bytes() for path in sorted(whole.rglob("*")) if path.is_file()]
    until = time.monotonic() + seconds
    while True:
        path = pick(whole, draw)
        content = path.read_bytes()
        changed = mutate(content, contents, draw)
        if found is not None:
            # For those that end the process.
            found.mkdir(parents=True, exist_ok=True)
            (found / f"{name}-now-{path.name}").write_bytes(changed)
        path.write_bytes(changed)
        faulthandler.dump_traceback_later(SECONDS_AN_INPUT, exit=True)
        try:
            reader.read(whole)
            outcome.read += 1
        except REFUSALS as error:
            outcome.refused += 1
            if (lines := str(error).count("\n")) > MOST_LINES:
                outcome.findings.append(f"{name}: {path.name}: {lines} lines")
        except Exception:
            place = f"{name}-{seed}-{outcome.read + outcome.refused}-{path.name}"
            outcome.findings.append(f"{place}: {traceback.format_exc()}")
            if found is not None:
                (found / place).write_bytes(changed)
        finally:
            faulthandler.cancel_dump_traceback_later()
            path.write_bytes(content)
        if len(outcome.findings) >= most or time.monotonic() > until:
            break
    if found is not None:
        for last in found.glob(f"{name}-now-*"):
            last.unlink()
    return outcome


def main() -> None:
    """Fuzz readers, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", choices=[[], *READERS], help="all without any")
    parser.add_argument("--seconds", type=float, default=600, help="for each reader")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="readers at once")
    parser.add_argument("--here", action="store_true", help="in this process: one reader")
    args = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    if args.here:
        with tempfile.TemporaryDirectory() as folder:
            try:
                limits = {"seconds": args.seconds, "seed": seed, "found": HERE / "found", "most": 5}
                outcome = fuzz(args.readers[0], Path(folder), **limits)
            finally:
                stop_workers()
        print(f"{args.readers[0]}: {outcome}", *outcome.findings, sep="\n")
        sys.exit(bool(outcome.findings))
    waiting, running, failed = list(args.readers or READERS), {}, []
    print(f"seed {seed}")
    while waiting or running:
        while waiting and len(running) < args.jobs:
            name = waiting.pop(0)
            command = [sys.executable, __file__, name, "--here", "--seconds", str(args.seconds), "--seed", str(seed)]
            running[name] = subprocess.Popen(command)
        time.sleep(0.2)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                if process.returncode:
                    failed.append(f"{name} ({process.returncode})")
    if not failed:
        shutil.rmtree(HERE / "found", ignore_errors=True)
    sys.exit(f"findings: {', '.join(failed)}; see {HERE / 'found'}" if failed else 0)


if __name__ == "__main__":
    main()
