"""What `ksfusion doctor` says of a machine, a cluster and a study, each with something known to be wrong."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pandas as pd
import pytest
import yaml
from fold_project import CASES, write_study

from ksfusion.cli import main
from ksfusion.core.errors import UserError
from ksfusion.core.resources import PROJECT
from ksfusion.doctor import cluster, gpus, machine, reading
from ksfusion.doctor.cluster import Partition, partition_findings, read_partitions
from ksfusion.doctor.findings import Finding, from_lines, looked_at
from ksfusion.doctor.profiles import Profile, read_profile
from ksfusion.doctor.studies import planned_study
from ksfusion.methods.template import method_text

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


@pytest.fixture
def study(tmp_path, monkeypatch):
    write_study(tmp_path)
    # A machine of any size is large enough.
    monkeypatch.setattr(machine, "memory_limit", lambda: 64 * 10**9)
    return tmp_path / "folds.yaml"


def told(capsys, *argv):
    """Return the exit code and what `ksfusion doctor --format json` says."""
    code = 0
    try:
        main(["doctor", *map(str, argv), "--format", "json"])
    except SystemExit as ended:
        code = ended.code
    return code, json.loads(capsys.readouterr().out)


def test_a_study_in_order(study, capsys):
    code, said = told(capsys, study)
    assert (code, said["problems"]) == (0, 0)
    tables = [finding for finding in said["findings"] if finding["subject"] == "tables"]
    assert tables[0]["said"] == "24 samples of 24 cases, 24 slides"
    # It looks and leaves nothing behind.
    assert not (study.parent / "results").exists()
    main(["doctor", str(study)])
    assert capsys.readouterr().out.splitlines()[-1] == "no problems"


def test_a_study_out_of_order(study, capsys):
    (study.parent / "slides/case-03.png").unlink()
    config = yaml.safe_load(study.read_text())
    config["genes"]["rank"] = "no-such"
    study.write_text(yaml.safe_dump(config))
    code, said = told(capsys, study)
    wrong = [finding for finding in said["findings"] if finding["level"] == "problem"]
    assert (code, said["problems"], len(wrong)) == (1, 1, 1)
    assert "genes.rank" in wrong[0]["said"]
    code, said = told(capsys, study, "--set", "genes.rank=pooled")
    assert code == 0
    notes = [f["said"] for f in said["findings"] if f["level"] == "note" and f["subject"] == "tables"]
    assert any("slides/case-03.png" in note for note in notes)


@pytest.mark.parametrize(
    ("package", "subjects"),
    [
        ("torch", {"PyTorch"}),
        ("imagecodecs", {"codecs"}),
        ("numpy", {"codecs", "OpenSlide"}),
        ("openslide", {"OpenSlide"}),
        ("huggingface_hub", {"weights"}),
    ],
)
def test_a_package_that_is_not_there_is_a_problem_and_all_else_is_told(study, capsys, monkeypatch, package, subjects):
    monkeypatch.setitem(sys.modules, package, None)  # so an import of it raises ModuleNotFoundError
    encoder = "uni2-h" if package == "huggingface_hub" else "seeded-conv"
    code, said = told(capsys, study, "--set", f"features.encoder={encoder}")
    wrong = [finding for finding in said["findings"] if finding["level"] == "problem"]
    named = [finding for finding in wrong if f"the package {package} is not installed" in finding["said"]]
    assert code == 1 and named and all("pip install" in finding["remedy"] for finding in named)
    assert {finding["subject"] for finding in wrong} == subjects
    told_of = [finding["subject"] for finding in said["findings"]]
    assert [name for name in ("packages", "memory", "disk", "TMPDIR", "tables") if name not in told_of] == []


def broken_package(folder, name, raised):
    """Put a package into a folder that raises when it is imported."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"raise {raised}\n")


