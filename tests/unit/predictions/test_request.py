"""What a user asks becomes a configuration, which is planned with light imports alone; mistakes are lines."""

import subprocess
import sys

import pytest
import yaml

from ksfusion.core.errors import UserError
from ksfusion.predictions.plan import make_prediction_plan
from ksfusion.predictions.request import NewPatients, write_request


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with a table of two samples, whose profiles are in rna.tsv; the working directory."""
    rows = ["p1\tP\tA\tone.png\tr1\t0.5", "p2\tP\tB\t\t\t"]
    (tmp_path / "new.tsv").write_text(
        "\n".join(["sample_id\tcase_id\tcohort\tslide\texpression_id\tmpp", *rows]) + "\n"
    )
    (tmp_path / "rna.tsv").write_text("symbol\tr1\nTP53\t1\n")
    monkeypatch.chdir(tmp_path)
    # The study's features are drawn: no encoder has made them.
    monkeypatch.setattr("ksfusion.predictions.request.check_encoder", lambda *_: None, raising=False)
    return tmp_path


def asked(place, bundled, expression, format, unit, **options):
    files = bundled, place / "new.tsv", place / "out"
    return write_request(NewPatients(*files, expression, format, unit, **options))


def planned(config):
    values = yaml.safe_load(config.read_text())
    return make_prediction_plan(values, source="predict.yaml", files=[config])


def test_format_and_unit_are_those_of_the_cohort_in_training(place, bundled):
    config = asked(place, bundled, place / "rna.tsv", None, None)
    # Cohort B has no profile, and needs no source.
    assert yaml.safe_load(config.read_text())["expression"] == [
        {"cohort": "A", "format": "matrix", "unit": "log", "path": str(place / "rna.tsv")}
    ]
    plan = planned(config)
    assert (plan.cases, plan.contents.method, plan.has_slides) == (["P"], "ksfusion", True)
    assert plan.config.slides.max_failed_fraction == 1 and plan.config.patches.count == 36
    assert plan.config.stain.target == str(bundled / "stain_target.json")
    stages = {"check_patients", "tile_slides", "fit_stain", "sample_patches", "extract_features", "read_expression"}
    stages |= {"write_ledger", "build_store", "predict_cases", "explain_cases", "write_pages"}
    assert all(plan.settings(stage) for stage in stages)


def test_a_profile_that_is_not_there_is_told_and_stops_nothing(place, bundled, monkeypatch):
    (place / "rna.tsv").write_text("symbol\tr2\nTP53\t1\n")
    config = asked(place, bundled, place / "rna.tsv", None, None)
    monkeypatch.chdir(place / "out")
    plan = planned(config)
    (line,) = [line for line in plan.warnings() if "expression ids" in line]
    assert line.startswith(f"{place}/new.tsv: none of the 1 expression ids of cohort A is that of a profile in ")
    assert "rna.tsv, such as r1 (" in line and "has such as r2)" in line
    plan.begin(["read_expression", "write_ledger"], elsewhere=True)


def test_another_unit_is_refused_before_anything_is_read(place, bundled):
    config = asked(place, bundled, place / "rna.tsv", None, "counts")
    with pytest.raises(UserError, match=r"expression\.0\.unit: counts, and the bundle was trained on log; give that"):
        planned(config)


def test_a_cohort_that_was_not_in_training_needs_format_and_unit(place, bundled):
    table = (place / "new.tsv").read_text().replace("\tA\t", "\tC\t")
    (place / "new.tsv").write_text(table)
    with pytest.raises(UserError, match="cohort C was not in training; say its --format"):
        asked(place, bundled, place / "rna.tsv", None, None)
    plan = planned(asked(place, bundled, place / "rna.tsv", "matrix", "log"))
    assert plan.config.expression_cohorts() == ["C"]


def test_a_list_of_sources_has_paths_from_its_folder(place, bundled):
    (place / "lists").mkdir()
    source = {"cohort": "A", "format": "matrix", "unit": "log", "path": "../rna.tsv"}
    (place / "lists/sources.yaml").write_text(yaml.safe_dump({"cohort": {"expression": [source]}}))
    config = asked(place, bundled, place / "lists/sources.yaml", None, None)
    assert yaml.safe_load(config.read_text())["expression"] == [{**source, "path": str(place / "rna.tsv")}]
    (place / "lists/sources.yaml").write_text("expression: rna.tsv\n")
    with pytest.raises(UserError, match="holds no list of sources"):
        asked(place, bundled, place / "lists/sources.yaml", None, None)


def test_expression_that_is_not_told(place, bundled):
    with pytest.raises(UserError, match=r"the bundle reads expression; say where it is \(--expression"):
        planned(asked(place, bundled, None, None, None))


def test_an_equal_request_is_no_new_file(place, bundled):
    config = asked(place, bundled, place / "rna.tsv", None, None)
    made = config.stat().st_mtime_ns
    assert asked(place, bundled, place / "rna.tsv", None, None).stat().st_mtime_ns == made


def test_where_predictions_may_not_be_written(place, bundled):
    with pytest.raises(UserError, match="lies in the bundle"):
        write_request(NewPatients(bundled, place / "new.tsv", bundled / "out"))
    (place / "out").write_text("a file")
    with pytest.raises(UserError, match="is not a folder"):
        asked(place, bundled, None, None, None)
    (place / "out").unlink()
    (place / "out/results/models").mkdir(parents=True)
    with pytest.raises(UserError, match="holds a study"):
        asked(place, bundled, None, None, None)


def test_results_of_other_patients_are_not_written_over(place, bundled, monkeypatch):
    config = asked(place, bundled, place / "rna.tsv", None, None)
    monkeypatch.chdir(place / "out")
    planned(config).study.write()
    (place / "new.tsv").write_text((place / "new.tsv").read_text().replace("\tP\t", "\tQ\t"))
    with pytest.raises(
        UserError,
        match=r"results: holds the predictions of other patients \(a study of 1 cases .*; name another --output",
    ):
        planned(config)


def test_an_unknown_key_is_a_line(place, bundled):
    config = asked(place, bundled, place / "rna.tsv", None, None)
    config.write_text(config.read_text() + "patches: {count: 4}\n")
    with pytest.raises(UserError, match=r"predict\.yaml: patches: Extra inputs are not permitted; known here: bundle"):
        planned(config)


def test_columns_of_the_users_own_as_a_study_has_them(place, bundled):
    """Of a study's configuration those of the table of samples are taken; what is of cases is left to evaluate."""
    table = (place / "new.tsv").read_text().replace("case_id\tcohort\tslide", "Patient\tZentrum\tDatei")
    (place / "new.tsv").write_text(table)
    with pytest.raises(UserError, match="column case_id, cohort is missing"):
        planned(asked(place, bundled, place / "rna.tsv", "matrix", "log"))
    columns = {"case_id": "Patient", "cohort": {"column": "Zentrum", "B": "A"}, "slide": "Datei", "how_bad": "Grad"}
    (place / "study.yaml").write_text(yaml.safe_dump({"cohort": {"columns": columns}, "methods": ["snn"]}))
    config = asked(place, bundled, place / "rna.tsv", None, None, columns=place / "study.yaml")
    assert set(yaml.safe_load(config.read_text())["columns"]) == {"case_id", "cohort", "slide"}
    plan = planned(config)
    assert plan.cases == ["P"] and {row["cohort"] for row in plan.tables.samples} == {"A"}
    (place / "study.yaml").write_text("{case_id: Patient, cohort: Ort}\n")
    with pytest.raises(UserError, match=r"cohort: .*new\.tsv has no column Ort; correct it: it has sample_id, Patient"):
        asked(place, bundled, place / "rna.tsv", None, None, columns=place / "study.yaml")
    (place / "study.yaml").write_text("[case_id]\n")
    with pytest.raises(UserError, match=r"study\.yaml: columns: .*; write \{case_id: Patient\}"):
        asked(place, bundled, place / "rna.tsv", None, None, columns=place / "study.yaml")
    with pytest.raises(UserError, match=r"none\.yaml: is not a file"):
        asked(place, bundled, place / "rna.tsv", None, None, columns=place / "none.yaml")


def test_a_level_is_that_of_the_sets(place, bundled):
    config = asked(place, bundled, place / "rna.tsv", None, None, level=0.95)
    assert planned(config).settings("predict_cases").count("0.95") == 1
    with pytest.raises(UserError, match=r"predict\.yaml: level: Input should be less than 1"):
        planned(asked(place, bundled, place / "rna.tsv", None, None, level=1.0))


def test_planning_imports_nothing_heavy():
    code = "import sys, ksfusion.predictions.plan; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "pandas", "scipy", "h5py"} & set(done.stdout.split()) == set()
