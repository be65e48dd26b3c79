"""New patients by a bundle, from raw slides and counts, as a user has it: another folder, another HOME, no config."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from fold_project import CLASSES, draw_slide, write_study
from listed_outputs import unlisted, wrong_columns
from project import ROOT

from ksfusion.core.outputs import output_of, read_outputs

pytestmark = [pytest.mark.workflow]
PROBABILITIES = [f"prob_{name}" for name in CLASSES]
KNOWN = ["case-00", "case-01", "case-02"]


def call(*arguments, cwd: Path, check: bool = True, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ksfusion", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        pytest.fail(f"{arguments}\n{(done.stdout + done.stderr)[-6000:]}")
    return done


@dataclass
class Predicted:
    """A study, its bundle in another place, and what it said of new patients."""

    study: Path
    bundle: Path
    output: Path
    arguments: list[str]
    environment: dict[str, str]
    printed: str

    def tsv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.output / name, sep="\t", keep_default_na=False, dtype=str)

    def of_study(self, fold: int | str, seed: int) -> pd.DataFrame:
        run = self.study / f"results/models/mgmt/concat/fold{fold}/seed{seed}/predictions.parquet"
        return pd.read_parquet(run).set_index("sample_id")

    def page(self, case_id: str) -> str:
        return (self.output / f"{case_id}.html").read_text()


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {path: path.stat() for path in sorted(folder.rglob("*"))}
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def write_samples(folder: Path, study: Path) -> None:
    """Write the new table: known cases, a new one with two slides, one known by its slide, one without any slide."""
    draw_slide(folder / "new-1.png", 101)
    draw_slide(folder / "new-2.png", 102)
    shutil.copy2(study / "slides/case-05.png", folder / "renamed.png")
    rows = [(case, case, study / f"slides/{case}.png", case) for case in KNOWN]
    rows += [("new-a", "new", "new-1.png", "case-90"), ("new-b", "new", "new-2.png", "case-90")]
    rows += [("renamed", "renamed", "renamed.png", "case-05"), ("lost", "lost", "nowhere.png", "case-06")]
    lines = [f"{sample}\t{case}\tX\t{slide}\t{profile}\t0.5" for sample, case, slide, profile in rows]
    header = "sample_id\tcase_id\tcohort\tslide\texpression_id\tmpp"
    (folder / "new.tsv").write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture(scope="module")
def predicted(tmp_path_factory) -> Predicted:
    study = tmp_path_factory.mktemp("study")
    write_study(study)
    config = yaml.safe_load((study / "folds.yaml").read_text())
    config |= {"methods": ["concat"], "genes": {"top_fraction": 1.0}}
    config["splits"] = {"scheme": "kfold", "k": 2, "fractions": [0.7, 0.3]}
    config["tasks"]["mgmt"]["epochs"] = 2
    (study / "my.yaml").write_text(yaml.safe_dump(config))
    runs = [f"results/models/mgmt/concat/fold{fold}/seed{seed}/metrics.json" for fold in range(2) for seed in range(2)]
    call("run", "my.yaml", *runs, "--cores", "2", cwd=study)
    call("bundle", "--task", "mgmt", "--method", "concat", "--output", "bundle", cwd=study)

    place = tmp_path_factory.mktemp("another hospital")
    bundle = place / "B"
    shutil.move(study / "bundle", bundle)
    for path in [bundle, *bundle.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = files_of(bundle)
    write_samples(place, study)
    (place / "config.yaml").write_text("methods: [nothing that anyone reads]\n")
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HOME": str(home)}
    arguments = ["--bundle", "B", "--samples", "new.tsv", "--output", "out"]
    arguments += ["--expression", str(study / "expression.tsv"), "--cores", "2"]
    done = call("predict", *arguments, cwd=place, env=environment)
    assert files_of(bundle) == before
    return Predicted(study, bundle, place / "out", arguments, environment, done.stdout + done.stderr)


def test_each_member_says_what_it_said_in_the_study(predicted):
    members = pd.read_parquet(predicted.output / "results/predictions/members.parquet").set_index("sample_id")
    by_member = members.groupby(["fold", "seed"])
    assert list(by_member.groups) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for (fold, seed), table in by_member:
        wanted = predicted.of_study(fold, seed).loc[KNOWN, PROBABILITIES]
        assert (table.loc[KNOWN, PROBABILITIES] - wanted).abs().to_numpy().max() < 1e-6


def test_a_case_of_the_study_is_told_by_the_fold_that_it_taught_nothing(predicted):
    table = predicted.tsv("predictions.tsv").set_index("case_id")
    splits = pd.read_csv(predicted.study / "results/cohort/splits.tsv", sep="\t", dtype=str)
    tested = splits[splits["split"] == "test"].set_index("case_id")["fold"]
    for case in KNOWN:
        wanted = [predicted.of_study(tested[case], seed).loc[case, "prob_methylated"] for seed in range(2)]
        assert float(table.loc[case, "prob_methylated"]) == pytest.approx(sum(wanted) / 2, abs=1e-5)
        assert "seen_in_study" in table.loc[case, "flags"] and table.loc[case, "trained_on"] == "no"
        assert table.loc[case, "models"] == "2"
        assert "those of 1 of 2 folds, which it was used for, are left out" in predicted.page(case)
    # Its slide tells who it is.
    assert "seen_in_study" in table.loc["renamed", "flags"]


def test_two_slides_and_one_profile_are_one_answer(predicted):
    row = predicted.tsv("predictions.tsv").set_index("case_id").loc["new"]
    assert list(row[["samples", "samples_used", "slides", "profiles", "models"]]) == ["2", "2", "2", "1", "4"]
    assert "seen_in_study" not in row["flags"] and row["trained_on"] == "no"
    members = pd.read_parquet(predicted.output / "results/predictions/members.parquet")
    own = members[members["case_id"] == "new"]
    # Of each member the mean over the slides, and of these the mean.
    mean = own.groupby(["fold", "seed"])["prob_methylated"].mean().mean()
    assert float(row["prob_methylated"]) == pytest.approx(mean, abs=1e-6)
    assert float(row["prob_methylated"]) + float(row["prob_unmethylated"]) == pytest.approx(1, abs=1e-5)
    page = predicted.page("new")
    assert "2 samples (2 slides and 1 profile), 4 models" in page
    assert page.count("Attention on the slide of new-") == 2 and "Genes that move the answer" in page


def test_a_slide_that_is_not_there_is_a_row_and_a_line(predicted):
    row = predicted.tsv("predictions.tsv").set_index("case_id").loc["lost"]
    assert (row["status"], row["reason"], row["left_out"]) == ("failed", "missing_file", "lost:missing_file")
    assert row["prob_methylated"] == ""
    assert "1 of 6 patients are not in use: missing_file 1 (out/predictions.tsv)" in predicted.printed
    assert "There is no answer" in predicted.page("lost")


def test_a_page_needs_nothing_and_runs_nothing(predicted):
    for case in (*KNOWN, "new", "lost"):
        page = predicted.page(case)
        assert "default-src 'none'; img-src data:; style-src 'sha256-" in page.replace("&#39;", "'")
        assert "<script" not in page and not re.search(r"(src|href)=\"(?!data:)", page)
        assert " style=" not in page


def test_every_file_column_and_key_is_listed(predicted):
    outputs = read_outputs(ROOT / "resources/outputs.yaml")
    results = predicted.output / "results"
    assert list(unlisted(results, outputs)) == []
    table = predicted.tsv("predictions.tsv")
    assert (
        list(
            wrong_columns({name: list(table[name]) for name in table}, output_of("../predictions.tsv", outputs).columns)
        )
        == []
    )
    for name in ("predictions/answers.json", "explanations/explanations.json"):
        cases = json.loads((results / name).read_text())["cases"]
        assert cases
        for case in cases.values() if isinstance(cases, dict) else cases:
            assert set(case) == set(output_of(name, outputs).keys), name


def test_the_same_command_again_does_nothing(predicted):
    place = predicted.output.parent
    again = call("predict", *predicted.arguments, "--dry-run", cwd=place, env=predicted.environment)
    assert "Nothing to be done" in again.stdout + again.stderr
    answers = json.loads((predicted.output / "results/predictions/answers.json").read_text())
    assert [case["case_id"] for case in answers["cases"]] == [*KNOWN, "lost", "new", "renamed"]


def test_status_of_a_prediction(predicted):
    told = call("status", "out", cwd=predicted.output.parent, env=predicted.environment).stdout
    assert "patients: 6, 1 not in use: missing_file 1, such as lost (predictions.tsv)" in told
    assert told.splitlines()[-1] == "nothing is left to do"
    (predicted.output / "lost.html").unlink()
    told = call("status", "out/predict.yaml", cwd=predicted.output.parent, env=predicted.environment).stdout
    assert told.splitlines()[-1] == "ksfusion predict, as before, would do 1 job: write_pages"
    call("predict", *predicted.arguments, cwd=predicted.output.parent, env=predicted.environment)


NOBODY = 65534
# May read whatever there is, as an interpreter in the home of root, and write nothing that is not its own.
READS_ALL = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def as_nobody(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command as a user without a home, who may write neither to the installation nor to the bundle."""
    words = [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        *READS_ALL,
        "--",
        *map(str, command),
    ]
    environment = {**os.environ, "HOME": "/nonexistent", "USER": "nobody"}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not there")
