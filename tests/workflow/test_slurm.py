"""The SLURM profile on a real SLURM: what its jobs ask for, one that needs more memory, Ctrl-C, and the same bytes."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from doc_pages import ON_SLURM
from fold_project import make_project
from project import ROOT
from slurm_cluster import slurm_cluster, wait_for

from ksfusion.methods.template import method_text

PROFILE = "profiles/slurm/config.yaml"
# Three levels: tiles and the two tables, then stain and patches, then features.
TARGETS = ["results/features/0.h5", "results/cohort/samples.parquet", "results/genes/profiles.parquet"]
MODEL = "results/models/mgmt/snn/fold0/seed0/model.safetensors"
BEFORE_TRAINING = ["results/features/store", "results/genes/fold0/expression.parquet", "results/cohort/leakage.tsv"]
# More than the first attempt gets, less than the second.
FIRST_MB, NEEDED_MB = 1000, 1400
# In front of the package's command line. SLURM looks at the memory once a second.
PLANTED = f"""
import os, sys, time
from pathlib import Path

with open("seen.txt", "a") as file:
    print(sys.argv[1], os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)
if sys.argv[1] == "check-cohort":
    held = b"x" * ({NEEDED_MB} * 10**6)
    time.sleep(5)
if sys.argv[1] == "read-expression" and Path("wait").exists():
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def cluster():
    with slurm_cluster() as started:
        yield started


# The lines of the profile that a user fills in.
FILLED_IN = {
    "#slurm-status-command: squeue": "slurm-status-command: squeue",
    "#  - slurm_account=ACCOUNT": "  - slurm_account=lab",
    "#  - slurm_partition=PARTITION": "  - slurm_partition=main",
    "#    slurm_partition: GPU_PARTITION": "    slurm_partition: gpu",
}


@pytest.fixture(scope="module")
def project(cluster, tmp_path_factory):
    """Return a cohort with the profile filled in, and a check_cohort that needs more memory than it gets at first."""
    project = make_project(tmp_path_factory.mktemp("slurm") / "project")
    text = (project.folder / PROFILE).read_text()
    for line, filled in FILLED_IN.items():
        assert line in text
        text = text.replace(line, filled)
    profile = yaml.safe_load(text)
    profile["set-resources"]["check_cohort"] = {"mem_mb": f"{FIRST_MB} * attempt"}
    # The jobs are short.
    profile["slurm-init-seconds-before-status-checks"] = 12
    (project.folder / PROFILE).write_text(yaml.safe_dump(profile))
    (project.folder / "my_mil.py").write_text(method_text("my_mil"))
    project.configure(methods_from=["my_mil.py"], methods=["snn", "my_mil"])
    command_line = project.folder / "src/ksfusion/__main__.py"
    command_line.write_text(PLANTED + command_line.read_text())
    return project


@contextlib.contextmanager
def started(project, cluster, *targets):
    """Start targets with the SLURM profile, and leave nothing behind."""
    command = [sys.executable, "-m", "snakemake", *targets, "--workflow-profile", "profiles/slurm"]
    with subprocess.Popen(
        [*command, "--configfile", project.configfile], cwd=project.folder, env=cluster.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        # A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as run:  # fmt: skip
        try:
            yield run
        finally:
            if run.poll() is None:
                run.kill()


def submit(project, cluster, *targets):
    """Run targets on the cluster to their end and return the jobs that SLURM recorded, by rule."""
    before = len(cluster.jobs())
    with started(project, cluster, *targets) as run:
        printed, _ = run.communicate(timeout=300)
    assert run.returncode == 0, printed[-6000:]
    jobs = {}
    for job in cluster.jobs()[before:]:
        jobs.setdefault(job.rule, []).append(job)
    return jobs


@pytest.fixture(scope="module")
def interrupted(project, cluster):
    """Press Ctrl-C while a job runs; return the run's status and the jobs."""
    (project.folder / "wait").touch()
    with started(project, cluster, "results/genes/profiles.parquet") as run:
        wait_for((project.folder / "seen.txt").exists, 60, "the start of a job")
        running = cluster.jobs()
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=60)
    cluster.wait_for_jobs()
    (project.folder / "wait").unlink()
    return run.returncode, running, cluster.jobs()


@pytest.fixture(scope="module")
def first(project, cluster, interrupted):
    return submit(project, cluster, *TARGETS)


