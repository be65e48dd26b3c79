"""Test samples with a slide or genes alone stand beside the paired ones, on which methods are compared."""

import numpy as np
import pandas as pd
import pytest
from run_files import GRADING, write_run
from sklearn.metrics import roc_auc_score

from ksfusion.core.storage import read_tsv
from ksfusion.results.report.sections import partial_layouts
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import MakeComparisonsSettings, MakeTablesSettings
from ksfusion.results.tables.layout import lay_out
from ksfusion.results.tables.partial import of_modalities
from ksfusion.results.tables.scores import read_table
from ksfusion.stages.make_comparisons import make_comparisons
from ksfusion.stages.make_tables import make_tables

PAIRED, SLIDES, GENES = "paired", "slides only", "genes only"
# What the samples have that a method predicts.
SERVED = {"attmil": (PAIRED, SLIDES), "snn": (PAIRED, GENES), "ksfusion": (PAIRED,), "concat": (PAIRED, SLIDES, GENES)}
N = {PAIRED: 40, SLIDES: 24, GENES: 16}


def draw_rows(method, seed):
    """Draw samples of each kind, a case each, and the score that a method gives them."""
    rows, has = [], []
    for kind in SERVED[method]:
        random = np.random.default_rng([seed, len(kind), *map(ord, method)])
        for number in range(N[kind]):
            score = 1 / (1 + np.exp(-random.normal(2 * (number % 2) - 1)))
            name = f"{kind[0]}{number:02d}"
            rows.append((name, name, "a", number % 2, 1 - score, score))
            has.append(kind)
    return rows, has


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, folders = tmp_path_factory.mktemp("runs"), []
    for method in SERVED:
        for seed in range(2):
            rows, has = draw_rows(method, seed)
            folders.append(write_run(folder, GRADING, rows, method=method, seed=seed, has=has))
    return folders


