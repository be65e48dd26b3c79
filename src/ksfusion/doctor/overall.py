"""All that is looked at, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ksfusion.core.paths import nearest_above
from ksfusion.core.workflow import folder_of
from ksfusion.doctor.cluster import cluster_findings
from ksfusion.doctor.findings import Finding, looked_at
from ksfusion.doctor.gpus import gpu_findings
from ksfusion.doctor.machine import machine_findings
from ksfusion.doctor.profiles import read_profile
from ksfusion.doctor.reading import reading_findings
from ksfusion.doctor.studies import planned_study, study_findings


def overall_findings(config: Path | None, settings: Sequence[str], profile: str | None) -> Iterator[Finding]:
    """Yield what was found of the machine, of the cluster and of a study.

    Parameters
    ----------
    config
        The configuration; None: no study is looked at.
    settings
        See `ksfusion.core.workflow.parse_settings`.
    profile
        See `ksfusion.doctor.profiles.read_profile`.

    Raises
    ------
    UserError
        If there is no such configuration or profile.
    """
    asked = read_profile(profile)
    here = asked.executor == "local"
    folder = nearest_above(folder_of(config, settings) if config else Path.cwd())
    yield from machine_findings(folder, asked.largest_mb() if here else 0)
    yield from reading_findings()
    yield from looked_at("CUDA", gpu_findings, here)
    yield from looked_at("SLURM", cluster_findings, asked)
    if config is not None:
        yield from looked_at("tables", _of_study, config, settings)


def _of_study(config: Path, settings: Sequence[str]) -> Iterator[Finding]:
    with planned_study(config, settings) as plan:
        yield from study_findings(plan)
