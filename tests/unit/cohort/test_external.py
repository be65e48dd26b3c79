"""External cohorts: external in every fold of every scheme, without a part in the division of the others."""

import pandas as pd
import pytest

from ksfusion.cohort.audit import audit_tables
from ksfusion.cohort.config import Labelling, SplitCasesSettings, Splits
from ksfusion.cohort.external import split_problems
from ksfusion.cohort.samples import OPTIONAL_SAMPLE_COLUMNS
from ksfusion.cohort.split_files import folds_of_file
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.stages.split_cases import split_cases
from ksfusion.terms.split_table import read_splits

INSIDE = [f"x{number:02d}" for number in range(40)]
OUTSIDE = [f"z{number:02d}" for number in range(15)]


def draw_cases(inside=INSIDE, outside=OUTSIDE):
    """Make a table of cases of the cohorts x and z: case_id, cohort, label, site."""
    table = pd.DataFrame({"case_id": [*inside, *outside]})
    table["cohort"] = table["case_id"].str[0]
    table["label"] = table["case_id"].str[1:].astype(float) % 3
    return table.assign(site=table["cohort"] + table["case_id"].str[-1])


def split(folder, table, **settings):
    write_parquet(table.assign(slide_id="slide-" + table["case_id"]), folder / "samples.parquet", {})
    write_parquet(table[["case_id"]].assign(value_age=table["label"]), folder / "cases.parquet", {})
    split_cases(
        folder / "samples.parquet",
        folder / "cases.parquet",
        folder / "splits.tsv",
        settings=SplitCasesSettings(splits=Splits(**settings), stratify="value_age"),
    )
    assert not read_splits(folder / "splits.tsv")[1]
    return read_tsv(folder / "splits.tsv")


def own_file(folder, table):
    rows = "".join(f"0\t{case}\t{['train', 'val', 'test'][n % 3]}\n" for n, case in enumerate(table))
    (folder / "mine.tsv").write_text("fold\tcase_id\tsplit\n" + rows)
    return {"scheme": "file", "file": str(folder / "mine.tsv")}


@pytest.mark.parametrize("scheme", ["holdout", "kfold", "site", "file"])
def test_the_others_are_divided_as_if_the_external_cohort_were_not_there(tmp_path, scheme):
    settings = {"scheme": scheme} if scheme != "file" else own_file(tmp_path, INSIDE)
    for name in ("alone", "with", "changed"):
        (tmp_path / name).mkdir()
    alone = split(tmp_path / "alone", draw_cases(outside=[]), **settings)
    table = draw_cases()
    found = split(tmp_path / "with", table, external=["z"], **settings)
    assert found[found["split"] != "external"].reset_index(drop=True).equals(alone)
    external = found[found["split"] == "external"]
    assert external.groupby("fold")["case_id"].agg(list).tolist() == [OUTSIDE] * (5 if scheme == "kfold" else 1)
    # Other labels there move nobody: they are in no quarter that makes the strata.
    table.loc[table["cohort"] == "z", "label"] = 1000.0
    assert split(tmp_path / "changed", table, external=["z"], **settings).equals(found)


def test_a_cohort_that_becomes_external_moves_no_case_of_another(tmp_path):
    table = draw_cases()
    before = split(tmp_path, table)
    after = split(tmp_path, table, external=["z"])
    splits = before.merge(after, on="case_id", suffixes=("", "_after"))
    inside = splits[~splits["case_id"].isin(OUTSIDE)]
    assert (inside["split"] == inside["split_after"]).all()
    again = split(tmp_path, table).merge(before, on="case_id", suffixes=("", "_before"))
    inside = again[~again["case_id"].isin(OUTSIDE)]
    assert (inside["split"] == inside["split_before"]).all() and set(again["split"]) == {"train", "val", "test"}


