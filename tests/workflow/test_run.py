"""`ksfusion run`, `status` and `init` as a user has them: real runs, from another folder, with a space in the path."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from fold_project import write_study
from hospital import CONTROL, ONLY_PATIENT, ONLY_PROFILE, PATIENTS, draw_hospital

from ksfusion.cohort.samples import read_cohort
from ksfusion.config import PAPER_METHODS
from ksfusion.methods.registry import BASELINES
from ksfusion.preflight.parsing import load_config

pytestmark = [pytest.mark.workflow]
KSFUSION = [sys.executable, "-m", "ksfusion"]
STEPS_OF_SLIDES = 9


def call(*arguments, cwd, check=True, **options):
    done = subprocess.run([*KSFUSION, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, **options)
    if check and done.returncode:
        pytest.fail(f"{arguments}\n{(done.stdout + done.stderr)[-4000:]}")
    return done


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return the configuration of a study that has not begun."""
    folder = tmp_path_factory.mktemp("drawn") / "my study"
    folder.mkdir()
    write_study(folder)
    config = yaml.safe_load((folder / "folds.yaml").read_text())
    (folder / "my.yaml").write_text(yaml.safe_dump({**config, "folder": "made here"}))
    return folder / "my.yaml"


@pytest.fixture
def fresh(drawn, tmp_path):
    shutil.copytree(drawn.parent, tmp_path / "my study", ignore=shutil.ignore_patterns("made here"))
    return tmp_path / "my study/my.yaml"


@pytest.fixture(scope="module")
def ran(drawn, elsewhere):
    """Return the configuration of a study whose slides are done, and what the run printed."""
    return drawn, call("run", drawn, "slides", "--cores", "2", "--set", "patches.order=hilbert", cwd=elsewhere)


def test_a_run_prints_a_line_for_each_job(ran, elsewhere):
    config, done = ran
    lines = (done.stdout + done.stderr).splitlines()
    jobs = [line for line in lines if line.startswith("[")]
    assert len(jobs) == STEPS_OF_SLIDES - 1  # the rule `slides` only gathers
    # The command, Snakemake's line on the profile, what begins, what ended.
    assert len(lines) == len(jobs) + 4
    assert lines[2] == f"{STEPS_OF_SLIDES} steps; results go to {config.parent / 'made here/results'}"
    assert lines[-1].startswith(f"{STEPS_OF_SLIDES} steps done in ")
    assert "\r" not in done.stderr and "\033" not in done.stderr
    assert (config.parent / "made here/results/slides.tsv").is_file()
    assert list(elsewhere.iterdir()) == [] and not (config.parent / "results").exists()


