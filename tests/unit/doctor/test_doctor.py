"""What `ksfusion doctor` finds of a machine, a cluster and a profile, each with something known to be wrong."""

import shutil
import tempfile

import pytest

from ksfusion.core.errors import UserError
from ksfusion.doctor import cluster, gpus, machine, reading
from ksfusion.doctor.cluster import Partition, partition_findings, read_partitions
from ksfusion.doctor.findings import Finding, from_lines, looked_at
from ksfusion.doctor.profiles import Profile, read_profile

SINFO = """\
main*|1-00:00:00|64000|16|(null)
main*|1-00:00:00|128000+|8|(null)
gpu|4:30:00|256000|32|gpu:h200:4(S:0-1)
long|infinite|64000|16|(null)
debug|30:00|1000|2|(null)
"""


def problems(found):
    return [finding for finding in found if finding.level == "problem"]


def test_what_sinfo_prints_of_partitions():
    assert read_partitions(SINFO) == [
        Partition("main", True, 1440, 128000, 16, False),
        Partition("gpu", False, 270, 256000, 32, True),
        Partition("long", False, None, 64000, 16, False),
        Partition("debug", False, 30, 1000, 2, False),
    ]


def profile_of(tmp_path, **values):
    return Profile(tmp_path / "config.yaml", values)


def test_a_profile_as_snakemake_reads_it(tmp_path):
    defaults = ["mem_mb=4000 * attempt", "runtime=120", "slurm_partition=main"]
    own = {"train_model": {"mem_mb": "24000 * attempt", "gpu": 1}}
    profile = profile_of(tmp_path, **{"default-resources": defaults, "set-resources": own, "set-threads": {"a": 8}})
    assert (profile.number("train_model", "mem_mb"), profile.number("train_model", "runtime")) == (24000, 120)
    assert (profile.number("any", "mem_mb"), profile.number("any", "gpu"), profile.asks("any", "x")) == (4000, 0, None)
    assert (profile.threads("a"), profile.threads("b"), profile.largest_mb()) == (8, 1, 24000)
    assert (profile.rules, profile.executor) == (["train_model", "a"], "local")
    assert read_profile("slurm").executor == "slurm"
    with pytest.raises(UserError, match="--profile nowhere: is neither slurm nor a folder"):
        read_profile("nowhere")


def test_what_no_partition_gives(tmp_path):
    own = {
        "train_model": {"gpu": 1},
        "search_settings": {"gpu": 1, "slurm_partition": "gpu", "runtime": 600},
        "extract_features": {"slurm_partition": "fast"},
        "read_expression": {"mem_mb": 200000},
    }
    values = {"default-resources": ["mem_mb=4000", "runtime=120"], "set-resources": own, "set-threads": {"tile": 64}}
    said = [
        finding.said for finding in problems(partition_findings(profile_of(tmp_path, **values), read_partitions(SINFO)))
    ]
    assert said == [
        "jobs of train_model ask for a GPU, main has none",
        "jobs of search_settings ask for 600 minutes, gpu gives 270",
        "jobs of extract_features go to fast, which is none",
        "jobs of read_expression ask for 200000 MB, main has 128000",
        "jobs of tile ask for 64 cores, main has 16",
    ]
    fitting = profile_of(tmp_path, **{"default-resources": ["mem_mb=4000", "runtime=120"]})
    (fine,) = partition_findings(fitting, read_partitions(SINFO))
    assert fine.level == "ok"
    (without,) = partition_findings(fitting, read_partitions(SINFO.replace("*", "")))
    assert (without.level, without.said) == ("problem", "all other jobs name no partition, and there is no default")


@pytest.mark.parametrize(
    ("storage", "status_command", "level"),
    [
        ("accounting_storage/none", None, "problem"),
        ("(null)", None, "problem"),
        ("accounting_storage/none", "squeue", "ok"),
        ("accounting_storage/slurmdbd", None, "ok"),
    ],
)
def test_a_run_must_be_able_to_learn_that_a_job_has_ended(tmp_path, storage, status_command, level):
    found = cluster._accounting(storage, profile_of(tmp_path, **{"slurm-status-command": status_command}))
    assert found.level == level
    if level == "problem":
        assert found.remedy == f"write slurm-status-command: squeue in {tmp_path}/config.yaml"


def test_a_profile_for_slurm_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (found,) = cluster.cluster_findings(profile_of(tmp_path, executor="slurm"))
    assert (found.level, found.said) == ("problem", "there is no sbatch on PATH")
    assert list(cluster.cluster_findings(profile_of(tmp_path))) == []


@pytest.mark.parametrize(("executor", "level"), [("slurm", "problem"), ("local", "note")])
def test_commands_of_slurm_without_a_cluster(tmp_path, monkeypatch, executor, level):
    (tmp_path / "sbatch").touch()
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'sinfo: error: DNS SRV lookup failed' >&2\nexit 1\n")
    for command in ("sbatch", "sinfo"):
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (found,) = cluster.cluster_findings(profile_of(tmp_path, executor=executor))
    assert found.level == level
    assert ("DNS SRV lookup failed" in found.said) == (level == "problem")
    assert found.remedy.startswith("start runs on a login node" if level == "problem" else "of no matter unless runs")