def test_another_user_predicts_by_a_copy(predicted):
    """A copy that belongs to another user, read-only, and an installation where that user may write nothing."""
    # Not in pytest's folder, which is root's alone.
    with tempfile.TemporaryDirectory(prefix="of nobody ") as folder:
        os.chown(folder, NOBODY, NOBODY)
        predict_as_nobody(predicted, Path(folder))


def predict_as_nobody(predicted: Predicted, place: Path) -> None:
    done = as_nobody("cp", "-r", predicted.bundle, place / "B", cwd=place)
    assert done.returncode == 0, done.stderr
    assert as_nobody("touch", predicted.bundle.parent / "x", cwd=place).returncode != 0
    assert as_nobody("touch", ROOT / "src/ksfusion/x", cwd=place).returncode != 0
    before = files_of(place / "B")
    shutil.copy2(predicted.output.parent / "new-1.png", place)
    shutil.copy2(predicted.study / "expression.tsv", place)
    header, *rows = (predicted.output.parent / "new.tsv").read_text().splitlines()
    (place / "new.tsv").write_text("\n".join([header, *(row for row in rows if row.startswith("new-a"))]) + "\n")
    arguments = ["--bundle", "B", "--samples", "new.tsv", "--output", "out", "--cores", "2"]
    arguments += ["--expression", "expression.tsv"]
    done = as_nobody(sys.executable, "-m", "ksfusion", "predict", *arguments, cwd=place)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert files_of(place / "B") == before
    assert {path.stat().st_uid for path in (place / "out").rglob("*")} == {NOBODY}
    members = pd.read_parquet(place / "out/results/predictions/members.parquet")
    wanted = pd.read_parquet(predicted.output / "results/predictions/members.parquet")
    own = wanted[wanted["sample_id"] == "new-a"].reset_index(drop=True)
    assert (members[PROBABILITIES] - own[PROBABILITIES]).abs().to_numpy().max() < 1e-6


