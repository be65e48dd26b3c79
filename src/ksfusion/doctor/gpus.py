"""Which GPUs PyTorch can use, and why not."""

from __future__ import annotations

import logging
import os
import platform
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ksfusion.doctor.findings import Finding, not_loaded

DRIVER = Path("/proc/driver/nvidia/version")
# Where SLURM tells a job which GPUs it has.
OF_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES")
# Less holds neither an encoder at features.batch_size 256 nor a training at the paper's size.
LEAST_GPU = 6 * 10**9
# Where jobs run on other machines than the one that is asked.
ON_A_NODE = "jobs run on other nodes: ask on one of them, srun --gres=gpu:1 ksfusion doctor"
WITHOUT_CUDA = "jobs run on other nodes: for those with GPUs install a PyTorch with CUDA (pytorch.org)"


def gpu_findings(here: bool = True) -> Iterator[Finding]:
    """Yield what was found of the GPUs, of their driver and of CUDA in PyTorch.

    Parameters
    ----------
    here
        Whether jobs run on this machine: what it lacks says nothing of the nodes of a cluster.
    """
    try:
        import torch
    except Exception as error:  # whatever a damaged package raises
        yield not_loaded("PyTorch", error, "torch")
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    driver, built = _driver(), torch.version.cuda
    about = f"PyTorch {torch.__version__} ({f'CUDA {built}' if built else 'without CUDA'})"
    if usable:
        yield Finding("ok", "CUDA", f"{about}, driver {driver or 'unknown'}")
        for number in range(torch.cuda.device_count()):
            yield _gpu(torch.cuda.get_device_properties(number), number, torch.cuda.is_bf16_supported())
        return
    found = _unusable(driver, built, about, " ".join(str(said[0].message).split()) if said else "finds no GPU")
    if not here:
        yield Finding("note", "CUDA", f"here: {found.said}", ON_A_NODE if built else WITHOUT_CUDA)
    elif driver is None:
        yield replace(found, said=f"{found.said}: encoding and training take the processor")
    else:
        yield found


def _unusable(driver: str | None, built: str | None, about: str, why: str) -> Finding:
    """Return why PyTorch has no GPU here.

    Parameters
    ----------
    driver, built
        Versions of the driver, and of the CUDA that PyTorch was built with; None where there is none.
    about
        PyTorch in words.
    why
        What it says itself.
    """
    if driver is None:
        return Finding("note", "CUDA", f"{about}, no NVIDIA driver")
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Finding("note", "CUDA", f"driver {driver}, hidden", "unset CUDA_VISIBLE_DEVICES to use the GPUs")
    if built is None:
        return Finding("problem", "CUDA", f"driver {driver}, but {about}", "install a PyTorch with CUDA (pytorch.org)")
    remedy = f"update the driver to one for CUDA {built}, or install a PyTorch for the CUDA of the driver"
    return Finding("problem", "CUDA", f"driver {driver}, but {about} cannot use it ({why[:200]})", remedy)


def usable_gpus() -> tuple[str, ...]:
    """Return the names of the GPUs of this machine that PyTorch can use."""
    import torch

    with warnings.catch_warnings():
        # Why it can use none, the doctor tells.
        warnings.simplefilter("ignore")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(torch.cuda.get_device_properties(number).name for number in range(count))


def gpu_of_job() -> tuple[int, str] | None:
    """Return what to tell in a job of SLURM that computes without a GPU, with its level; None where nothing is.

    A GPU that the job was given and that PyTorch cannot use is a warning.
    """
    job, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURMD_NODENAME", platform.node())
    if job is None:
        return None
    import torch

    if torch.cuda.is_available():
        return None
    given = next((os.environ[name] for name in OF_SLURM if os.environ.get(name)), "")
    said = "computing on the processor, which takes many times as long"
    if given:
        remedy = f"exclude the node (--exclude={node}), and run `ksfusion doctor` on it"
        return (
            logging.WARNING,
            f"job {job} was given GPU {given}, and node {node} has none that can be used: {said}; {remedy}",
        )
    return (
        logging.INFO,
        f"job {job} on node {node} was given no GPU: {said}; ask for one (gpu: 1 of its rule in the profile)",
    )


def _gpu(properties: object, number: int, has_bfloat16: bool) -> Finding:
    name, memory = getattr(properties, "name", ""), getattr(properties, "total_memory", 0)
    said = f"{name}, {memory / 10**9:.0f} GB"
    if memory < LEAST_GPU:
        remedy = "lower features.batch_size and training.batch_size if memory runs out"
        return Finding("note", f"GPU {number}", said, remedy)
    return Finding("ok", f"GPU {number}", said + (", bfloat16" if has_bfloat16 else ", no bfloat16: take float16"))


def _driver() -> str | None:
    """Return the version of the NVIDIA driver of the kernel; None where there is none."""
    try:
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", DRIVER.read_text())
    except OSError:
        return None
    return found[0] if found else "of unknown version"
