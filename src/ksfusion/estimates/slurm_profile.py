"""A profile for SLURM whose memory and times are those of a study's jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ksfusion.doctor.cluster import Partition
from ksfusion.doctor.profiles import Profile
from ksfusion.estimates.forecast import Forecast, Stage

# Of what is estimated, for a first attempt; each further one has as much again.
MEMORY_MARGIN, TIME_MARGIN = 1.5, 3.0
LEAST_MB, STEP_MB = 1000, 500
LEAST_MINUTES, STEP_MINUTES = 10, 10
# Rules with a job for each batch: submitted as arrays.
OF_BATCHES = ("tile_slides", "fit_stain", "sample_patches", "draw_overviews", "extract_features")
OF_GPU = ("extract_features", "train_model", "train_together", "search_settings", "audit_modalities")
ENCODING_THREADS = 8
# What a profile has beside what its jobs ask for.
BASE: dict[str, Any] = {
    "executor": "slurm",
    "jobs": 100,
    "scheduler": "greedy",
    "scheduler-subsample": 50,
    "rerun-incomplete": True,
    "show-failed-logs": True,
    "retries": 2,
    "latency-wait": 60,
}


AS_SHIPPED = (
    "Jobs with a GPU ask for no less memory than in profiles/slurm: what they take on one was not measured.",
    "Rules of which nothing is due now ask for what they have there.",
)


def slurm_profile(
    found: Forecast,
    given: Profile | None,
    shipped: Profile,
    partitions: Sequence[Partition] = (),
    *,
    keeps_accounts: bool = True,
) -> dict[str, Any]:
    """Return the keys of a profile.

    Parameters
    ----------
    found
        What the jobs take.
    given
        A profile whose account, partitions and other keys are kept; None or an empty one: none.
    shipped
        That of the project, made for any study: what rules ask for of which nothing is due now, such as the encoding
        of a slide that is mended later; and the least memory of jobs with a GPU.
    partitions
        What the cluster has: jobs with a GPU go to the first that has some, where the usual one has none.
    keeps_accounts
        Whether SLURM keeps jobs that have ended; else runs must ask squeue.
    """
    kept = dict(given.values) if given and given.values else {}
    profile = {**BASE, **kept}
    if not keeps_accounts:
        profile.setdefault("slurm-status-command", "squeue")
    batches = [stage.rule for stage in found.stages if stage.rule in OF_BATCHES and stage.jobs > 1]
    if batches:
        profile.setdefault("slurm-array-jobs", ",".join(batches))
    ordinary = [stage for stage in found.stages if stage.rule not in (*OF_GPU, *OF_BATCHES)]
    profile["default-resources"] = _defaults(kept.get("default-resources"), ordinary, shipped)
    own: Mapping[str, Any] = kept.get("set-resources") or {}
    gpu_partition = _gpu_partition(partitions)

    def request(rule: str, memory: str, runtime: str) -> dict[str, Any]:
        return _request(rule, memory, runtime, own.get(rule) or {}, gpu_partition)

    wanted = {
        stage.rule: request(stage.rule, f"{_memory(stage, shipped)} * attempt", f"{_minutes(stage)} * attempt")
        for stage in found.stages
        if stage.rule in (*OF_GPU, *OF_BATCHES) or _memory(stage) > _memory_of(ordinary)
    }
    later = {
        rule: request(rule, shipped.asks(rule, "mem_mb") or "", shipped.asks(rule, "runtime") or "")
        for rule in dict.fromkeys([*OF_BATCHES, *shipped.rules])
        if rule not in {stage.rule for stage in found.stages} and rule not in own
    }
    profile["set-resources"] = {**own, **wanted, **later}
    profile["set-threads"] = {"extract_features": ENCODING_THREADS, **(kept.get("set-threads") or {})}
    return profile


def as_yaml(profile: Mapping[str, Any], comments: Sequence[str]) -> str:
    """Return a profile as text, under comments."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comments)
    return head + yaml.safe_dump(dict(profile), sort_keys=False, width=120)


def _defaults(given: Any, ordinary: Sequence[Stage], shipped: Profile) -> list[str]:
    asked = {
        "mem_mb": f"{_memory_of(ordinary)} * attempt" if ordinary else shipped.asks("", "mem_mb"),
        "disk_mb": "1000",
        "runtime": f"{max(map(_minutes, ordinary))} * attempt" if ordinary else shipped.asks("", "runtime"),
        "gpu": "0",
    }
    entries = given.items() if isinstance(given, Mapping) else (str(entry).split("=", 1) for entry in given or ())
    kept = {str(key).strip(): str(value).strip() for key, value in entries}
    return [f"{key}={value}" for key, value in {**kept, **asked}.items()]


def _request(rule: str, memory: str, runtime: str, own: Mapping[str, Any], gpu_partition: str | None) -> dict[str, Any]:
    asked: dict[str, Any] = {"mem_mb": memory, "runtime": runtime}
    if rule in OF_GPU:
        asked["gpu"] = own.get("gpu", 1)
        if gpu_partition and asked["gpu"]:
            asked["slurm_partition"] = gpu_partition
    return {**asked, **{key: value for key, value in own.items() if key not in ("mem_mb", "runtime")}}


def _memory(stage: Stage, shipped: Profile | None = None) -> int:
    """Return what a job asks for, in MB; no less than the shipped profile where that gives it a GPU."""
    least = shipped.number(stage.rule, "mem_mb") if shipped and shipped.number(stage.rule, "gpu") else LEAST_MB
    return max(least, STEP_MB * math.ceil(MEMORY_MARGIN * stage.mb / STEP_MB))


def _memory_of(stages: Sequence[Stage]) -> int:
    """Return what the jobs without a request of their own ask for: what most of them need."""
    ordered = sorted(_memory(stage) for stage in stages)
    return ordered[(9 * (len(ordered) - 1)) // 10] if ordered else LEAST_MB


def _minutes(stage: Stage) -> int:
    return max(LEAST_MINUTES, STEP_MINUTES * math.ceil(TIME_MARGIN * stage.longest / 60 / STEP_MINUTES))


def _gpu_partition(partitions: Sequence[Partition]) -> str | None:
    usual = next((partition for partition in partitions if partition.is_default), None)
    if usual and usual.has_gpu:
        return None
    return next((partition.name for partition in partitions if partition.has_gpu), None)