def test_a_case_or_a_site_in_an_external_cohort_and_in_another_is_refused(tmp_path):
    table = draw_cases()
    both = pd.concat([table, table.iloc[:1].assign(cohort="z")])
    with pytest.raises(UserError, match=r"case x00 has samples of cohort x and of z, which splits.external names"):
        split(tmp_path, both, external=["z"])
    table.loc[table["site"] == "z3", "site"] = "x3"
    assert len(split(tmp_path, table, external=["z"])) == len(table)
    with pytest.raises(UserError, match=r"splits.scheme site: site x3 has samples of cohort x and of z"):
        split(tmp_path, table, external=["z"], scheme="site")


def test_a_split_that_was_written_can_be_given_and_one_that_divides_external_cases_not(tmp_path):
    table = draw_cases()
    written = split(tmp_path, table, external=["z"], scheme="kfold", k=3)
    file = tmp_path / "copy.tsv"
    written.to_csv(file, sep="\t", index=False)
    settings = {"scheme": "file", "file": str(file), "external": ["z"]}
    assert split(tmp_path, table, **settings).equals(written)
    rows = table.assign(slide_id="").to_dict("records")
    assert folds_of_file(Splits(**settings), rows) == [0, 1, 2]
    file.write_text("fold\tcase_id\tsplit\n0\tz00\ttrain\n" + "".join(f"0\t{case}\ttrain\n" for case in INSIDE))
    with pytest.raises(UserError, match=r"row 2: case z00 is in split train, and its cohort is one of splits.external"):
        folds_of_file(Splits(**settings), rows)
    file.write_text("fold\tcase_id\tsplit\n0\tx00\texternal\n" + "".join(f"0\t{case}\ttrain\n" for case in INSIDE[1:]))
    with pytest.raises(UserError, match=r"row 2: case x00 is in split external, and its cohort is not one"):
        folds_of_file(Splits(**settings), rows)


def problems(table, **settings):
    return list(split_problems(Splits(**settings), table.to_dict("records"), "samples.tsv", "config.yaml"))


def test_what_is_wrong_with_external_cohorts_is_told_before_any_job():
    table = draw_cases()
    assert problems(table, external=["z"]) == []
    assert problems(table, external=["y", "z"]) == [
        "config.yaml: splits.external: no sample of samples.tsv is of cohort y; it has x, z: correct the name, or "
        "leave it out"
    ]
    (near,) = problems(table.replace({"cohort": {"z": "ivygap"}}), external=["IvyGap"])
    assert near.endswith("it has ivygap, x: correct the name, or leave it out; did you mean ivygap?")
    assert problems(table, external=["x", "z"]) == [
        "config.yaml: splits.external: names all cohorts of samples.tsv, so that none is left to train on; leave one "
        "out"
    ]
    both = pd.concat([table, table.iloc[:1].assign(cohort="z")])
    (line,) = problems(both, external=["z"])
    assert line.startswith("samples.tsv: case x00 has samples of cohort x and of z")
    # Folds are of the 40 cases that are divided, not of all 55.
    assert problems(table, external=["z"], scheme="kfold", k=41) == [
        "config.yaml: splits.k: 41 folds of 40 cases leave some without any; lower it"
    ]
    with pytest.raises(ValueError, match="cohort z is listed twice"):
        Splits(external=["z", "z"])


def test_an_external_cohort_of_one_class_gives_no_label_away():
    table = draw_cases().assign(expression_id="", **dict.fromkeys([*OPTIONAL_SAMPLE_COLUMNS, "pairing"], ""))
    table["label"] = table["cohort"].map({"x": 0, "z": 1})
    cases = table[["case_id"]].assign(label_mgmt=table["label"].astype("Int64"))
    tasks = {"mgmt": Labelling(kind="classification", column="mgmt", classes=["no", "yes"])}
    found = [finding["check"] for finding in audit_tables(table, cases, tasks)]
    assert "cohort_confounded_with_label" in found
    found = [finding["check"] for finding in audit_tables(table, cases, tasks, external=["z"])]
    assert "cohort_confounded_with_label" not in found