def run_doctor(folder, *argv):
    """Return the exit code of the command with a folder before all packages, and the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "ksfusion", "doctor", *map(str, argv)],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    "raised",
    [
        "ImportError('libtorch_cpu.so: failed to map segment from shared object')",  # as under a low ulimit -v
        "OSError('libcudart.so.13: cannot open shared object file')",
    ],
)
def test_a_pytorch_whose_libraries_cannot_be_loaded(tmp_path, raised):
    broken_package(tmp_path, "torch", raised)
    code, lines = run_doctor(tmp_path)
    (line,) = [line for line in lines if line.startswith("problem PyTorch ")]
    assert code == 1 and "cannot be loaded (lib" in line and "--force-reinstall torch" in line
    assert lines[0].split()[1] == "packages" and any(" OpenSlide " in line for line in lines)


@pytest.mark.parametrize("package", ["yaml", "pydantic"])
def test_without_what_ksfusion_is_made_of_the_packages_are_told(tmp_path, package):
    broken_package(tmp_path, package, f"ModuleNotFoundError(name={package!r})")
    code, lines = run_doctor(tmp_path)
    assert code == 1 and [line.split()[1] for line in lines[:-1]] == ["packages", "ksfusion"]
    assert f"the package {package} is not installed; install it" in lines[1]
    (tmp_path / package / "__init__.py").write_text("raise SystemError('versions that do not fit')\n")
    code, lines = run_doctor(tmp_path)
    assert code == 1 and "ksfusion      cannot be loaded (versions that do not fit); " in lines[1]


def test_what_was_found_before_a_library_crashes_is_told(tmp_path):
    """As on a processor without what a library is compiled for."""
    broken_package(tmp_path, "torch", "SystemExit(__import__('os').kill(__import__('os').getpid(), 4))")
    code, lines = run_doctor(tmp_path)
    assert code == -4 and [line.split()[1] for line in lines[:1]] == ["packages"] and " OpenSlide " in lines[-1]


@pytest.mark.parametrize(("folder", "why"), [("/proc/x", "writing"), ("/dev/null/x", "writing")])
def test_a_folder_of_the_study_that_cannot_be_made(study, capsys, folder, why):
    code, said = told(capsys, study, "--set", f"folder={folder}")
    assert code == 1 and why in {found["subject"] for found in said["findings"] if found["level"] == "problem"}
    for verb in ("estimate", "run"):
        with pytest.raises(SystemExit) as ended:
            main([verb, str(study), "--set", f"folder={folder}"])
        (line,) = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2 and line.startswith(f"error: {study}: folder: ") and "name another" in line


def test_weights_that_are_not_given(study, capsys, monkeypatch):
    def refuse(encoder):
        raise UserError(f"features.encoder: {encoder}: its weights are gated; agree to their terms")

    monkeypatch.setattr("ksfusion.doctor.studies.check_weights", refuse)
    code, said = told(capsys, study, "--set", "features.encoder=uni2-h")
    wrong = [finding for finding in said["findings"] if finding["level"] == "problem"]
    assert (code, [finding["subject"] for finding in wrong]) == (1, ["weights"])
    assert wrong[0]["remedy"] == "agree to their terms"


def test_mistakes_of_the_command_have_another_exit_code(tmp_path, capsys):
    for argv in (["nowhere.yaml"], ["--profile", "nowhere"]):
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *argv])
        assert ended.value.code == 2
    assert (PROJECT / "profiles/slurm/config.yaml").is_file()


def test_missing_slides_over_which_a_run_stops_are_a_problem(study, capsys):
    """Of 24 slides two may fail (5 %, and two of few): two are a note, three a problem."""
    for number in range(2):
        (study.parent / f"slides/case-0{number}.png").unlink()
    code, said = told(capsys, study)
    assert code == 0 and any("2 of 24 slide files" in found["said"] for found in said["findings"])
    (study.parent / "slides/case-02.png").unlink()
    code, said = told(capsys, study)
    (problem,) = [found for found in said["findings"] if found["level"] == "problem"]
    assert (code, problem["subject"]) == (1, "slides")
    assert "3 of 24 slide files are missing or empty" in problem["said"]
    assert problem["remedy"] == "check the folder they are in"
    assert not any("3 of 24" in found["said"] for found in said["findings"] if found["level"] == "note")


def with_ids(study, ids):
    """Write the table of samples with other expression ids."""
    rows = [f"{case}\t{case}\tX\tslides/{case}.png\t{name}\t0.5" for case, name in zip(CASES, ids, strict=True)]
    text = "\n".join(["sample_id\tcase_id\tcohort\tslide\texpression_id\tmpp", *rows])
    (study.parent / "samples.tsv").write_text(text + "\n")


def profiles_below_each_other(folder, name):
    table = pd.read_csv(folder / "expression.tsv", sep="\t", index_col="symbol").T.rename_axis("barcode").reset_index()
    table.to_csv(folder / name, index=False)


@pytest.mark.parametrize("path", ["expression.tsv", "rows.csv"])
def test_profiles_that_are_not_there(study, capsys, path):
    """Of 24 ids none, then all but two: a problem, and a note with their number and an example."""
    if path == "rows.csv":
        profiles_below_each_other(study.parent, path)
        values = yaml.safe_load(study.read_text())
        values["cohort"]["expression"][0]["path"] = path
        study.write_text(yaml.safe_dump(values))
    code, said = told(capsys, study)
    assert code == 0 and [found["level"] for found in said["findings"] if found["subject"] == "expression"] == ["ok"]
    with_ids(study, [f"{case}-01A" for case in CASES])
    code, said = told(capsys, study)
    (problem,) = [found for found in said["findings"] if found["level"] == "problem"]
    assert (code, problem["subject"]) == (1, "expression")
    assert "none of the 24 expression ids of cohort X is that of a profile in " in problem["said"]
    assert "such as case-00-01A" in problem["said"] and "correct expression_id" in problem["remedy"]
    with_ids(study, ["lost-0", "lost-1", *CASES[2:]])
    code, said = told(capsys, study)
    (note,) = [found for found in said["findings"] if found["subject"] == "expression"]
    assert (code, note["level"]) == (0, "note") and "2 of the 24 expression ids of cohort X" in note["said"]
    assert "such as lost-0" in note["said"] and note["remedy"] == "their samples will be left out"
    assert sum("lost-0" in found["said"] for found in said["findings"]) == 1


def test_profiles_that_are_not_there_are_told_before_a_run(study, capsys):
    with_ids(study, ["lost-0", *CASES[1:]])
    with planned_study(study) as plan:
        assert [line for line in plan.warnings() if "lost-0" in line] == plan.lost_profiles().of_some
        plan.begin(["read_expression"])
    with_ids(study, [f"{case}-01A" for case in CASES])
    with planned_study(study) as plan:
        (line,) = plan.lost_profiles().of_all
        assert line in plan.warnings()
        with pytest.raises(UserError, match="none of the 24 expression ids of cohort X"):
            plan.begin(["read_expression", "tile_slides"])
        plan.begin(["tile_slides"])
    (study.parent / "expression.tsv").write_text("<html>busy</html>")
    with planned_study(study) as plan:
        (line,) = [line for line in plan.warnings() if "is a web page, not data" in line]
        assert plan.lost_profiles() == ([line], [], [])
    code, said = told(capsys, study)
    assert code == 1 and [f["subject"] for f in said["findings"] if f["level"] == "problem"] == ["expression"]


def test_profiles_that_may_be_missing_are_told(study):
    """Where one modality is enough, profiles may be named that are not there."""
    with_ids(study, [f"{case}-01A" for case in CASES])
    with planned_study(study, ["cohort.require=any"]) as plan:
        unreadable, of_all, (line,) = plan.lost_profiles()
        assert (unreadable, of_all) == ([], []) and "none of the 24 expression ids" in line
        plan.begin(["read_expression"])


def test_missing_features_of_another_tool_are_told_as_slides_are(study, capsys):
    settings = yaml.safe_load(study.read_text())
    folder = study.parent / "trident"
    folder.mkdir()
    for number in range(24):
        (folder / f"case-{number:02}.h5").write_bytes(b"x")
    study.write_text(yaml.safe_dump(settings | {"features": {"source": "precomputed", "path": "trident"}}))
    (folder / "case-00.h5").unlink()
    code, said = told(capsys, study)
    line = "1 of 24 slides' files of features are missing or empty, such as "
    (note,) = [found for found in said["findings"] if line in found["said"]]
    assert code == 0 and note["said"].endswith("trident/case-00.h5") and "left out" in note["remedy"]
    for number in (1, 2):
        (folder / f"case-{number:02}.h5").write_bytes(b"")
    code, said = told(capsys, study)
    (problem,) = [found for found in said["findings"] if found["level"] == "problem"]
    assert (code, problem["subject"]) == (1, "slides") and "3 of 24 slides' files of features" in problem["said"]


RETURNS = "return MethodOutput(logits, attention=attention.squeeze(2))"


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("return logits", "forward returns Tensor"),
        (f"{RETURNS}\n\n\nraise KeyError('gone')", "KeyError"),
    ],
)
def test_a_method_of_ones_own_is_tried(study, capsys, instead, said):
    file = study.parent / "my_mil.py"
    file.write_text(method_text("my_mil"))
    values = yaml.safe_load(study.read_text()) | {"methods_from": ["my_mil.py"], "methods": ["snn", "my_mil"]}
    study.write_text(yaml.safe_dump(values))
    assert told(capsys, study)[0] == 0
    assert RETURNS in file.read_text()
    file.write_text(file.read_text().replace(RETURNS, instead))
    code, found = told(capsys, study)
    (problem,) = [one for one in found["findings"] if one["level"] == "problem"]
    assert code == 1 and problem["subject"] == "methods" and said in problem["said"]
