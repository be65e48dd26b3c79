"""What `ksfusion doctor` prints of a study, its packages and its tables, each with something known to be wrong."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from fold_project import CASES, write_study

from ksfusion.cli import main
from ksfusion.core.errors import UserError
from ksfusion.core.resources import PROJECT
from ksfusion.doctor import machine, reading
from ksfusion.doctor.studies import planned_study
from ksfusion.methods.template import method_text


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
    list(reading.reading_findings())  # what is first imported without a package would stay broken in this process
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
