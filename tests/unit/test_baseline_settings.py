"""What the configuration says of baselines and of studies without slides, and which settings their stages get."""

import json

import pandas as pd
import pytest
import yaml
from project import ROOT

from ksfusion.cohort.config import CheckLeakageSettings, CohortFiles, WriteLedgerSettings
from ksfusion.cohort.ledger import LedgerFiles
from ksfusion.cohort.samples import read_cohort
from ksfusion.config import PAPER_METHODS
from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.core.study import Study
from ksfusion.methods.registry import BASELINES, METHODS
from ksfusion.plan import Plan
from ksfusion.preflight.parsing import parse_config
from ksfusion.stages.check_leakage import check_leakage
from ksfusion.stages.status import _trainings
from ksfusion.stages.write_ledger import write_ledger

SOURCE = {"cohort": "A", "format": "matrix", "unit": "log", "path": "expression.tsv"}


def config_of(*, clinical=("age",), methods=("snn", "clinical"), **blocks):
    cohort = {"samples": "samples.tsv", "cases": "cases.tsv", "clinical": list(clinical), "expression": [SOURCE]}
    return parse_config({"cohort": cohort, "methods": list(methods), **blocks})


def plan_of(**settings):
    return Plan(config_of(**settings), tables=None, study=Study(None, frozenset(["case1"]), (), batches=1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clinical": []}, "methods: clinical reads the columns of cohort.clinical, which names none; name some there"),
        ({"clinical": [], "methods": ["clinical+genes"]}, "methods: clinical+genes reads the columns"),
        ({"clinical": ["age", "event"]}, "cohort.clinical: event is what task survival predicts; leave it out"),
        ({"clinical": ["age", "age"]}, "cohort.clinical: column age is listed twice"),
        ({"clinical": ["case_id"]}, "cohort.clinical: case_id says nothing of a case"),
        ({"methods": ["clinicl"]}, "unknown method 'clinicl'; known: "),
        ({"heatmaps": {"methods": ["mean-patch"]}}, "'mean-patch' is no network that reads patches"),
        ({"results": {"reference": "cohort"}}, "results.reference: cohort is not one of methods"),
    ],
)
def test_mistakes_are_lines(settings, said):
    with pytest.raises(UserError) as refused:
        config_of(**settings)
    assert said in str(refused.value)


def test_a_column_that_a_label_is_made_of_is_not_read_for_that_task_and_it_is_said():
    config = config_of(clinical=["age", "grade", "idh"])
    read = {task: config.clinical_columns(task) for task in config.tasks}
    assert read == {"diagnosis": ["age"], "grading": ["age", "idh"], "survival": ["age", "grade", "idh"]}
    assert config.caveats() == [
        "For diagnosis the clinical baselines do not read grade, idh: the label is made of it (cohort.clinical).",
        "For grading the clinical baselines do not read grade: the label is made of it (cohort.clinical).",
    ]
    assert config_of(clinical=["idh"], methods=["snn"]).caveats() == []


def test_clinical_columns_are_settings_of_the_methods_that_read_them_alone():
    plan = plan_of(methods=["snn", *BASELINES])
    grading = list(plan.config.tasks).index("grading")
    settings = {method: json.loads(plan.baseline_settings(method)[grading]) for method in BASELINES}
    read = {method for method, own in settings.items() if own["clinical"]}
    assert read == {"clinical", "clinical+genes"}
    assert settings["cohort"]["task"]["name"] == "grading"
    # Each by its own code: another line of one leaves the networks' as it is.
    assert plan.code("fit_baseline", method="clinical") == plan.code("fit_baseline", method="cohort")
    assert plan.code("fit_baseline", method="clinical") != plan.code("train_model", method="snn")


@pytest.mark.parametrize("method", [name for name in METHODS if name not in BASELINES])
def test_no_network_depends_on_the_code_of_the_baselines(method):
    from ksfusion.core.provenance import imported_names

    pending, seen = ["ksfusion.stages.train_model", METHODS[method].module], set()
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            names = {name for name in imported_names(module) if name.startswith("ksfusion.")}
            pending += [name for name in names if (ROOT / "src" / f"{name.replace('.', '/')}.py").is_file()]
    own = {f"ksfusion.{name}" for name in ("methods.baselines", "training.baselines", "training.covariates")}
    assert not seen & {*own, "ksfusion.training.ridge", "ksfusion.stages.fit_baseline"}