@pytest.fixture(scope="module")
def training(project, cluster, first):
    """Train on the cluster what was prepared partly there and partly here."""
    project.snakemake(*BEFORE_TRAINING)
    return submit(project, cluster, MODEL)


def asked(rule, key):
    """Return what the profile asks for on a rule's first attempt."""
    profile = yaml.safe_load((ROOT / PROFILE).read_text())
    defaults = dict(entry.split("=") for entry in profile["default-resources"])
    value = profile["set-resources"].get(rule, {}).get(key, defaults[key])
    return int(str(value).removesuffix(" * attempt"))


def test_ctrl_c_cancels_the_jobs(interrupted):
    status, running, left = interrupted
    assert [(job.rule, job.state) for job in running] == [("read_expression", "RUNNING")]
    assert status != 0
    assert [(job.rule, job.state) for job in left] == [("read_expression", "CANCELLED")]


def test_each_job_asks_for_what_the_profile_says(first, training):
    jobs = {**first, **training}
    rules = ["tile_slides", "fit_stain", "sample_patches", "extract_features", "read_expression", "train_model"]
    assert sorted(jobs) == sorted([*rules, "check_cohort"])
    for rule in rules:
        (job,) = jobs[rule]
        assert job.state == "COMPLETED", rule
        assert job.mem_mb == asked(rule, "mem_mb"), rule
        assert job.minutes == asked(rule, "runtime"), rule
        assert job.gpus == asked(rule, "gpu"), rule
        assert (job.account, job.partition) == ("lab", "gpu" if job.gpus else "main"), rule
        # One run, on two nodes.
        assert job.node == ("gpus" if job.gpus else "plain"), rule
    assert (jobs["extract_features"][0].cores, jobs["tile_slides"][0].cores) == (8, 1)


def test_only_the_rules_that_use_a_gpu_see_one(project, first, training):
    devices = dict(line.split() for line in (project.folder / "seen.txt").read_text().splitlines())
    # The node has two; the jobs ran one after the other, each on the first.
    assert (devices["extract-features"], devices["train-model"]) == ("0", "0")
    others = ("tile-slides", "fit-stain", "sample-patches", "check-cohort", "read-expression")
    assert {devices[verb] for verb in others} == {"None"}


def test_a_job_killed_for_memory_asks_for_more(project, first):
    killed, completed = first["check_cohort"]
    assert (killed.state, killed.mem_mb) == ("FAILED", FIRST_MB)
    # What SLURM and Snakemake said of a job is kept where the job failed.
    log = project.folder / f".snakemake/slurm_logs/rule_check_cohort/{killed.number}.log"
    assert "exceeded memory limit" in log.read_text()
    assert (completed.state, completed.mem_mb) == ("COMPLETED", 2 * FIRST_MB)


def test_the_files_are_those_of_a_local_run(project, first, training, tmp_path):
    local = make_project(tmp_path / "project")
    local.snakemake(*TARGETS, MODEL)
    for name in [*TARGETS, MODEL, MODEL.replace("model.safetensors", "predictions.parquet")]:
        assert (project.folder / name).read_bytes() == (local.folder / name).read_bytes(), name


def test_a_local_run_finds_nothing_to_do(project, first, training):
    assert project.planned(*TARGETS, MODEL) == {}


def test_a_method_of_ones_own_reaches_its_job(project, cluster, training):
    model = MODEL.replace("snn", "my_mil")
    (job,) = submit(project, cluster, model)["train_model"]
    assert (job.state, job.node) == ("COMPLETED", "gpus")
    assert project.json(model.replace("model.safetensors", "config.json"))["method_file"]["name"] == "my_mil.py"
    assert project.planned(model) == {}