def test_what_sinfo_prints_that_is_no_table_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/sbatch")
    monkeypatch.setattr(cluster, "_ask", lambda *command: "main*|1-00:00:00|much|16|(null)\n")
    assert cluster.known_cluster() == ([], True)
    (found,) = cluster.cluster_findings(profile_of(tmp_path, executor="slurm"))
    assert (found.level, found.subject) == ("problem", "SLURM") and "'much'" in found.said and found.remedy


def test_a_look_that_fails_is_a_finding():
    def look(number):
        yield Finding("ok", "disk", "one")
        yield Finding("ok", "disk", str(1 / number))

    first, then = looked_at("disk", look, 0)
    assert (first.level, then.level, then.subject) == ("ok", "problem", "disk") and then.remedy
    assert then.said == "cannot be looked at (ZeroDivisionError: division by zero)"


def test_what_a_machine_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 4 * 10**9)
    monkeypatch.setattr(machine, "requires", lambda _: ["numpy<1", "no-such-package>=2", "pytest ; extra == 'dev'"])
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    found = {finding.subject: finding for finding in machine.machine_findings(tmp_path, 5000)}
    assert {name for name, finding in found.items() if finding.level == "problem"} == {"packages", "memory", "TMPDIR"}
    assert found["packages"].said.startswith("numpy is ")
    assert found["packages"].said.endswith(", wanted <1, no-such-package is not installed")
    assert found["memory"].said == "4.0 GB, and the largest job asks for 5.0 GB"
    assert found["TMPDIR"].said.startswith(f"nothing can be written to {tmp_path}/nowhere, so that ")
    assert all(finding.remedy for finding in problems(found.values()))
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_has_all(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 16 * 10**9)
    found = {finding.subject: finding for finding in machine.machine_findings(tmp_path, 5000)}
    assert problems(found.values()) == []
    assert found["memory"].said == "16.0 GB, enough for 3 of the largest jobs (5.0 GB) at once"


def test_a_folder_and_a_disk_that_cannot_be_written(tmp_path, monkeypatch):
    from pathlib import Path

    found = machine._writing(Path("/proc"))
    assert (found.level, found.subject) == ("problem", "writing")
    monkeypatch.setattr(machine, "LEAST_FREE", 10**18)
    assert machine._disk(tmp_path).level == "problem"
    monkeypatch.setattr(machine, "LEAST_FREE", 0)
    monkeypatch.setattr(machine, "LEAST_FILES", 10**18)
    assert "more files only" in machine._disk(tmp_path).said


@pytest.mark.parametrize(
    ("driver", "built", "hidden", "level", "said"),
    [
        (None, "13.0", None, "note", "no NVIDIA driver"),
        ("535.104.05", None, None, "problem", "but PyTorch"),
        ("535.104.05", "13.0", None, "problem", "cannot use it (finds no GPU)"),
        ("535.104.05", "13.0", "", "note", "hidden"),
    ],
)
def test_why_pytorch_has_no_gpu(tmp_path, monkeypatch, driver, built, hidden, level, said):
    import torch

    file = tmp_path / "version"
    if driver:
        file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Sat Aug 19 01:15:15 UTC 2023\n")
    monkeypatch.setattr(gpus, "DRIVER", file)
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    (found,) = gpus.gpu_findings()
    assert (found.level, found.subject) == (level, "CUDA")
    assert said in found.said
    assert not driver or driver in found.said
    # A login node need not have what the nodes have.
    (found,) = gpus.gpu_findings(here=False)
    assert found.level == "note" and found.said.startswith("here: PyTorch" if driver is None else "here: driver")
    assert "the processor" not in found.said
    assert found.remedy.startswith("jobs run on other nodes")
    assert ("srun --gres=gpu:1 ksfusion doctor" if built else "install a PyTorch with CUDA") in found.remedy


@pytest.mark.parametrize(
    ("variables", "level", "said"),
    [
        ({}, None, ""),
        ({"SLURM_JOB_ID": "7"}, "INFO", "job 7 on node n1 was given no GPU: computing on the processor"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "2"}, "WARNING", "job 7 was given GPU 2, and node n1 has none"),
    ],
)
def test_a_job_without_the_gpu_it_was_given_says_so(monkeypatch, variables, level, said):
    import logging

    import torch

    for name in ("SLURM_JOB_ID", *gpus.OF_SLURM):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"SLURMD_NODENAME": "n1", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = gpus.gpu_of_job()
    assert (logging.getLevelName(told[0]) if told else None) == level
    assert said in (told[1] if told else "")
    assert told is None or "\n" not in told[1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpus.gpu_of_job() is None


def test_a_codec_that_does_not_decode(monkeypatch):
    import imagecodecs

    assert [finding.level for finding in reading.reading_findings()] == ["ok", "ok"]
    monkeypatch.setattr(imagecodecs, "jpeg2k_decode", lambda data: 1 / 0)
    monkeypatch.setattr(imagecodecs, "lzw_decode", lambda data: b"other")
    found = next(iter(reading.reading_findings()))
    assert (found.level, found.said) == ("problem", "what is packed by jpeg2k, lzw cannot be read")


def test_the_remedy_stands_behind_the_last_semicolon():
    (found, bare) = from_lines("problem", "tables", ["a.tsv row 3: x; y is wrong; correct it", "no remedy"])
    assert (found.said, found.remedy, bare.said, bare.remedy) == (
        "a.tsv row 3: x; y is wrong",
        "correct it",
        "no remedy",
        "",
    )
    assert found.line(8) == "problem tables    a.tsv row 3: x; y is wrong; correct it"
    assert Finding("ok", "disk", "here").line() == "ok      disk  here"