@pytest.fixture(scope="module")
def results(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    compared = MakeComparisonsSettings(tasks=[GRADING], methods=list(SERVED), reference="ksfusion", resamples=200)
    make_comparisons(runs, folder / "comparisons.tsv", settings=compared)
    names = ["table1", "table2", "table_s1"]
    settings = MakeTablesSettings(tasks=[GRADING], methods=list(SERVED), names=names, resamples=200)
    make_tables(runs, folder, settings=settings, comparisons=folder / "comparisons.tsv")
    return folder


def rows_of(table, kind):
    whole = table[(table["level"] == "sample") & (table["cohort"] == "all") & (table["fold"] == "all")]
    return whole[(whole["modalities"] == kind) & (whole["metric"] == "auc")].set_index("method")


def test_each_kind_has_its_own_rows_as_scikit_learn_scores_it(results):
    table = read_table(results / "table1.tsv")
    assert table["modalities"].unique().tolist() == [PAIRED, SLIDES, GENES]
    for kind in N:
        shown = rows_of(table, kind)
        assert list(shown.index) == [method for method, served in SERVED.items() if kind in served]
        assert set(shown["n"]) == {N[kind]}
        for method, mean in shown["mean"].items():
            expected = []
            for seed in range(2):
                rows, has = draw_rows(method, seed)
                own = [row for row, found in zip(rows, has, strict=True) if found == kind]
                expected.append(100 * roc_auc_score([row[3] for row in own], [row[5] for row in own]))
            assert mean == pytest.approx(np.mean(expected), abs=1e-4)


def test_methods_are_compared_on_the_paired_samples_alone(runs, results, tmp_path):
    compared = read_tsv(results / "comparisons.tsv")
    assert set(compared["n"]) == {N[PAIRED]} and compared["reason"].isna().all()
    assert set(read_table(results / "table_s1.tsv")["modalities"]) == {PAIRED}
    for run in read_runs(runs, [GRADING]):
        assert len(run.test) == N[PAIRED] and set(run.partial) == set(SERVED[run.method]) - {PAIRED}
    # The same as if the others had never been predicted.
    alone = []
    for method in SERVED:
        for seed in range(2):
            rows, has = draw_rows(method, seed)
            paired = [row for row, found in zip(rows, has, strict=True) if found == PAIRED]
            alone.append(write_run(tmp_path / "alone", GRADING, paired, method=method, seed=seed))
    settings = MakeTablesSettings(tasks=[GRADING], methods=list(SERVED), names=["table1"], resamples=200)
    make_tables(alone, tmp_path, settings=settings)
    expected, found = read_table(tmp_path / "table1.tsv"), of_modalities(read_table(results / "table1.tsv"))
    assert set(expected["modalities"]) == {"all"}
    pd.testing.assert_frame_equal(expected.drop(columns="modalities"), found.drop(columns="modalities"))


def test_they_stand_below_the_main_table_with_their_number(results):
    text = (results / "table1.md").read_text()
    titles = [line for line in text.splitlines() if "Methods compared on the test samples" in line]
    assert [title.rpartition(": ")[2] if ": " in title else "" for title in titles] == ["", SLIDES, GENES]
    for called, number in (("Paired test", 40), ("Slides-only test", 24), ("Genes-only test", 16)):
        assert f"{called} samples: grading {number}." in text
    main, slides, genes = text.split("Methods compared on the test samples")[1:]
    assert "KS-Fusion" in main and "KS-Fusion" not in slides and "SNN" not in slides and "AttMIL" not in genes


def test_published_values_stand_beside_the_paired_samples_alone(runs, tmp_path):
    options = {"tasks": [GRADING], "methods": list(SERVED), "names": ["table1"], "resamples": 100}
    make_tables(runs, tmp_path, settings=MakeTablesSettings(**options, published="paper"))
    table = read_table(tmp_path / "table1.tsv")
    assert set(table.loc[table["paper"].notna(), "modalities"]) == {PAIRED}


def test_the_report_has_them_apart(results):
    table = read_table(results / "table1.tsv")
    layouts = dict(partial_layouts(table, [], {}))
    assert list(layouts) == [SLIDES, GENES]
    assert [row.method for row in layouts[SLIDES].rows] == ["attmil", "concat"]
    assert [row.method for row in lay_out(table).rows] == list(SERVED)
    assert not any(cell.differs for layout in layouts.values() for row in layout.rows for cell in row.cells)


def test_a_study_of_one_kind_has_no_other_rows(tmp_path):
    rows, _ = draw_rows("ksfusion", 0)
    run = write_run(tmp_path, GRADING, rows, method="ksfusion")
    make_tables([run], tmp_path, settings=MakeTablesSettings(tasks=[GRADING], methods=["ksfusion"], names=["table1"]))
    table = read_table(tmp_path / "table1.tsv")
    assert set(table["modalities"]) == {"all"} and partial_layouts(table, [], {}) == []
    # A table of an earlier version lacks the column.
    assert of_modalities(table.drop(columns="modalities")).equals(table.drop(columns="modalities"))
    assert "Test samples: grading 40." in (tmp_path / "table1.md").read_text()


def test_an_external_cohort_without_rna_is_scored_on_its_slides(tmp_path):
    rows, has = draw_rows("attmil", 0)
    outside = [(f"z{row[0]}", f"z{row[1]}", "z", *row[3:]) for row in rows[-24:]]
    run = write_run(tmp_path, GRADING, rows, method="attmil", external=outside, has=[*has, *[SLIDES] * 24])
    mixed = [(f"y{row[0]}", f"y{row[1]}", "y", *row[3:]) for row in rows[-2:]]
    other = write_run(
        tmp_path / "b", GRADING, rows, method="attmil", seed=1, external=mixed, has=[*has, PAIRED, SLIDES]
    )
    first, second = read_runs([run, other], [GRADING])
    assert len(first.external["z"]) == 24 and len(second.external["y"]) == 1
