"""How long each slide took, beside the files of a stage rather than in them: those are the same in every run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ksfusion.core.atomic import atomic

SECONDS = re.compile(r"\d+\.\d+")


def _timing_path(output: Path) -> Path:
    return output.with_name(f".{output.stem}.timing.tsv")


class SlideTiming:
    """The seconds that a stage spent on each slide of a batch; those of earlier runs stay until a slide is redone.

    Parameters
    ----------
    output
        The batch's file of that stage.
    """

    def __init__(self, output: Path):
        self._path = _timing_path(output)
        self._seconds = _read(self._path)

    def record(self, slide_id: str, seconds: float) -> None:
        """Note a slide."""
        self._seconds[slide_id] = f"{seconds:.3f}"
        with atomic(self._path) as temporary:
            lines = (f"{name}\t{value}\n" for name, value in sorted(self._seconds.items()))
            temporary.write_text("".join(lines), encoding="utf-8")

    @contextmanager
    def of(self, slide_id: str) -> Iterator[None]:
        """Note how long a block takes, whether it succeeds or not."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.record(slide_id, time.monotonic() - started)


def _read(path: Path) -> dict[str, str]:
    """Return what was noted; a line that is no slide and number is left out, for no result depends on it."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    noted = (line.partition("\t") for line in lines)
    return {slide_id: seconds for slide_id, _, seconds in noted if SECONDS.fullmatch(seconds)}


def read_timing(outputs: Iterable[Path]) -> dict[str, float]:
    """Return the seconds of each slide in a stage's files."""
    return {name: float(value) for path in outputs for name, value in _read(_timing_path(Path(path))).items()}