def test_baselines_are_among_the_demos_methods_and_not_among_the_defaults():
    demo = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert set(BASELINES) <= set(demo["methods"]) and not set(BASELINES) & set(PAPER_METHODS)
    assert demo["methods"][: len(PAPER_METHODS)] == PAPER_METHODS
    assert demo["cohort"]["clinical"] == ["age", "sex"]


def test_the_status_tells_of_trainings_that_failed_and_not_of_methods_that_are_not_for_a_task(tmp_path):
    for number, (status, method) in enumerate([("unsuited", "cox-genes"), ("skipped", "snn"), ("ok", "clinical")]):
        folder = tmp_path / f"results/models/{number}"
        folder.mkdir(parents=True)
        run = {"task": "grading", "method": method, "fold": 0, "seed": 0, "status": status, "reason": "as it is"}
        (folder / "metrics.json").write_text(json.dumps(run))
    (line,) = _trainings(tmp_path)
    assert line.startswith("training skipped: ") and "snn" in line


def test_a_table_of_samples_without_slides(tmp_path):
    files = {name: str(tmp_path / f"{name}.tsv") for name in ("samples", "cases")}
    (tmp_path / "samples.tsv").write_text("sample_id\tcase_id\tcohort\texpression_id\nS\tC\tA\tP\n")
    (tmp_path / "cases.tsv").write_text("case_id\tage\nC\t50\n")
    found = read_cohort(CohortFiles(**files, require="any"), {}, ["A"])
    assert found.slides() == {} and found.samples[0]["slide"] == found.samples[0]["slide_id"] == ""
    with pytest.raises(UserError, match="column slide is missing"):
        read_cohort(CohortFiles(**files), {}, ["A"])


def samples_without_slides(folder):
    """Write samples of three cases and their profiles: one has no profile, one no label."""
    names = ["site", "tumour_id", "slide_specimen_id", "expression_specimen_id", "slide_block_id"]
    table = pd.DataFrame({"sample_id": ["S1", "S2", "S3"], "case_id": ["A", "B", "C"], "cohort": "X", "slide_id": ""})
    table = table.assign(
        expression_id=["P1", "P2", "P3"], pairing="", **dict.fromkeys([*names, "expression_block_id"], "")
    )
    table.to_parquet(folder / "samples.parquet")
    cases = pd.DataFrame({"case_id": ["A", "B", "C"], "label_mgmt": pd.array([0, 1, pd.NA], dtype="Int64")})
    cases.to_parquet(folder / "cases.parquet")
    profiles = pd.DataFrame({"cohort": "X", "expression_id": ["P1", "P3"], "EGFR": [1.0, 2.0]})
    profiles.to_parquet(folder / "profiles.parquet")


def test_the_ledger_of_a_study_without_slides(tmp_path):
    samples_without_slides(tmp_path)
    outputs = [tmp_path / name for name in ("slides.tsv", "samples.tsv", "timing.tsv")]
    files = LedgerFiles(*(tmp_path / f"{name}.parquet" for name in ("samples", "cases", "profiles")))
    for require, expected in (
        ("any", ["", "missing_profile", "missing_label"]),
        ("paired", ["missing_file"] * 3),
    ):
        settings = WriteLedgerSettings(require=require, tasks={"mgmt": "classification"})
        write_ledger(files, *outputs, settings=settings)
        ledger = read_tsv(outputs[1], dtype=str).fillna("")
        assert ledger["reason"].tolist() == expected
    slides = read_tsv(outputs[0])
    assert slides.empty and {"slide_id", "status", "reason", "mpp"} <= set(slides)
    assert read_tsv(outputs[2]).empty


def test_the_gate_of_a_study_without_slides_still_looks_at_names_and_profiles(tmp_path):
    samples_without_slides(tmp_path)
    profiles = pd.read_parquet(tmp_path / "profiles.parquet")
    splits = pd.DataFrame({"fold": 0, "case_id": ["A", "B", "C"], "split": ["train", "val", "test"]})
    splits.to_csv(tmp_path / "splits.tsv", sep="\t", index=False)

    def gate():
        files = [tmp_path / name for name in ("samples.parquet", "splits.tsv", "profiles.parquet")]
        check_leakage(*files, tmp_path / "leakage.tsv", settings=CheckLeakageSettings())

    gate()
    table = read_tsv(tmp_path / "leakage.tsv").set_index("check")
    assert table.loc["slides", "detail"] == "0 files, 0 images"
    profiles.assign(EGFR=1.0).to_parquet(tmp_path / "profiles.parquet")
    with pytest.raises(UserError, match="same_profile: X/P1 and X/P3"):
        gate()