def test_mistakes_are_lines_before_any_job(predicted, tmp_path):
    place = predicted.output.parent

    def said(*changes: str) -> str:
        arguments = dict(zip(predicted.arguments[::2], predicted.arguments[1::2], strict=True))
        arguments |= {"--output": str(tmp_path / "other"), **dict(zip(changes[::2], changes[1::2], strict=True))}
        flat = [part for pair in arguments.items() for part in pair]
        done = call("predict", *flat, cwd=place, check=False)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert not (tmp_path / "other/results").exists()
        return "\n".join(line for line in done.stderr.splitlines() if line.startswith("error: "))

    assert "is no bundle, it has no manifest.json" in said("--bundle", ".")
    assert "expression.0.unit: tpm, and the bundle was trained on counts" in said("--unit", "tpm")
    (tmp_path / "wrong.tsv").write_text("sample_id\tcase_id\nA\tB\n")
    assert "column cohort is missing" in said("--samples", str(tmp_path / "wrong.tsv"))
    assert "holds a study" in said("--output", str(predicted.study))
    assert "lies in the bundle" in said("--output", "B/out")


def test_evaluate_scores_what_was_predicted(predicted):
    """The same folder: no slide is read again. A case is scored by the fold that it taught nothing, new ones by all."""
    place = predicted.output.parent
    cases = (
        predicted.study / "cases.tsv"
    ).read_text() + f"new\t{CLASSES[0]}\nrenamed\t{CLASSES[0]}\nlost\t{CLASSES[1]}\n"
    (place / "truth.tsv").write_text(cases)
    done = call("evaluate", *predicted.arguments, "--cases", "truth.tsv", cwd=place, env=predicted.environment)
    assert "Nothing to be done" in done.stdout + done.stderr
    splits = pd.read_csv(predicted.study / "results/cohort/splits.tsv", sep="\t", dtype=str)
    taught = splits[splits["split"] != "test"].set_index("case_id")["fold"]
    left_out = predicted.tsv("evaluation/left_out.tsv")
    expected = {(case, taught[case]) for case in KNOWN} | {("renamed", taught["case-05"]), ("lost", "")}
    assert set(zip(left_out["case_id"], left_out["fold"], strict=True)) == expected
    table = predicted.tsv("evaluation/table.tsv")
    own = table[(table["metric"] == "accuracy") & (table["level"] == "case")].set_index("fold")
    # By hand, from what each model says of the cases that it was not taught on: the mean over a case's slides.
    truth = dict(line.split("\t") for line in cases.splitlines()[1:])
    members = pd.read_parquet(predicted.output / "results/predictions/members.parquet")
    for fold in ("0", "1"):
        asked = {case for case in truth if (case, fold) not in expected and case in set(members["case_id"])}
        rows = members[(members["fold"] == int(fold)) & members["case_id"].isin(asked)]
        means = rows.groupby(["seed", "case_id"])[PROBABILITIES].mean()
        right = means.idxmax(axis=1).str.removeprefix("prob_") == means.index.get_level_values("case_id").map(truth)
        assert float(own.loc[fold, "mean"]) == pytest.approx(100 * right.groupby("seed").mean().mean(), abs=1e-3)
    page = (predicted.output / "evaluation/evaluation.md").read_text()
    assert "Other cases of this cohort trained the models" in page
    missing = call("evaluate", *predicted.arguments, "--cases", "none.tsv", cwd=place, check=False)
    assert "error: none.tsv: cannot be read" in missing.stderr
