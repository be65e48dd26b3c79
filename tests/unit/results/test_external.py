"""External cohorts in the results: scored by themselves, beside the test samples, with the drop and its interval."""

import json

import numpy as np
import pandas as pd
import pytest
from run_files import GRADING, SURVIVAL, write_run
from sklearn.metrics import accuracy_score, roc_auc_score
from sksurv.metrics import concordance_index_ipcw
from sksurv.util import Surv

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.metrics import METRICS
from ksfusion.results.report.external import external_sections, external_sentences
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import (
    DrawFiguresSettings,
    MakeComparisonsSettings,
    MakeSubgroupsSettings,
    MakeTablesSettings,
)
from ksfusion.results.statistics import EXTERNAL_SEED, draw_cases
from ksfusion.results.tables.differences import read_comparisons
from ksfusion.results.tables.external import read_drops, without_test
from ksfusion.results.tables.scores import read_table
from ksfusion.results.tables.subgroups import read_subgroups
from ksfusion.stages.draw_figures import draw_figures
from ksfusion.stages.make_comparisons import make_comparisons
from ksfusion.stages.make_subgroups import make_subgroups
from ksfusion.stages.make_tables import make_tables

TABLES = ["table1", "table2", "table_s1"]


def draw_rows(cohort, n, *, shift, seed):
    """Draw samples of a cohort, a case each, whose scores tell the classes apart by a shift."""
    random = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    score = 1 / (1 + np.exp(-(random.normal(size=n) + shift * (2 * truth - 1))))
    return [(f"{cohort}{i:03d}", f"{cohort}{i:03d}", cohort, truth[i], 1 - s, s) for i, s in enumerate(score)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two methods with two seeds: test samples of two cohorts, an external one of 80 and one of 8 cases."""
    folder, folders = tmp_path_factory.mktemp("runs"), []
    for number, method in enumerate(("snn", "ksfusion")):
        for seed in range(2):
            own = 10 * number + seed
            rows = [*draw_rows("a", 60, shift=1.5, seed=own), *draw_rows("b", 40, shift=1.5, seed=own + 100)]
            outside = [*draw_rows("z", 80, shift=0.4, seed=own + 200), *draw_rows("y", 8, shift=0.4, seed=own + 300)]
            folders.append(write_run(folder, GRADING, rows, method=method, seed=seed, external=outside))
    return folders


def tables_of(runs, folder, tasks=(GRADING,), methods=("snn", "ksfusion"), comparisons=None, **settings):
    settings = MakeTablesSettings(tasks=list(tasks), methods=list(methods), names=TABLES, resamples=500, **settings)
    make_tables(runs, folder, settings=settings, comparisons=comparisons)
    return {name: read_table(folder / f"{name}.tsv") for name in TABLES}


@pytest.fixture(scope="module")
def results(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    settings = MakeComparisonsSettings(tasks=[GRADING], methods=["snn", "ksfusion"], resamples=500)
    make_comparisons(runs, folder / "comparisons.tsv", settings=settings)
    return folder, tables_of(runs, folder, comparisons=folder / "comparisons.tsv")


def predictions(run, cohort):
    table = read_parquet(run / "predictions.parquet")
    return table[table["cohort"] == cohort]


def test_each_cohort_has_its_own_rows_as_scikit_learn_scores_it(runs, results):
    _, tables = results
    table = tables["table1"]
    assert table["split"].map({"test": 0, "external": 1}).is_monotonic_increasing
    assert set(table.loc[table["split"] == "external", "cohort"]) == {"y", "z"}
    found = table[(table["split"] == "external") & (table["fold"] == "all") & (table["level"] == "sample")]
    found = found.set_index(["cohort", "method", "metric"])
    own = [predictions(run, "z") for run in runs[:2]]
    areas = [100 * roc_auc_score(part["y"], part["prob_G3"]) for part in own]
    right = [100 * accuracy_score(part["y"], part["prob_G3"] > 0.5) for part in own]
    assert found.loc[("z", "snn", "auc"), "mean"] == pytest.approx(np.mean(areas), abs=1e-4)
    assert found.loc[("z", "snn", "auc"), "sd"] == pytest.approx(np.std(areas, ddof=1), abs=1e-4)
    assert found.loc[("z", "snn", "accuracy"), "mean"] == pytest.approx(np.mean(right), abs=1e-4)
    assert found.loc[("z", "snn", "auc"), "n"] == 80 and found["paper"].isna().all()
    low, high = found.loc[("z", "snn", "auc"), ["ci_low", "ci_high"]]
    assert low < np.mean(areas) < high
    assert found.loc[("y", "snn", "auc"), "reason"] == "too few cases for an interval"


def test_rows_of_the_test_samples_are_as_without_external_cohorts(runs, results, tmp_path):
    folder, _ = results
    alone = []
    for run in runs:
        own = tmp_path / "models" / run.relative_to(run.parents[3])
        own.mkdir(parents=True)
        table = read_parquet(run / "predictions.parquet")
        write_parquet(table[table["split"] == "test"], own / "predictions.parquet", {})
        (own / "metrics.json").write_text((run / "metrics.json").read_text())
        alone.append(own)
    settings = MakeComparisonsSettings(tasks=[GRADING], methods=["snn", "ksfusion"], resamples=500)
    make_comparisons(alone, tmp_path / "comparisons.tsv", settings=settings)
    tables_of(alone, tmp_path, comparisons=tmp_path / "comparisons.tsv")
    for name in (*TABLES, "comparisons"):
        lines = [line for line in (folder / f"{name}.tsv").read_text().splitlines() if not line.endswith("\texternal")]
        assert lines == (tmp_path / f"{name}.tsv").read_text().splitlines()
        assert lines[0].endswith("\tsplit") and all(line.endswith("\ttest") for line in lines[1:])
    for name in TABLES:
        assert (folder / f"{name}.md").read_text().startswith((tmp_path / f"{name}.md").read_text())
        assert (folder / f"{name}.tex").read_text().startswith((tmp_path / f"{name}.tex").read_text())
    assert not (tmp_path / "external.tsv").exists()


def test_the_drop_and_its_interval_are_those_of_two_independent_groups(results):
    folder, tables = results
    drops = read_drops(folder / "external.tsv").set_index(["method", "metric", "level", "cohort"])
    row = drops.loc[("ksfusion", "accuracy", "sample", "z")]
    assert row["drop"] == pytest.approx(row["test"] - row["external"], abs=2e-4)
    assert (row["n_test"], row["n"]) == (100, 80)
    # Of accuracies p and q, each the mean of two seeds whose mistakes are independent: half of the binomial variances.
    p, q = row["test"] / 100, row["external"] / 100
    spread = 100 * np.sqrt((p * (1 - p) / 100 + q * (1 - q) / 80) / 2)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96 * spread, rel=0.2)
    of_few = drops.loc[("ksfusion", "accuracy", "sample", "y")]
    assert np.isnan(of_few["ci_low"]) and of_few["reason"] == "fewer than 10 cases on one side: no interval"
    assert {"auc", "auprc", "brier"} <= set(drops.index.get_level_values("metric"))
    inside = tables["table1"].query("method == 'ksfusion' and metric == 'accuracy' and level == 'sample'")
    assert row["test"] == inside.loc[(inside["cohort"] == "all") & (inside["fold"] == "all"), "mean"].item()


def test_the_same_samples_under_other_names_drop_by_nothing_and_not_for_certain(tmp_path):
    """Draws of as many cases are others: an interval of width 0 would take both for one."""
    rows = draw_rows("a", 50, shift=0.7, seed=0)
    outside = [("z" + sample, "z" + case, "z", *rest) for sample, case, _, *rest in rows]
    runs = [write_run(tmp_path / "models", GRADING, rows, external=outside)]
    tables = tables_of(runs, tmp_path, methods=["snn"])
    drops = read_drops(tmp_path / "external.tsv").set_index(["metric", "level"])
    row = drops.loc[("auc", "sample")]
    inside = (
        tables["table1"].query("metric == 'auc' and level == 'sample' and cohort == 'all' and fold == 'all'").iloc[0]
    )
    assert row["drop"] == 0
    width = inside["ci_high"] - inside["ci_low"]
    assert row["ci_high"] - row["ci_low"] == pytest.approx(np.sqrt(2) * width, rel=0.15)
    assert not np.array_equal(draw_cases(50, seed=0), draw_cases(50, seed=EXTERNAL_SEED))


def follow(cohort, n, seed, censoring):
    random = np.random.default_rng(seed)
    risk = random.normal(size=n)
    death, last = random.exponential(500 * np.exp(-risk)), random.uniform(0, censoring, n)
    days, event = np.maximum(np.round(np.minimum(death, last)), 1), death <= last
    return [(f"{cohort}{i}", f"{cohort}{i}", cohort, days[i], float(event[i]), risk[i]) for i in range(n)]


def test_censoring_of_an_external_cohort_is_estimated_on_itself(tmp_path):
    outside = follow("z", 120, 2, censoring=900)
    run = write_run(tmp_path / "models", SURVIVAL, follow("a", 60, 1, censoring=3000), external=outside)
    table = read_parquet(run / "predictions.parquet")
    train = pd.DataFrame(
        follow("t", 60, 3, censoring=3000), columns=["sample_id", "case_id", "cohort", "days", "event", "risk"]
    )
    table = pd.concat([table, train.assign(fold=0, split="train")], ignore_index=True)
    hazards = {f"hazard_{number}": 0.1 + 0.02 * table["risk"] for number in range(4)}
    write_parquet(table.assign(**hazards), run / "predictions.parquet", {})
    cuts = [100.0, 300.0, 600.0]
    (run / "config.json").write_text(json.dumps({"bins": cuts}))
    further = tables_of([run], tmp_path, tasks=[SURVIVAL], methods=["snn"], times=[365])["table_s1"]
    found = further.query("split == 'external' and level == 'sample' and fold == 'all'").set_index("metric")["mean"]
    own = pd.DataFrame(outside, columns=["sample_id", "case_id", "cohort", "days", "event", "risk"])
    truth = Surv.from_arrays(own["event"].astype(bool), own["days"])
    expected, *_ = concordance_index_ipcw(truth, truth, own["risk"], tau=cuts[-1])
    assert found["uno_c"] == pytest.approx(100 * expected, abs=0.01)
    markdown = (tmp_path / "table_s1.md").read_text()
    assert "Kaplan-Meier's estimate on the training cases" in markdown.partition("external cohort z")[0]
    assert "Kaplan-Meier's estimate on the cases of this cohort" in markdown.partition("external cohort z")[2]


def test_models_of_all_folds_score_the_same_external_samples_which_count_once(tmp_path):
    runs = []
    for fold in range(3):
        outside = draw_rows("z", 30, shift=0.5, seed=50 + fold)
        for method in ("snn", "ksfusion"):
            rows = [
                (f"f{fold}{sample}", f"f{fold}{case}", *rest)
                for sample, case, *rest in draw_rows("a", 20, shift=1, seed=fold)
            ]
            runs.append(write_run(tmp_path / "models", GRADING, rows, method=method, fold=fold, external=outside))
    table = tables_of(runs, tmp_path)["table1"].query("metric == 'auc' and level == 'case' and method == 'snn'")
    assert table.query("cohort == 'all' and fold == 'all'")["n"].item() == 60
    of_cohort = table.query("split == 'external'").set_index("fold")
    assert of_cohort["n"].to_dict() == dict.fromkeys(["all", "0", "1", "2"], 30)
    assert of_cohort.loc["all", "mean"] == pytest.approx(of_cohort.drop(index="all")["mean"].mean(), abs=1e-3)
    make_comparisons(
        runs, tmp_path / "c.tsv", settings=MakeComparisonsSettings(tasks=[GRADING], methods=["snn", "ksfusion"])
    )
    compared = read_tsv(tmp_path / "c.tsv", dtype={"fold": str})
    assert set(compared.query("split == 'external'")["n"]) == {30}


def test_a_cohort_without_labels_and_a_run_without_a_model_are_rows_with_the_reason(tmp_path):
    outside = [(f"z{i}", f"z{i}", "z", np.nan, 0.5, 0.5) for i in range(12)]
    runs = [write_run(tmp_path / "models", GRADING, draw_rows("a", 20, shift=1, seed=0), external=outside)]
    runs.append(write_run(tmp_path / "models", GRADING, [], method="ksfusion", reason="no event"))
    tables = tables_of(runs, tmp_path)
    found = tables["table1"].query("split == 'external'").drop_duplicates("method").set_index("method")
    assert found.loc["snn", "reason"] == "no labelled sample of cohort z" and np.isnan(found.loc["snn", "mean"])
    assert found.loc["ksfusion", "reason"] == "no event"
    drops = read_drops(tmp_path / "external.tsv")
    assert set(drops.loc[drops["method"] == "snn", "reason"]) == {"no result on the cohort"}
    assert set(drops.loc[drops["method"] == "ksfusion", "reason"]) == {"no result on the test samples"}


def test_an_external_cohort_alone_may_have_labels_and_a_bad_one_spoils_no_other(tmp_path):
    rows = [(f"a{i}", f"a{i}", "a", np.nan, 0.5, 0.5) for i in range(12)]
    run = write_run(tmp_path, GRADING, rows, external=draw_rows("z", 20, shift=1, seed=0))
    bad = write_run(
        tmp_path, GRADING, draw_rows("a", 12, shift=1, seed=0), seed=1, external=[("z", "z", "z", 0, np.nan, 1)]
    )
    first, second = read_runs([run, bad], [GRADING])
    assert first.reason == "no labelled test sample" and not first.on_external("z").reason
    assert not second.reason and second.on_external("z").reason == "predictions are not finite"


def test_methods_are_compared_on_each_cohort_by_itself(results):
    folder, _ = results
    settings = MakeComparisonsSettings(tasks=[GRADING], methods=["snn", "ksfusion"])
    comparisons = read_comparisons(folder / "comparisons.tsv", settings)
    shown = comparisons.shown(["snn"], cohort="z")
    of_s1 = ["auprc", "precision", "balanced_accuracy", "mcc", "brier", "calibration_error", "auc_within"]
    assert list(shown["metric"]) == [*METRICS["classification"], *of_s1] and set(shown["n"]) == {80}
    assert set(shown["split"]) == {"external"} and shown["p"].between(0, 1).all()
    assert set(comparisons.shown(["snn"])["split"]) == {"test"}


def test_layouts_show_the_cohort_apart_with_the_drop(results):
    folder, tables = results
    markdown = (folder / "table1.md").read_text()
    inside, _, outside = markdown.partition("# Methods compared on the samples: external cohort y")
    assert "*drop*" not in inside and "Test samples: grading 100." in inside
    _, _, of_z = outside.partition("# Methods compared on the samples: external cohort z")
    assert "*drop*" in of_z and "Samples of z: grading 80." in of_z
    assert "Nothing was fitted, chosen or trained on this cohort." in of_z
    drops = read_drops(folder / "external.tsv")
    row = drops.query("method == 'snn' and metric == 'auc' and level == 'sample' and cohort == 'z'").iloc[0]
    assert f"*{row['drop']:.1f} ({row['ci_low']:.1f} to {row['ci_high']:.1f})*" in of_z
    latex = (folder / "table1.tex").read_text()
    assert latex.count(r"\begin{table*}") == 3 and r"\quad\textit{drop}" in latex
    assert r"\label{tab:table1_external_2}" in latex
    assert "external cohort z: Grading" in (folder / "table_s1.md").read_text()
    sections = external_sections(
        {"table1": tables["table1"], "table2": tables["table2"]}, tables["table_s1"], drops, None,
        tasks=[GRADING], caveats=(), titles={},
    )  # fmt: skip
    assert [section["cohort"] for section in sections] == ["y", "z"]
    (of_y, of_z) = external_sentences(tables["table1"], drops, {})
    assert of_y.startswith("On the external cohort y, on which nothing was fitted")
    assert "on 80 samples, a drop of" in of_z and "95 % interval" in of_z


def test_subgroups_of_external_cohorts_have_their_cohort_beside(runs, tmp_path):
    table = pd.concat([predictions(runs[0], name) for name in "abyz"])[["sample_id", "case_id", "cohort"]]
    table["sex"] = np.where(np.arange(len(table)) % 3 == 0, "f", "m")
    write_parquet(table, tmp_path / "samples.parquet", {})
    write_parquet(table[["case_id"]], tmp_path / "cases.parquet", {})
    settings = MakeSubgroupsSettings(tasks=[GRADING], methods=["snn"], subgroups=["cohort", "sex"], resamples=200)
    paths = {"samples": tmp_path / "samples.parquet", "cases": tmp_path / "cases.parquet"}
    make_subgroups(runs, tmp_path / "subgroups.tsv", **paths, settings=settings)
    found = read_subgroups(tmp_path / "subgroups.tsv")
    inside, outside = found[found["split"] == "test"], found[found["split"] == "external"]
    assert set(inside["cohort"]) == {"all"} and set(inside["value"]) == {"a", "b", "f", "m"}
    assert set(outside["subgroup"]) == {"sex"} and set(outside["cohort"]) == {"y", "z"}
    of_z = outside.query("cohort == 'z' and metric == 'auc' and level == 'sample'").set_index("value")["n"]
    assert of_z.to_dict() == table[table["cohort"] == "z"]["sex"].value_counts().to_dict()
    settings = settings.model_copy(update={"subgroups": ["cohort"]})
    make_subgroups(runs, tmp_path / "subgroups.tsv", **paths, settings=settings)
    assert list(read_tsv(tmp_path / "subgroups.tsv"))[-1] == "split"


@pytest.mark.slow
def test_figures_of_external_cohorts_stand_beside_those_of_the_test_samples(runs, tmp_path):
    draw_figures(
        runs, tmp_path, settings=DrawFiguresSettings(tasks=[GRADING], methods=["snn", "ksfusion"], resamples=100)
    )
    listed = {entry["name"]: entry for entry in json.loads((tmp_path / "figures.json").read_text())}
    outside = {name for name in listed if "external" in name}
    assert outside == {f"{kind}_grading_external{n}" for kind in ("roc", "calibration") for n in (1, 2)}
    assert listed["roc_grading_external2"]["title"] == "Grading: ROC curves, external cohort z"
    caption = listed["roc_grading_external2"]["caption"]
    assert "test" not in caption and "Nothing was fitted, chosen or trained on cohort z." in caption
    assert "on the test samples" in listed["roc_grading"]["caption"]
    assert (tmp_path / "calibration_grading_external1.svg").exists()


def test_words_of_the_test_side_are_left_out():
    assert (
        without_test("How well it is told, on the test samples; p by test")
        == "How well it is told, on the samples; p by test"
    )
    assert without_test("no pair of test samples can be compared") == "no pair of samples can be compared"