def test_ksfusion_run_submits_jobs_too(project, cluster, training):
    before = len(cluster.jobs())
    command = [sys.executable, "-m", "ksfusion", "run", project.configfile, "results/genes/fold1/selected.tsv"]
    done = subprocess.run(
        [*command, "--profile", "slurm"], cwd=project.folder, capture_output=True, text=True, check=False, timeout=300,
        env={**cluster.environment, "PYTHONPATH": str(project.folder / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.folder / "results/genes/fold1/selected.tsv").is_file()
    assert [(job.rule, job.state) for job in cluster.jobs()[before:]] == [("select_genes", "COMPLETED")]


def test_a_job_says_that_its_node_has_no_gpu_to_use(project, training):
    """The node's two GPUs are device files without a driver."""
    log = (project.folder / "results/logs/train_model/mgmt/snn/fold0.log").read_text()
    (line,) = [line for line in log.splitlines() if "GPU" in line]
    assert re.match(r"WARNING ksfusion.cli: job \d+ was given GPU 0, and node gpus has none that can be used: ", line)


@pytest.fixture(scope="module")
def study(project, training):
    """Return the study under the name that it has on the pages, with a profile of its own."""
    shutil.copy(project.folder / project.configfile, project.folder / "my.yaml")
    shutil.copytree(project.folder / "profiles/slurm", project.folder / "mine")
    return project


@pytest.mark.parametrize("text", ON_SLURM)
def test_a_command_of_the_pages_runs(study, cluster, text):
    """The first of them that runs everything takes a few minutes, the others find it done."""
    environment = {**cluster.environment, "PYTHONPATH": str(study.folder / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        shlex.split(text), cwd=study.folder, capture_output=True, text=True, check=False, timeout=900, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def estimated(cluster, tmp_path_factory):
    """Return a cohort in two batches, run to its tiles with the profile that an estimate of it prints."""
    project = make_project(tmp_path_factory.mktemp("estimated") / "project")
    project.configure(slides={"batches": 2})
    command = [sys.executable, "-m", "ksfusion", "estimate", project.configfile, "--profile", "slurm"]
    environment = {**cluster.environment, "PYTHONPATH": str(project.folder / "src")}
    # As a shell does it: the file is empty before the command begins.
    with (project.folder / PROFILE).open("w") as file:
        subprocess.run(command, cwd=project.folder, env=environment, stdout=file, check=True, timeout=60)
    profile = yaml.safe_load((project.folder / PROFILE).read_text())
    with (project.folder / PROFILE).open("a") as file:
        file.write("slurm-init-seconds-before-status-checks: 6\n")
    return profile, submit(project, cluster, "results/tiles/0.parquet", "results/tiles/1.parquet")


def test_the_profile_of_an_estimate_works(estimated):
    profile, jobs = estimated
    assert profile["slurm-status-command"] == "squeue"
    # The cluster's one partition with GPUs is found.
    assert profile["set-resources"]["extract_features"]["slurm_partition"] == "gpu"
    asked = profile["set-resources"]["tile_slides"]
    for job in jobs["tile_slides"]:
        assert (job.state, f"{job.minutes} * attempt") == ("COMPLETED", asked["runtime"])
        # The plugin adds what the list of an array's jobs takes.
        assert 0 <= job.mem_mb - int(asked["mem_mb"].removesuffix(" * attempt")) <= 10


def test_the_jobs_of_all_batches_are_one_array(estimated):
    _, jobs = estimated
    assert len(jobs["tile_slides"]) == 2
    assert len({job.array for job in jobs["tile_slides"]} - {None}) == 1


def test_the_doctor_sees_what_the_cluster_has(project, cluster):
    """It keeps no accounts of jobs, so that a profile without squeue would wait for ever."""

    def told(profile, code):
        command = [sys.executable, "-m", "ksfusion", "doctor", "--profile", str(profile), "--format", "json"]
        done = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}

    found = told(project.folder / "profiles/slurm", 0)
    assert found["SLURM"]["said"].endswith("partitions: main, gpu")
    assert [found[name]["level"] for name in ("SLURM plugin", "accounting", "partitions")] == ["ok"] * 3
    found = told("slurm", 1)
    assert (found["accounting"]["level"], found["partitions"]["level"]) == ("problem", "problem")
    assert found["partitions"]["said"].endswith(" ask for a GPU, main has none")
    assert found["accounting"]["remedy"].startswith("write slurm-status-command: squeue in ")


def test_the_documented_requests_are_those_of_the_profile():
    table = (ROOT / "docs/slurm.md").read_text().split("| rule |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (.+) \| (\d+) GB \| (\d+) h \| (\d+) \| (\d+) \|$", table, flags=re.MULTILINE)
    told = {
        rule.strip("`"): (1000 * int(memory), 60 * int(hours), int(gpus), int(cores))
        for rule, memory, hours, gpus, cores in rows
    }
    profile = yaml.safe_load((ROOT / PROFILE).read_text())
    assert set(told) == {*profile["set-resources"], "all others"}
    for rule, requests in told.items():
        expected = (*(asked(rule, key) for key in ("mem_mb", "runtime", "gpu")), profile["set-threads"].get(rule, 1))
        assert requests == expected, rule
