"""The list of outputs: what it says of files, what it finds wrong, and its page."""

import pandas as pd
import pytest
from listed_outputs import unlisted, wrong_columns
from project import ROOT

from ksfusion.core.outputs import output_of, outputs_page, read_outputs

LISTED = """
common:
  fold: [integer, "", the fold]
stages:
  - title: One
    files:
      - file: a/{batch}.tsv
        what: numbers
        columns: {fold: , "prob_{class}": [number, 0 to 1, probability], note: [text, "", a note]}
        optional: [note]
      - file: a/{name}.tsv
        what: other texts
"""


@pytest.fixture
def outputs(tmp_path):
    (tmp_path / "outputs.yaml").write_text(LISTED)
    return read_outputs(tmp_path / "outputs.yaml")


def found(outputs, tmp_path, name, text):
    path = tmp_path / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(unlisted(tmp_path / "results", outputs))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a/0.tsv", "fold\tprob_x\n0\t0.5\n1\t1e-3\n", []),
        ("a/0.tsv", "fold\tnote\n\tx\n", []),
        ("a/0.tsv", "note\nx\n", ["a/0.tsv: lacks fold"]),
        ("a/0.tsv", "fold\tp\n0\t1\n", ["a/0.tsv: has p"]),
        ("a/0.tsv", "fold\n0.5\n", ["a/0.tsv: fold is not integer"]),
        ("a/0.tsv", "fold\tprob_x\n0\thigh\n", ["a/0.tsv: prob_x is not number"]),
        ("a/words.tsv", "anything\n", []),
        ("b/0.tsv", "fold\n0\n", ["b/0.tsv: is not listed"]),
        (".hidden", "x", []),
    ],
)
def test_files_are_held_against_the_list(outputs, tmp_path, name, text, said):
    assert found(outputs, tmp_path, name, text) == said


def test_types_of_parquet_are_held_against_the_list(outputs, tmp_path):
    (tmp_path / "outputs.yaml").write_text(LISTED.replace("a/{batch}.tsv", "a.parquet"))
    outputs = read_outputs(tmp_path / "outputs.yaml")
    (tmp_path / "results").mkdir()
    pd.DataFrame({"fold": ["0"], "prob_x": [0.5]}).to_parquet(tmp_path / "results/a.parquet")
    assert list(unlisted(tmp_path / "results", outputs)) == ["a.parquet: fold is not integer"]


def test_the_page_has_every_column_with_its_unit(outputs):
    lines = outputs_page(outputs).splitlines()
    assert "### `a/{batch}.tsv`" in lines
    assert "| `prob_{class}` | number | 0 to 1 | probability |" in lines
    assert "| `note` | text |  | a note; where there is one |" in lines


def test_the_page_of_the_project_is_current():
    """After a change of the list: make reference."""
    outputs = read_outputs(ROOT / "resources/outputs.yaml")
    assert (ROOT / "docs/outputs.md").read_text() == outputs_page(outputs)


def test_files_that_rules_write_are_listed():
    """Also those that the demo does not have."""
    import re

    outputs = read_outputs(ROOT / "resources/outputs.yaml")
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow").rglob("*.smk")))
    named = set(re.findall(r'"results/([\w/{}.+-]+\.(?:tsv|parquet|json|h5|html|md|docx|tex|png))"', text))
    named = {name.replace("{{", "{").replace("}}", "}") for name in named}
    assert len(named) > 40
    numbered = {name: re.sub(r"\{(batch|fold|seed)\}", "0", name) for name in named}
    assert [name for name, path in numbered.items() if output_of(path, outputs) is None] == []


def test_columns_that_the_code_declares_are_listed():
    """Of files that no run of the tests has, or of which it has a part."""
    from ksfusion.cohort.ledger import SAMPLE_COLUMNS, SLIDE_COLUMNS
    from ksfusion.results.attention.localisation import COLUMNS as LOCALISATION
    from ksfusion.results.tables.external import COLUMNS as EXTERNAL
    from ksfusion.stages.read_regions import COLUMNS as REGIONS
    from ksfusion.terms.findings import FINDING_COLUMNS
    from ksfusion.training.search import RESULTS

    outputs = read_outputs(ROOT / "resources/outputs.yaml")
    for name, columns in {
        "slides.tsv": SLIDE_COLUMNS,
        "samples.tsv": SAMPLE_COLUMNS,
        "localisation.tsv": LOCALISATION,
        "tables/external.tsv": EXTERNAL,
        "regions.tsv": REGIONS,
        "genes/findings.tsv": FINDING_COLUMNS,
        "search/diagnosis/ksfusion/fold0/trials.tsv": ["trial", "lr", *RESULTS],
    }.items():
        listed = output_of(name, outputs).columns
        assert list(wrong_columns({column: [] for column in columns}, listed)) == [], name


@pytest.mark.parametrize("kind", ["classification", "survival", "regression"])
def test_columns_of_new_patients_are_listed(kind):
    from ksfusion.predictions.table import case_row
    from ksfusion.results.config import ShownTask

    classes = ["no", "yes"] if kind == "classification" else []
    columns = ["sample_id", "slide_id", "expression_id", "reason"]
    sample = pd.DataFrame([["s", "", "", "missing_profile"]], columns=columns)
    row = case_row("c", sample, None, [], ShownTask(name="task", kind=kind, classes=classes))
    listed = output_of("../predictions.tsv", read_outputs(ROOT / "resources/outputs.yaml")).columns
    assert list(wrong_columns({column: [] for column in row}, listed)) == []
