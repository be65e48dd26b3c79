"""What SLURM has, beside what a profile asks of it."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from ksfusion.core.errors import UserError
from ksfusion.doctor.findings import Finding
from ksfusion.doctor.profiles import SLURM, Profile

SUBMIT = "sbatch"
PLUGIN = "snakemake_executor_plugin_slurm"
ACCOUNTS = "AccountingStorageType"
# Seconds that a command of SLURM has for its answer.
ANSWER = 20


@dataclass(frozen=True)
class Partition:
    """A partition: its name, whether jobs go there that name none, its limits, and whether it has GPUs.

    Attributes
    ----------
    minutes
        Longest time of a job; None without a limit.
    mem_mb
        Memory of its largest node, in MB.
    cores
        Of its largest node.
    """

    name: str
    is_default: bool
    minutes: int | None
    mem_mb: int
    cores: int
    has_gpu: bool


def cluster_findings(profile: Profile) -> Iterator[Finding]:
    """Yield what was found of SLURM; nothing where there is none and none is asked for."""
    wanted = profile.executor == SLURM
    if not shutil.which(SUBMIT):
        if wanted:
            yield Finding("problem", "SLURM", f"there is no {SUBMIT} on PATH", "start runs where jobs can be submitted")
        return
    try:
        version = _ask("sinfo", "--version").strip()
        settings, partitions = _settings(), _partitions()
    except UserError as error:
        if wanted:
            remedy = "start runs on a login node of the cluster, and ask who runs it where they do"
            yield Finding("problem", "SLURM", str(error), remedy)
        else:
            # Commands without a cluster behind them stand on many a workstation.
            said = "its commands are installed, and no cluster answers them here"
            yield Finding("note", "SLURM", said, "of no matter unless runs go to SLURM (--profile slurm)")
        return
    yield Finding("ok", "SLURM", f"{version}, partitions: {', '.join(partition.name for partition in partitions)}")
    yield _plugin(wanted)
    yield _accounting(settings.get(ACCOUNTS, ""), profile if wanted else None)
    if wanted:
        yield from partition_findings(profile, partitions)
        yield from _accounts(profile, settings.get(ACCOUNTS, ""))


def _plugin(wanted: bool) -> Finding:
    if find_spec(PLUGIN):
        return Finding("ok", "SLURM plugin", "Snakemake's is installed")
    remedy = f"install {PLUGIN.replace('_', '-')}, or run `make setup`"
    return Finding("problem" if wanted else "note", "SLURM plugin", "Snakemake's is not installed", remedy)


def known_cluster() -> tuple[list[Partition], bool]:
    """Return the partitions of the cluster, and whether it keeps jobs that have ended; none and True without one."""
    if shutil.which(SUBMIT):
        with contextlib.suppress(UserError):
            return _partitions(), keeps_accounts(_settings().get(ACCOUNTS, ""))
    return [], True


def keeps_accounts(storage: str) -> bool:
    """Return whether SLURM keeps jobs that have ended, by where it says that it stores them."""
    return bool(storage) and not storage.endswith(("/none", "(null)"))


def _accounting(storage: str, profile: Profile | None) -> Finding:
    """Look whether the plugin can learn that a job has ended: from sacct by itself, else from squeue."""
    if keeps_accounts(storage):
        return Finding("ok", "accounting", f"jobs that have ended are kept ({storage.rpartition('/')[2]})")
    if profile is None or profile.values.get("slurm-status-command") == "squeue":
        return Finding("ok", "accounting", "SLURM keeps no jobs that have ended: runs must ask squeue")
    return Finding(
        "problem",
        "accounting",
        "SLURM keeps no jobs that have ended, and a run would wait for them for ever",
        f"write slurm-status-command: squeue in {profile.path}",
    )


def partition_findings(profile: Profile, partitions: Sequence[Partition]) -> Iterator[Finding]:
    """Yield a finding for each rule whose request no partition meets, or one that all are met.

    Parameters
    ----------
    profile
        What jobs ask for.
    partitions
        What there is.
    """
    by_name = {partition.name: partition for partition in partitions}
    usual = next((partition for partition in partitions if partition.is_default), None)
    problems = []
    for rule in ["", *profile.rules]:
        what = f"jobs of {rule}" if rule else "all other jobs"
        asked = profile.asks(rule, "slurm_partition")
        if asked is None and usual is None:
            problems.append((f"{what} name no partition, and there is no default", "fill in slurm_partition"))
            continue
        partition = by_name.get(asked) if asked else usual
        if partition is None:
            problems.append((f"{what} go to {asked}, which is none", f"take one of {', '.join(by_name)}"))
        else:
            problems += [(f"{what} {said}", remedy) for said, remedy in _unmet(profile, rule, partition)]
    yield from (Finding("problem", "partitions", said, f"{remedy} ({profile.path})") for said, remedy in problems)
    if not problems:
        yield Finding("ok", "partitions", "have what the jobs ask for")


def _unmet(profile: Profile, rule: str, partition: Partition) -> Iterator[tuple[str, str]]:
    asked = {name: profile.number(rule, name) for name in ("mem_mb", "runtime", "gpu")}
    if asked["mem_mb"] > partition.mem_mb:
        yield f"ask for {asked['mem_mb']} MB, {partition.name} has {partition.mem_mb}", "lower mem_mb"
    if partition.minutes is not None and asked["runtime"] > partition.minutes:
        yield f"ask for {asked['runtime']} minutes, {partition.name} gives {partition.minutes}", "lower runtime"
    if profile.threads(rule) > partition.cores:
        yield f"ask for {profile.threads(rule)} cores, {partition.name} has {partition.cores}", "lower set-threads"
    if asked["gpu"] and not partition.has_gpu:
        yield f"ask for a GPU, {partition.name} has none", "name a slurm_partition with GPUs, or set gpu: 0"


def read_partitions(text: str) -> list[Partition]:
    """Return the partitions that ``sinfo --noheader --format '%P|%l|%m|%c|%G'`` lists, a line for each kind of node."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        name, limit, memory, cores, devices = line.strip().split("|")
        one = Partition(
            name.removesuffix("*"),
            name.endswith("*"),
            _minutes(limit),
            int(memory.rstrip("+")),
            int(cores.rstrip("+")),
            "gpu" in devices,
        )
        known = found.get(one.name, one)
        found[one.name] = Partition(
            one.name,
            one.is_default,
            one.minutes,
            max(one.mem_mb, known.mem_mb),
            max(one.cores, known.cores),
            one.has_gpu or known.has_gpu,
        )
    return list(found.values())