def test_the_command_that_is_printed_is_the_run(ran, elsewhere):
    _, done = ran
    command = shlex.split(done.stderr.splitlines()[0])
    assert "patches={order: hilbert}" in command
    again = subprocess.run([*command, "--dry-run"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_the_targets(ran, elsewhere):
    config, _ = ran
    same = ("--set", "patches.order=hilbert", "--dry-run")
    tables = call("run", config, "tables", *same, cwd=elsewhere).stdout
    assert "make_tables" in tables and "write_report" not in tables
    report = call("run", config, "report", *same, cwd=elsewhere).stdout
    assert "write_report" in report and "tile_slides" not in report
    more = call("run", config, "alpha", "heatmaps", *same, cwd=elsewhere).stdout
    assert "make_alpha_table" in more and "draw_heatmaps" in more and "write_report" not in more


def test_an_unknown_setting_is_refused_as_ever(ran, elsewhere):
    config, _ = ran
    done = call("run", config, "--set", "patches.cuont=9", "--dry-run", cwd=elsewhere, check=False)
    assert done.returncode != 0
    assert "error: my.yaml: patches.cuont: unknown key" in (done.stdout + done.stderr).replace("../", "")


def test_the_old_way(ran, elsewhere):
    config, _ = ran
    done = call("run", config, "slides", "--verbose", "--dry-run", cwd=elsewhere)
    assert "Building DAG of jobs" in done.stdout + done.stderr


def table_of(printed):
    """Return the counts of each stage: done, stale, failed, to do."""
    rows = [line.split() for line in printed.splitlines()]
    return {row[0]: tuple(row[1:]) for row in rows if len(row) == 5 and re.fullmatch(r"[\d.]+", "".join(row[1:]))}


def test_status(ran, elsewhere):
    config, _ = ran
    done = call("status", config, "--set", "patches.order=hilbert", cwd=elsewhere)
    found = table_of(done.stdout)
    assert found["tile_slides"] == found["write_ledger"] == ("1", ".", ".", ".")
    assert found["train_model"] == (".", ".", ".", "3")
    assert "slides: 24, all in use" in done.stdout
    (end,) = [line for line in done.stdout.splitlines() if line.startswith("ksfusion run ")]
    assert "would do" in end and "train_model 3" in end and "tile_slides" not in end
    # Another order of the patches: what was sampled in the first is stale.
    changed = call("status", config, cwd=elsewhere).stdout
    assert table_of(changed)["sample_patches"] == (".", "1", ".", ".")
    assert "stale: sample_patches: settings or code changed" in changed
    assert table_of(changed)["tile_slides"] == ("1", ".", ".", ".")


def test_a_failed_job_is_told_in_full_and_by_status(fresh, elsewhere):
    expression = fresh.parent / "expression.tsv"
    expression.write_text(expression.read_text().splitlines()[0] + "\n")
    done = call("run", fresh, "results/genes/profiles.parquet", cwd=elsewhere, check=False)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    log = fresh.parent / "made here/results/logs/read_expression.log"
    at = next(number for number, line in enumerate(lines) if line.startswith("FAILED"))
    assert lines[at].startswith("FAILED read_expression after ") and lines[at].endswith(f"log: {log}")
    assert "expression.tsv: has a header and no rows" in lines[at + 1]
    assert lines[-1].startswith("0 of 1 steps are done, 1 failed, 0 were not reached")
    told = call("status", fresh, cwd=elsewhere).stdout
    assert table_of(told)["read_expression"] == (".", ".", "1", ".")
    (line,) = [line for line in told.splitlines() if line.startswith("failed: read_expression: ")]
    assert "has a header and no rows" in line and "results/logs/read_expression.log" in line


def test_what_the_ledger_and_the_trainings_say_is_in_status(ran, elsewhere, tmp_path):
    config, _ = ran
    folder = tmp_path / "my study"
    shutil.copytree(config.parent, folder)
    results = folder / "made here/results"
    rows = (results / "slides.tsv").read_text().replace("\tok\t", "\tfailed\tunreadable", 1)
    (results / "slides.tsv").write_text(rows)
    (results / ".slides.tsv.provenance.json").unlink()  # without its checksum, as 0.1.0 wrote it
    (results / "samples.tsv").write_text("")
    run = results / "models/mgmt/snn/fold0/seed0"
    run.mkdir(parents=True)
    metrics = {"task": "mgmt", "method": "snn", "fold": 0, "seed": 0, "status": "failed", "reason": "loss is nan"}
    (run / "metrics.json").write_text(json.dumps(metrics))
    (run.parent / "seed1").mkdir()
    (run.parent / "seed1/metrics.json").write_text("{")
    told = call("status", folder / "my.yaml", cwd=elsewhere).stdout
    assert "slides: 24, 1 not in use: unreadable 1, such as case-00 (results/slides.tsv)" in told
    assert "training failed: mgmt snn fold 0 seed 0: loss is nan" in told
    assert "results/samples.tsv is damaged; delete it and run again" in told
    assert "seed1/metrics.json is damaged; delete it and run again" in told


def interrupted(config, elsewhere, printed, wait_for):
    """Return what a run has printed that gets Ctrl-C once a text stands in its output."""
    command = [*KSFUSION, "run", str(config), "slides", "--cores", "2", "--set", "patches.order=hilbert"]
    with printed.open("w") as out:
        # A group of its own, as a terminal gives it: Ctrl-C reaches Snakemake and its jobs.
        run = subprocess.Popen(command, cwd=elsewhere, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + 120
        while wait_for not in printed.read_text():
            assert time.monotonic() < deadline and run.poll() is None, printed.read_text()
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(60) != 0
    assert "Traceback" not in printed.read_text() and "Error" not in printed.read_text()
    lines = printed.read_text().splitlines()
    assert lines[-2].startswith("interrupted: ") and lines[-1].startswith("to go on, give the same command again")
    return lines


def test_ctrl_c_is_two_lines_and_the_next_run_goes_on(fresh, elsewhere, tmp_path):
    lines = interrupted(fresh, elsewhere, tmp_path / "printed", "\n[")
    assert f"of {STEPS_OF_SLIDES} steps are done and kept" in lines[-2]
    done = call("run", fresh, "slides", "--dry-run", "--set", "patches.order=hilbert", cwd=elsewhere)
    assert int(done.stdout.split("total")[1].split()[0]) < STEPS_OF_SLIDES - 1


def test_ctrl_c_before_anything_has_begun(fresh, elsewhere, tmp_path):
    lines = interrupted(fresh, elsewhere, tmp_path / "printed", "-m snakemake")
    assert "nothing had begun" in lines[-2] or "0 of" in lines[-2]
    assert len(lines) <= 5


def test_weights_that_cannot_be_had_are_told_before_any_job(fresh, elsewhere, tmp_path):
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    started = ("run", fresh, "--set", "features.encoder=resnet50")
    done = call(*started, cwd=elsewhere, check=False, env=offline)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "features.encoder: resnet50: its weights (timm/resnet50.tv_in1k)" in line
        and "name the file in features.weights" in line
    )
    assert not (fresh.parent / "made here/results").exists()
    # A dry run does not ask, and neither does a run that encodes nothing.
    call(*started, "--dry-run", cwd=elsewhere, env=offline)
    call(*started, "results/cohort/splits.tsv", cwd=elsewhere, env=offline)


def tsv(path: Path) -> list[dict[str, str]]:
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_from_a_folder_of_slides_to_a_dry_run_without_editing(tmp_path, monkeypatch):
    folder = tmp_path / "klinik 1"
    draw_hospital(folder)
    given = ("--slides", "scans", "--expression", "rna.csv", "--clinical", "klinik.csv", "--mpp", "0.5")
    said = call("init", *given, cwd=folder).stderr
    assert "20 of 21 slides and 20 of 21 profiles are placed" in said
    samples = tsv(folder / "samples.tsv")
    assert {row["case_id"]: row["expression_id"] for row in samples} == {name: f"{name}-RNA" for name in PATIENTS}
    assert all(Path(folder, row["slide"]).is_file() for row in samples)
    # TIFF says its scale, PNG and JPEG cannot.
    assert {Path(row["slide"]).suffix: row["mpp"] for row in samples} == {".png": "0.5", ".jpg": "0.5", ".tif": ""}
    unplaced = {(row["what"], row["which"]) for row in tsv(folder / "unplaced.tsv")}
    assert unplaced == {
        ("slide", f"scans/{CONTROL}"),
        ("profile", f"{ONLY_PROFILE}-RNA"),
        ("case", ONLY_PROFILE),
        ("case", ONLY_PATIENT),
    }
    cases = {row["Fallnummer"]: row for row in tsv(folder / "cases.tsv")}
    assert cases["NP-002"] == {
        "Fallnummer": "NP-002",
        "IDH-Status": "mutiert",
        "WHO-Grad": "II",
        "OS_Monate": "2.5",
        "Status": "lebt",
        "Alter": "51",
    }
    config = yaml.safe_load((folder / "my.yaml").read_text())
    assert config["cohort"]["columns"] == {
        "case_id": "Fallnummer",
        "idh": {"column": "IDH-Status", "Wildtyp": "WT", "mutiert": "Mutant"},
        "grade": {"column": "WHO-Grad", "IV": "G4", "II": "G2", "III": "G3"},
        "survival_days": {"column": "OS_Monate", "unit": "months"},
        "event": {"column": "Status", "died": ["verstorben"], "alive": ["lebt"]},
        "age": "Alter",
    }
    assert config["cohort"]["clinical"] == ["age"]
    assert config["methods"] == [*PAPER_METHODS, *BASELINES]
    parsed = load_config(folder / "my.yaml")
    monkeypatch.chdir(folder)
    (read,) = [row for row in read_cohort(parsed.cohort, parsed.tasks, ["mine"]).cases if row["case_id"] == "NP-002"]
    # 2.5 months of 365.25 / 12 days.
    assert {name: read[name] for name in ("idh", "grade", "survival_days", "event")} == {
        "idh": "Mutant", "grade": "G2", "survival_days": "76.09375", "event": "0",
    }  # fmt: skip
    assert config["tasks"] == ["grading", "survival"]
    assert config["cohort"]["expression"] == [
        {"cohort": "mine", "format": "matrix", "unit": "counts", "path": "rna.csv"}
    ]
    planned = call("run", "my.yaml", "--dry-run", cwd=folder)
    assert {"extract_features", "train_model", "fit_baseline"} <= set(planned.stdout.split())
    before = (folder / "samples.tsv").read_bytes()
    again = call("init", *given, cwd=folder, check=False)
    assert again.returncode == 2 and again.stderr.startswith("error: samples.tsv: is there already")
    assert (folder / "samples.tsv").read_bytes() == before


def test_five_questions(tmp_path):
    folder = tmp_path / "klinik"
    draw_hospital(folder)
    answers = "scans\nrna.csv\n\nklinik.csv\ncase_id=Fallnummer age_group=WHO-Grad\n0.5\n"
    said = call("init", cwd=folder, input=answers).stderr
    assert [f"{number}/5" in said for number in range(1, 6)] == [True] * 5
    assert "[counts]" in said and "survival_months=OS_Monate" in said
    config = yaml.safe_load((folder / "my.yaml").read_text())
    assert config["tasks"]["age_group"] == {
        "kind": "classification", "column": "age_group", "classes": ["II", "III", "IV"],
    }  # fmt: skip
    assert set(config["tasks"]) == {"grading", "survival", "age_group"}
    call("run", "my.yaml", "--dry-run", cwd=folder)
