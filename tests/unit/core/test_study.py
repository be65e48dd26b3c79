"""Whose results a folder holds."""

import json

import pandas as pd
import pytest

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.study import Study, batches_for, read_study, study_here, usable_folder

MINE = [f"case{number}" for number in range(10)]


@pytest.fixture
def results(tmp_path):
    Study("mine", frozenset(MINE), ("samples.tsv", "cases.tsv"), 3).write(tmp_path / "results")
    return tmp_path / "results"


def here(results, cases, name=None, batches="auto", n_slides=100):
    return study_here(name, cases, ("s.tsv", "c.tsv"), batches=batches, n_slides=n_slides, results=results)


@pytest.mark.parametrize(
    ("name", "cases", "same"),
    [
        ("mine", ["other1", "other2"], True),  # the name says it
        ("yours", MINE, False),
        (None, MINE, True),
        (None, [*MINE[:5], *"abcde"], True),  # half of the smaller set
        (None, [*MINE[:4], *"abcdef"], False),
        (None, [*MINE, *(f"new{number}" for number in range(90))], True),  # the study has grown
        (None, [MINE[0], "a"], True),
        (None, ["a", "b", "c"], False),
    ],
)
def test_a_study_is_known_by_its_name_else_by_its_cases(results, name, cases, same):
    if same:
        assert here(results, cases, name).batches == 3
    else:
        with pytest.raises(UserError) as error:
            here(results, cases, name)
        said = str(error.value)
        assert "belongs to study mine (samples.tsv, cases.tsv)" in said
        assert f"this is {'study yours' if name else f'a study of {len(cases)} cases'} (s.tsv, c.tsv)" in said
        assert "folder: NAME" in said and "\n" not in said


def test_batches_are_kept_from_the_first_run_on_unless_they_are_given(tmp_path, results):
    assert here(results, MINE, n_slides=5000).batches == 3
    assert here(results, MINE, batches=7).batches == 7
    assert here(tmp_path / "new", MINE, n_slides=34).batches == 2


@pytest.mark.parametrize(("slides", "batches"), [(0, 1), (1, 1), (32, 1), (33, 2), (34, 2), (2400, 75)])
def test_about_32_slides_are_a_batch(slides, batches):
    assert batches_for(slides) == batches


def test_results_of_an_earlier_version_name_their_cases_and_batches(tmp_path):
    results = tmp_path / "results"
    (results / "cohort").mkdir(parents=True)
    (results / "cohort/splits.tsv").write_text("fold\tcase_id\tsplit\n0\tcase0\ttrain\n0\tcase1\tval\n")
    assert read_study(results) == Study(None, frozenset(MINE[:2]), (str(results / "cohort/splits.tsv"),), 75)
    made_by = provenance("ksfusion.core.study", {"batch": 0, "slides": {"batches": 12}})
    write_parquet(pd.DataFrame({"slide_id": ["a"]}), results / "tiles/0.parquet", made_by)
    (results / "samples.tsv").write_text("sample_id\tcase_id\tstatus\nS\tcase0\tok\n")
    found = read_study(results)
    assert (found.cases, found.batches) == (frozenset(["case0"]), 12)
    with pytest.raises(UserError, match="belongs to a study of 1 cases"):
        here(results, ["x", "y"])
    assert here(results, MINE).batches == 12


def test_a_study_keeps_the_gene_sets_that_it_began_with(tmp_path, results):
    def sets(folder, newest):
        given = {"batches": "auto", "n_slides": 1, "gene_sets": newest, "results": folder}
        study = study_here(None, MINE, ("s.tsv", "c.tsv"), **given)
        study.write(folder)
        return study.gene_sets

    assert [sets(tmp_path / "new", newest) for newest in ("builtin-0.2.0", "builtin-0.3.0")] == ["builtin-0.2.0"] * 2
    # What does not say which is of the time when there was one.
    content = json.loads((results / "study.json").read_text())
    del content["gene_sets"], content["seal"]
    (results / "study.json").write_text(json.dumps(content))
    assert sets(results, "builtin-0.2.0") == "builtin-0.1.0"
    (tmp_path / "old").mkdir()
    (tmp_path / "old/samples.tsv").write_text("sample_id\tcase_id\tstatus\nS\tcase0\tok\n")
    assert sets(tmp_path / "old", "builtin-0.2.0") == "builtin-0.1.0"


def test_an_empty_folder_is_nobodys(tmp_path):
    assert read_study(tmp_path / "results") is None
    (tmp_path / "results/logs").mkdir(parents=True)
    assert read_study(tmp_path / "results") is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"study": None, "cases": 3})])
def test_a_damaged_file_is_a_line(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=r"study.json: is damaged \(.*\); delete it if the results are those of this"):
        read_study(tmp_path)


def test_a_number_that_was_flipped_is_a_line(results):
    """As a bit of a disk: other batches would have every slide encoded anew."""
    whole = (results / "study.json").read_text()
    assert read_study(results).batches == 3
    (results / "study.json").write_text(whole.replace('"batches": 3', '"batches": 2'))
    with pytest.raises(UserError, match=r"study.json: is damaged \(it was changed\); delete it if the results are"):
        read_study(results)


class TestFolder:
    def test_one_that_can_be_made(self, tmp_path):
        for folder in (tmp_path, tmp_path / "a/b", "."):
            assert usable_folder(folder, "my.yaml") == str(folder)
        assert not any(tmp_path.iterdir())

    def test_what_can_be_none_is_a_line(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        for folder, named in (("file", "file"), ("/dev/zero", "/dev/zero"), ("file/a", tmp_path / "file")):
            with pytest.raises(UserError) as caught:
                usable_folder(folder, "my.yaml")
            assert str(caught.value) == f"my.yaml: folder: {named} is not a folder; name another"
        monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
        with pytest.raises(UserError, match=f"my.yaml: folder: nothing can be written to {tmp_path}; name another"):
            usable_folder("a/b", "my.yaml")

    @pytest.mark.parametrize("folder", ["/proc", "/proc/x", "/sys/a/b"])
    def test_where_the_right_to_write_says_nothing(self, folder):
        """Root may write to /proc, and nothing can be made there."""
        with pytest.raises(UserError, match=f"my.yaml: folder: nothing can be written to {folder[:4]}"):
            usable_folder(folder, "my.yaml")
