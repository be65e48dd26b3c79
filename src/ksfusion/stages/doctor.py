"""Whether this machine, its cluster and a study are fit for a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ksfusion.doctor.findings import Finding, not_loaded
from ksfusion.doctor.machine import package_findings

# Of the command where something is wrong; 2 is that of a mistake in the command itself.
UNFIT = 1
# Characters of the longest subject.
WIDTH = len("SLURM plugin")


def doctor(
    config: Path | None = None,
    *,
    set: Sequence[str] = (),
    profile: str | None = None,
    format: Literal["text", "json"] = "text",
) -> None:
    """Look whether this machine, its cluster and a study are fit for a run, and say what to do where not.

    Exit code 0: nothing stands in the way; 1: something does.

    Parameters
    ----------
    config
        The configuration, whose tables, packages and weights are then looked at too.
    set
        A setting to change, such as training.alpha=0.7; may be given many times.
    profile
        Where jobs will run: slurm, or the folder of a profile of your own; this machine without it.
    format
        Lines to read, or JSON for scripts.

    Raises
    ------
    UserError
        If there is no such configuration or profile.
    """
    found = []
    for finding in findings(config, set, profile):
        found.append(finding)
        if format == "text":
            # Each at once: what a library that crashes takes with it is not what was found before.
            sys.stdout.write(f"{finding.line(WIDTH)}\n")
            sys.stdout.flush()
    problems = sum(finding.level == "problem" for finding in found)
    if format == "json":
        told = {"problems": problems, "findings": [finding.record() for finding in found]}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        sys.stdout.write(f"{problems or 'no'} problem{'' if problems == 1 else 's'}\n")
    if problems:
        sys.exit(UNFIT)


def findings(config: Path | None, settings: Sequence[str], profile: str | None) -> Iterator[Finding]:
    """Yield all that was found; see `doctor`."""
    try:
        from ksfusion.doctor.overall import overall_findings
    except Exception as error:  # whatever a damaged package raises
        # Without what ksfusion itself is made of nothing else can be looked at.
        yield from package_findings()
        yield not_loaded("ksfusion", error)
        return
    yield from overall_findings(config, settings, profile)
