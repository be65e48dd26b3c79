"""Splits: strata keep their fractions, a new case moves no other, whole sites, folds, and files of others."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from workbooks import write_workbook

from ksfusion.cohort.config import SplitCasesSettings, Splits
from ksfusion.cohort.split_files import read_split_file
from ksfusion.cohort.splits import assign
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_provenance, read_tsv, write_tsv
from ksfusion.stages.split_cases import split_cases
from ksfusion.terms.splits import SPLITS

PAPER = (0.8, 0.1, 0.1)
# As unequal as the strata of TCGA and IvyGAP by diagnosis.
STRATA = {("TCGA", 0): 241, ("TCGA", 1): 33, ("TCGA", 2): 212, ("TCGA", 3): 141, ("IvyGAP", 0): 41, ("IvyGAP", 1): 3}


def draw_cases(strata=STRATA, start=0):
    """Make a table of cases: case_id, cohort, label."""
    rows = [(cohort, label) for (cohort, label), count in strata.items() for _ in range(count)]
    names = [f"case-{start + number:05d}" for number in range(len(rows))]
    return pd.DataFrame(rows, columns=["cohort", "label"]).assign(case_id=names)


def split(folder, table, **settings):
    """Split a table of cases in a folder; return fold, case_id, split."""
    samples = table.assign(slide_id="slide-" + table["case_id"])
    samples["site"] = table.get("site", "")
    write_parquet(samples, folder / "samples.parquet", {})
    cases = table[["case_id"]].assign(label_grade=table["label"].astype("Int64")).drop_duplicates()
    write_parquet(cases, folder / "cases.parquet", {})
    split_cases(
        folder / "samples.parquet",
        folder / "cases.parquet",
        folder / "splits.tsv",
        settings=SplitCasesSettings(splits=Splits(**settings), stratify="label_grade"),
    )
    return read_tsv(folder / "splits.tsv")


def counts(table, splits):
    """Count each split in each stratum."""
    joined = table.merge(splits, on="case_id")
    return pd.crosstab([joined["cohort"], joined["label"]], joined["split"])[list(SPLITS)]


@pytest.mark.parametrize("seed", range(20))
def test_every_split_of_every_stratum_is_less_than_a_case_from_its_fraction(tmp_path, seed):
    table = draw_cases()
    found = counts(table, split(tmp_path, table, seed=seed))
    expected = found.sum(axis=1).to_numpy()[:, None] * np.array(PAPER)
    assert (abs(found - expected) < 1).all(axis=None)


def test_small_strata_do_not_all_lack_the_same_split(tmp_path):
    # 200 strata of three cases: of 600 cases 60 should be test cases; one standard deviation is below eight.
    table = draw_cases({("TCGA", label): 3 for label in range(200)})
    shares = split(tmp_path, table)["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.1, abs=0.04)
    assert shares["val"] == pytest.approx(0.1, abs=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"scheme": "kfold", "k": 4}, {"scheme": "site"}])
def test_a_new_case_moves_no_other(tmp_path, settings):
    table = draw_cases().assign(site=lambda cases: cases["case_id"].str[-2:])
    before = split(tmp_path, table, **settings)
    for number in range(8):
        more = draw_cases({("TCGA", number % 5): 1}, start=90_000 + number).assign(site=f"{number:02d}")
        table = pd.concat([table, more])
        after = split(tmp_path, table, **settings)
        common = before.merge(after, on=["fold", "case_id"], suffixes=("", "_after"))
        assert len(common) == len(before) and (common["split"] == common["split_after"]).all()
        assert len(after) == len(table) * after["fold"].nunique()
        before = after


def test_strata_keep_their_fractions_while_they_grow(tmp_path):
    table = draw_cases({("TCGA", 0): 20, ("TCGA", 1): 20})
    split(tmp_path, table)
    for number in range(12):
        table = pd.concat([table, draw_cases({("TCGA", 0): 10, ("IvyGAP", 0): 5}, start=1000 * (number + 1))])
        found = counts(table, split(tmp_path, table))
        assert (abs(found - found.sum(axis=1).to_numpy()[:, None] * np.array(PAPER)) <= 1).all(axis=None)


def test_a_removed_case_and_a_corrected_label_move_nobody(tmp_path):
    table = draw_cases()
    before = split(tmp_path, table).set_index("case_id")["split"]
    table.loc[::7, "label"] = 2
    after = split(tmp_path, table.drop(index=[3, 300])).set_index("case_id")["split"]
    assert len(after) == len(before) - 2
    assert (after == before[after.index]).all()


@pytest.mark.parametrize("seed", range(30))
def test_in_a_fresh_folder_a_new_case_moves_one_other_over_each_cut_at_the_most(seed):
    units = pd.DataFrame({"stratum": "one", "size": 1}, index=[f"case-{number}" for number in range(60)])
    before = assign(units, PAPER, seed=seed)
    units.loc["another"] = ["one", 1]
    after = assign(units, PAPER, seed=seed)
    moved = [{before[case_id], after[case_id]} for case_id in before if before[case_id] != after[case_id]]
    assert len(moved) <= 2
    assert all(splits in ({0, 1}, {1, 2}) for splits in moved) and len(moved) == len({*map(tuple, moved)})


def test_other_settings_start_anew(tmp_path):
    table = draw_cases()
    first = split(tmp_path, table, seed=1)
    other = split(tmp_path, table, seed=2)
    assert (first["split"] != other["split"]).sum() > 100
    assert split(tmp_path, table, seed=1).equals(first)


def test_a_split_written_by_the_first_release_is_kept(tmp_path):
    table = draw_cases()
    first = split(tmp_path, table)
    others = first.assign(split=first["split"].replace({"val": "test", "test": "val"}))
    settings = {"scheme": "holdout", "fractions": [0.8, 0.1, 0.1], "seed": 42, "k": 5, "file": None}
    of_today = {"splits": {**settings, "external": []}, "stratify": "label_grade"}
    assert read_provenance(tmp_path / "splits.tsv")["settings"] == of_today
    made_by = {"ksfusion": "0.1.0", "code": "0" * 12, "settings": {"splits": settings, "stratify": "label_grade"}}
    write_tsv(others, tmp_path / "splits.tsv", made_by)
    assert split(tmp_path, table).equals(others)


def test_a_split_that_was_spoilt_is_not_started_anew_in_silence(tmp_path):
    table = draw_cases()
    split(tmp_path, table)
    path = tmp_path / "splits.tsv"
    path.write_text(path.read_text().replace("\ttest\n", "\tTest\n", 1))
    with pytest.raises(UserError, match="is no split any more; delete it"):
        split(tmp_path, table)


def test_a_split_that_its_user_changed_is_told_and_kept(tmp_path, caplog):
    table = draw_cases()
    first = split(tmp_path, table)
    path = tmp_path / "splits.tsv"
    moved = first.copy()
    moved.loc[0, "split"] = "val" if moved.loc[0, "split"] == "train" else "train"
    path.write_text(moved.to_csv(sep="\t", index=False))
    assert split(tmp_path, table).equals(moved)
    assert "splits.tsv was changed since it was made: the splits in it are taken as they stand" in caplog.text
    caplog.clear()
    # It is written with its checksum again.
    assert split(tmp_path, table).equals(moved) and not caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[: len(lines) // 2], "was changed and has .* of .* rows; delete it"),
        (lambda lines: [], "was changed and is no split any more; delete it"),
        (lambda lines: [*lines[:-1], lines[-2]], "stands twice in fold 0; delete it"),
        (lambda lines: [*lines[:-1], "0\tsomeone\ttest"], "'someone' is no case with a sample; delete it"),
        (lambda lines: [*lines[:-1], "x\tsomeone\ttest"], "row .*: was changed and is no split any more; delete it"),
        (lambda lines: ["fold\tcase\tsplit", *lines[1:]], "was changed and has no column case_id; delete it"),
    ],
)
def test_a_changed_split_that_is_none_any_more(tmp_path, change, message):
    table = draw_cases()
    split(tmp_path, table)
    path = tmp_path / "splits.tsv"
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    with pytest.raises(UserError, match=message):
        split(tmp_path, table)


def test_the_order_of_the_tables_does_not_matter(tmp_path):
    table = draw_cases()
    (tmp_path / "shuffled").mkdir()
    shuffled = split(tmp_path / "shuffled", table.sample(frac=1, random_state=0))
    assert shuffled.equals(split(tmp_path, table))


@pytest.mark.parametrize("scheme", ["kfold", "file"])
def test_two_fractions_are_those_of_training_and_validation(tmp_path, scheme):
    table = draw_cases()
    file = tmp_path / "mine.tsv"
    splits = "".join(f"0\t{case}\t{'test' if n % 5 == 0 else 'train'}\n" for n, case in enumerate(table["case_id"]))
    file.write_text("fold\tcase_id\tsplit\n" + splits)
    more = {"scheme": "kfold", "k": 4} if scheme == "kfold" else {"scheme": "file", "file": str(file)}
    (tmp_path / "three").mkdir()
    two = split(tmp_path, table, fractions=(0.75, 0.25), **more)
    three = split(tmp_path / "three", table, fractions=(0.6, 0.2, 0.2), **more)
    assert two.equals(three)
    rows = two[(two["fold"] == 0) & (two["split"] != "test")]
    assert (rows["split"] == "val").mean() == pytest.approx(0.25, abs=0.03)


def test_kfold_tests_every_case_once_and_each_fold_is_stratified(tmp_path):
    table = draw_cases()
    folds = split(tmp_path, table, scheme="kfold", k=5)
    assert sorted(folds["fold"].unique()) == [0, 1, 2, 3, 4]
    assert len(folds) == 5 * len(table) and not folds.duplicated(["fold", "case_id"]).any()
    tests = folds[folds["split"] == "test"]
    assert sorted(tests["case_id"]) == sorted(table["case_id"])
    for _, fold in folds.groupby("fold"):
        found = counts(table, fold)
        size = found.sum(axis=1)
        assert (abs(found["test"] - size / 5) < 1).all()
        # Of the others one ninth validates: 0.1 / (0.8 + 0.1).
        assert (abs(found["val"] - (size - found["test"]) / 9) < 1).all()


def test_sites_stay_whole_and_come_from_barcodes(tmp_path):
    random = np.random.default_rng(0)
    table = draw_cases()
    table["case_id"] = [f"TCGA-{random.integers(10, 50)}-{number:04d}" for number in range(len(table))]
    table["site"] = np.where(table["cohort"] == "IvyGAP", "Swedish", "")
    splits = split(tmp_path, table, scheme="site").merge(table, on="case_id")
    splits["site"] = np.where(splits["site"] == "", splits["case_id"].str[5:7], splits["site"])
    assert splits["site"].nunique() == 41
    assert (splits.groupby("site")["split"].nunique() == 1).all()
    shares = splits["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.8, abs=0.06) and shares["test"] > 0.03


@pytest.mark.parametrize(
    ("sites", "words"), [([""], "has no site"), (["a", "b"], "has sites a, b")], ids=["none", "two"]
)
def test_a_case_without_one_site_is_named(tmp_path, sites, words):
    table = pd.concat([draw_cases({("X", 0): 1}).assign(site=site) for site in sites])
    with pytest.raises(UserError, match=f"case case-00000 {words}"):
        split(tmp_path, table, scheme="site")


def test_a_side_without_cases_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"2 cases leave .* of fold 0 without any"):
        split(tmp_path, draw_cases({("X", 0): 2}))


class TestFile:
    CASES = ("A", "B", "C", "D")

    def table(self):
        return pd.DataFrame({"case_id": self.CASES, "cohort": "X", "label": 0})

    def split(self, folder, file):
        splits = split(folder, self.table(), scheme="file", file=str(file))
        return {fold: dict(zip(rows["case_id"], rows["split"], strict=True)) for fold, rows in splits.groupby("fold")}

    def test_our_own_table(self, tmp_path):
        rows = ["fold\tcase_id\tsplit", "0\tA\ttrain", "0\tB\ttrain", "0\tC\tval", "0\tD\ttest"]
        rows += ["3\tA\ttest", "3\tB\tval", "3\tC\ttrain", "3\tD\ttrain"]
        (tmp_path / "mine.tsv").write_text("\n".join(rows) + "\n")
        assert self.split(tmp_path, tmp_path / "mine.tsv") == {
            0: {"A": "train", "B": "train", "C": "val", "D": "test"},
            3: {"A": "test", "B": "val", "C": "train", "D": "train"},
        }

    @pytest.mark.parametrize("name", ["mine.csv", "mine.xlsx", "splits_2.xlsx"])
    def test_a_table_with_semicolons_or_in_a_workbook(self, tmp_path, name):
        rows = [["fold", "case_id", "split"], [2, "A", "train"], [2, "B", "train"], [2, "C", "val"], [2, "D", "test"]]
        if name == "splits_2.xlsx":
            rows = [["", "train", "val", "test"], [0, "A", "C", "D"], [1, "B", "NaN", "-"]]
        if name.endswith("xlsx"):
            write_workbook(tmp_path / name, {"Folds": rows})
        else:
            (tmp_path / name).write_text("\n".join(";".join(map(str, row)) for row in rows) + "\n")
        assert self.split(tmp_path, tmp_path / name) == {2: {"A": "train", "B": "train", "C": "val", "D": "test"}}

    def test_what_was_written_can_be_given(self, tmp_path):
        table = draw_cases()
        written = split(tmp_path, table, scheme="kfold", k=3)
        written.to_csv(tmp_path / "mine.tsv", sep="\t", index=False)
        assert split(tmp_path, table, scheme="file", file=str(tmp_path / "mine.tsv")).equals(written)

    def test_a_folder_of_clam_lists_slides(self, tmp_path):
        folder = tmp_path / "clam"
        folder.mkdir()
        (folder / "splits_0.csv").write_text(",train,val,test\n0,slide-A,slide-C,slide-D\n1,slide-B,,\n")
        (folder / "splits_1.csv").write_text(",train,val,test\n0,slide-D,slide-B,slide-A\n1,slide-C,,\n")
        (folder / "splits_0_bool.csv").write_text(",train,val,test\nslide-A,True,False,False\n")
        assert self.split(tmp_path, folder) == {
            0: {"A": "train", "B": "train", "C": "val", "D": "test"},
            1: {"A": "test", "B": "val", "C": "train", "D": "train"},
        }

    def test_what_mcat_holds_out_is_tested_and_some_training_cases_validate(self, tmp_path):
        folder = tmp_path / "mcat"
        folder.mkdir()
        (folder / "splits_0.csv").write_text(",train,val\n0,A,D\n1,B,\n2,C,\n")
        (tmp_path / "splits.tsv").unlink(missing_ok=True)
        splits = split(tmp_path, self.table(), scheme="file", file=str(folder), fractions=(0.4, 0.3, 0.3))
        found = splits.set_index("case_id")["split"]
        assert found["D"] == "test"
        # 0.3 / 0.7 of three training cases: one or two of them.
        assert set(found[["A", "B", "C"]]) == {"train", "val"}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("fold\tcase_id\n0\tA\n", ["row 1", "column split is missing"]),
            ("fold\tcase_id\tsplit\n0\tA\tvalidation\n", ["row 2", "train, val, test"]),
            ("fold\tcase_id\tsplit\nx\tA\tval\n", ["row 2", "fold"]),
            ("fold\tsplit\tcase_id\n0\tval\n", ["row 2", "a case_id"]),
            ("fold\tcase_id\tsplit\n0\tZ\tval\n", ["row 2", "'Z' is no case"]),
            (
                "fold\tcase_id\tsplit\n0\tA\tval\n0\tA\ttest\n",
                ["row 3", "case A is in split test", "val in", "row 2"],
            ),
            ("fold\tcase_id\tsplit\n0\tA\tval\n", ["fold 0: case B is in no split"]),
            ("fold\tcase_id\tsplit\n", ["names no case"]),
        ],
    )
    def test_a_mistake_is_a_line(self, tmp_path, text, words):
        path = tmp_path / "mine.tsv"
        path.write_text(text)
        with pytest.raises(UserError) as caught:
            read_split_file(path, self.CASES, {})
        assert any(all(word in line for word in ["mine.tsv", *words]) for line in str(caught.value).splitlines())

    def test_slides_may_be_named_as_their_files(self, tmp_path):
        path = tmp_path / "splits_0.csv"
        path.write_text(",train,val,test\n0,a.svs,slides/b.1.ndpi,c.2\n")
        entries = read_split_file(path, {"A", "B", "C"}, {"a": "A", "b.1": "B", "c.2": "C"})
        assert [(entry.name, entry.split) for entry in entries] == [("A", "train"), ("B", "val"), ("C", "test")]

    @pytest.mark.parametrize(
        "text",
        [
            "fold,case_id,split\n0,A,train\n0,B,test\n",
            '"","fold","case_id","split"\n"1",0,"A","train"\n"2",0,"B","test"\n',
            "fold\tcase_id\tsplit\n0.0\tA\ttrain\n0.0\tB\ttest\n",
        ],
    )
    def test_our_own_table_with_commas_or_decimals(self, tmp_path, text):
        (tmp_path / "mine.csv").write_text(text)
        entries = read_split_file(tmp_path / "mine.csv", {"A", "B"}, {})
        assert [(entry.fold, entry.name, entry.split) for entry in entries] == [(0, "A", "train"), (0, "B", "test")]

    def test_what_is_no_split_is_named(self, tmp_path):
        for name, text, message in [
            ("splits_0.csv", "\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\n", "is a git-LFS pointer"),
            ("mine.tsv", "<html>", "is a web page"),
            ("splits_0.csv", "train val test\nA B C\n", "has no columns train and val"),
            (
                "splits_0_bool.csv",
                ",train,val,test\nA,True,False,False\n",
                "has splits as columns; name it splits_0.csv",
            ),
        ]:
            (tmp_path / name).write_text(text, encoding="latin-1")
            with pytest.raises(UserError, match=f"{name}: (row 1: )?{message}"):
                read_split_file(tmp_path / name, {"A", "B"}, {})

    def test_two_slides_of_a_case_in_two_splits_are_named(self, tmp_path):
        path = tmp_path / "splits_0.csv"
        path.write_text(",train,val,test\n0,a1,B,a2\n")
        with pytest.raises(UserError, match="case A is in split test, and train in"):
            read_split_file(path, {"A", "B"}, {"a1": "A", "a2": "A"})

    def test_many_unknown_cases_are_a_few_lines_and_a_count(self, tmp_path):
        path = tmp_path / "mine.tsv"
        path.write_text("fold\tcase_id\tsplit\n" + "".join(f"0\tZ{number}\ttest\n" for number in range(500)))
        with pytest.raises(UserError) as caught:
            read_split_file(path, {"A"}, {})
        lines = str(caught.value).splitlines()
        assert len(lines) == 1 + 6 and "names no case" in lines[0] and "495 more" in lines[-1]

    def test_cases_that_are_not_in_the_study_are_passed_over(self, tmp_path):
        path = tmp_path / "mine.tsv"
        path.write_text("fold\tcase_id\tsplit\n0\tA\ttrain\n0\tZ\ttest\n")
        assert [(entry.name, entry.split) for entry in read_split_file(path, {"A"}, {})] == [("A", "train")]


def test_reading_the_folds_imports_no_pandas():
    code = "import sys, ksfusion.cohort.split_files; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
