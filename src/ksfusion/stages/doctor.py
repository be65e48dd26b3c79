"""Whether this machine, its cluster and a study are fit for a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ksfusion.core.errors import UserError
from ksfusion.core.workflow import folder_of
from ksfusion.doctor.cluster import cluster_findings
from ksfusion.doctor.findings import Finding, from_lines
from ksfusion.doctor.gpus import gpu_findings
from ksfusion.doctor.machine import machine_findings
from ksfusion.doctor.profiles import read_profile
from ksfusion.doctor.reading import reading_findings
from ksfusion.doctor.studies import planned_study, study_findings

# Of the command where something is wrong; 2 is that of a mistake in the command itself.
UNFIT = 1


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
    found = list(findings(config, set, profile))
    problems = sum(finding.level == "problem" for finding in found)
    if format == "json":
        told = {"problems": problems, "findings": [finding.record() for finding in found]}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        width = max(len(finding.subject) for finding in found)
        sys.stdout.writelines(f"{finding.line(width)}\n" for finding in found)
        sys.stdout.write(f"{problems or 'no'} problem{'' if problems == 1 else 's'}\n")
    if problems:
        sys.exit(UNFIT)


def findings(config: Path | None, settings: Sequence[str], profile: str | None) -> Iterator[Finding]:
    """Yield all that was found; see `doctor`."""
    asked = read_profile(profile)
    folder = folder_of(config, settings) if config else Path.cwd()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    yield from machine_findings(there, asked.largest_mb() if asked.executor == "local" else 0)
    yield from reading_findings()
    yield from gpu_findings()
    yield from cluster_findings(asked)
    if config is None:
        return
    try:
        with planned_study(config, settings) as plan:
            of_study = list(study_findings(plan))
    except UserError as error:
        of_study = from_lines("problem", "tables", str(error).splitlines())
    yield from of_study