def _minutes(limit: str) -> int | None:
    """Return the minutes of a time such as 2-03:00:00 or 30:00; None of ``infinite``."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in [*parts, days or "0"]):
        return None
    hours, minutes, _ = [0, 0, *map(int, parts)][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes


def _accounts(profile: Profile, storage: str) -> Iterator[Finding]:
    """Yield whether the user may charge the account that the profile names, where accounts are kept."""
    asked = profile.asks("", "slurm_account")
    if asked is None or not storage.endswith("slurmdbd"):
        return
    try:
        listed = _ask("sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", "format=account")
    except UserError as error:
        yield Finding("note", "account", str(error))
        return
    accounts = sorted(set(listed.split()))
    if asked in accounts:
        yield Finding("ok", "account", asked)
    else:
        yield Finding("problem", "account", f"{asked} is not yours", f"take one of {', '.join(accounts) or 'none'}")


def _partitions() -> list[Partition]:
    listed = _ask("sinfo", "--noheader", "--format", "%P|%l|%m|%c|%G")
    try:
        return read_partitions(listed)
    except ValueError as error:
        raise UserError(f"sinfo lists partitions in a form that is not known ({error})") from None


def _settings() -> dict[str, str]:
    lines = (line.partition("=") for line in _ask("scontrol", "show", "config").splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


def _ask(*command: str) -> str:
    """Return what a command of SLURM prints; a UserError where it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER, check=False)
    except (OSError, subprocess.TimeoutExpired):
        raise UserError(f"{command[0]} does not answer") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"{command[0]} fails ({said[:120]})")
    return done.stdout
