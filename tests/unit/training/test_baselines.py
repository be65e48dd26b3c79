"""Baselines: their files, against fits by scikit-learn and scikit-survival made here, and what they may look at."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.util import Surv
from training_cohort import CLASSES, DIAGNOSIS, NICHES, SURVIVAL, draw_cohort, read_metrics

from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import BASELINES
from ksfusion.stages.fit_baseline import fit_baseline
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.baselines import PENALTIES, load_baseline
from ksfusion.training.config import FitBaselineSettings
from ksfusion.training.covariates import read_covariates
from ksfusion.training.data import FoldFiles, read_fold
from ksfusion.training.objective import OBJECTIVES

TASKS = {task.name: TaskOutcome.of(task) for task in (DIAGNOSIS, SURVIVAL)}
CLINICAL = ["age", "sex"]
RUN_FILES = {"model.safetensors", "config.json", "predictions.parquet", "history.tsv", "metrics.json"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a cohort whose cases have an age that rises with their class, and a sex."""
    cohort = draw_cohort(tmp_path_factory.mktemp("baselines") / "cohort", n_cases=90)
    random = np.random.default_rng(2)
    cases = read_parquet(cohort.folder / "cases.parquet")
    label = np.arange(len(cases)) % 3
    ages = np.round(50 + 8 * label + random.normal(0, 8, len(cases)), 1)
    cases["age"] = ["" if number % 11 == 0 else str(age) for number, age in enumerate(ages)]
    cases["sex"] = random.choice(["male", "female"], len(cases))
    cases.to_parquet(cohort.folder / "cases.parquet")
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).fillna("")
    samples["cohort"] = np.where(samples["case_id"].astype(int) % 4 == 0, "B", "A")
    samples.to_csv(cohort.folder / "samples.tsv", sep="\t", index=False)
    return cohort


def fit(cohort, output, *, method, task="diagnosis", seeds=(0,), files=None, clinical=CLINICAL):
    folders = [cohort.folder / output / f"seed{seed}" for seed in seeds]
    settings = FitBaselineSettings(task=TASKS[task], clinical=clinical if "c" in BASELINES[method].modalities else [])
    fit_baseline(files or cohort.files, folders, method=method, fold=0, seed=list(seeds), settings=[settings])
    return folders[0]


def predictions(folder):
    return read_parquet(folder / "predictions.parquet").set_index("sample_id")


def by_case(cohort, task):
    """Return what is known of each sample, with genes, mean features, age (median filled in), and the truth."""
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).query("status == 'ok'")
    split = read_tsv(cohort.folder / "splits.tsv", dtype=str).set_index("case_id")["split"]
    cases = read_parquet(cohort.folder / "cases.parquet").set_index("case_id")
    known = samples.assign(split=samples["case_id"].map(split)).set_index("sample_id")
    truth = {"days": "days_survival", "event": "event_survival"} if task == "survival" else {"y": "label_diagnosis"}
    for name, column in truth.items():
        known[name] = known["case_id"].map(cases[column])
    expression = read_parquet(cohort.folder / "expression.parquet")
    known = known.join(expression[NICHES["tumour"] + NICHES["tme"]])
    features, index = (np.load(cohort.folder / f"store/{name}.npy") for name in ("features", "index"))
    blocks = read_tsv(cohort.folder / "store/slides.tsv", dtype={"slide_id": str}).reset_index().set_index("slide_id")
    means = [
        features[blocks.loc[slide, "offset"] + index[blocks.loc[slide, "index"]]].astype(float).mean(axis=0)
        for slide in known["slide_id"]
    ]
    known[[f"f{number}" for number in range(features.shape[1])]] = means
    known["age"] = pd.to_numeric(known["case_id"].map(cases["age"]))
    known["male"], known["female"] = (known["case_id"].map(cases["sex"]) == sex for sex in ("male", "female"))
    known["A"], known["B"] = (known["cohort"] == name for name in "AB")
    return known.astype({name: float for name in ("male", "female", "A", "B")})


NUMBERS = {"genes": NICHES["tumour"] + NICHES["tme"], "patches": [f"f{number}" for number in range(12)]}
COLUMNS = {
    "clinical": ["age", "male", "female"],
    "cox-genes": NUMBERS["genes"],
    "logistic-genes": NUMBERS["genes"],
    "clinical+genes": ["age", "male", "female", *NUMBERS["genes"]],
    "cohort": ["A", "B"],
    "mean-patch": NUMBERS["patches"],
}
INDICATORS = ["male", "female", "A", "B"]


def expected(cohort, method, task, penalty):
    """Return the prediction of every sample, fitted here on the training cases, and that of the validation cases."""
    known, columns = by_case(cohort, task), COLUMNS[method]
    truth = ["days", "event"] if task == "survival" else ["y"]
    labelled = known.dropna(subset=truth)
    cases = labelled.groupby("case_id", sort=False).agg({**dict.fromkeys([*columns, *truth], "mean"), "split": "first"})
    train = cases[cases["split"] == "train"]
    filled = known[columns].fillna(train[columns].median())
    mean, scale = train[columns].fillna(train[columns].median()).mean(), train[columns].fillna(
        train[columns].median()
    ).std(ddof=0)  # fmt: skip
    mean[[name for name in INDICATORS if name in columns]] = 0
    scale[[name for name in INDICATORS if name in columns]] = 1
    x_train = (train[columns].fillna(train[columns].median()) - mean) / scale
    x_val = (cases.loc[cases["split"] == "val", columns].fillna(train[columns].median()) - mean) / scale
    x_all = (filled - mean) / scale
    penalties = np.array([1.0 if name in ("age", *INDICATORS) else penalty for name in columns])
    if task == "survival":
        y = Surv.from_arrays(train["event"].astype(bool), train["days"].astype(float))
        model = CoxPHSurvivalAnalysis(alpha=penalties).fit(x_train.to_numpy(), y)
        cuts = np.quantile(train.loc[train["event"] == 1, "days"].astype(float), [0.25, 0.5, 0.75])
        times = [*cuts, train["days"].max()]
        curves = np.array([curve(times) for curve in model.predict_survival_function(x_all.to_numpy())])
        return curves, model.predict(x_val.to_numpy()), cases[cases["split"] == "val"]
    root = np.sqrt(penalties)
    model = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=5000)
    model.fit(x_train.to_numpy() / root, train["y"].astype(int))
    return (
        model.predict_proba(x_all.to_numpy() / root),
        model.predict_proba(x_val.to_numpy() / root),
        cases[cases["split"] == "val"],
    )


@pytest.mark.parametrize("method", [name for name in BASELINES if name != "cox-genes"])
def test_classes_are_those_of_a_fit_by_scikit_learn(drawn, method):
    folder = fit(drawn, f"diagnosis/{method}", method=method)
    assert {path.name for path in folder.iterdir() if path.name[0] != "."} == RUN_FILES
    metrics, found = read_metrics(folder), predictions(folder)
    assert metrics["status"] == "ok" and metrics["best_epoch"] is None
    everyone, val, cases = expected(drawn, method, "diagnosis", metrics["penalty"] or 1.0)
    table = pd.DataFrame(everyone, index=by_case(drawn, "diagnosis").index).loc[found.index]
    np.testing.assert_allclose(found[[f"prob_{name}" for name in CLASSES]], table, atol=2e-5)
    area = roc_auc_score(cases["y"].astype(int), val, multi_class="ovr")
    assert metrics["val"]["auc"] == pytest.approx(100 * area, abs=0.2)


@pytest.mark.parametrize("method", [name for name in BASELINES if name != "logistic-genes"])
def test_survival_is_that_of_a_fit_by_scikit_survival(drawn, method):
    folder = fit(drawn, f"survival/{method}", method=method, task="survival")
    metrics, found = read_metrics(folder), predictions(folder)
    everyone, val, cases = expected(drawn, method, "survival", metrics["penalty"] or 1.0)
    curves = (1 - found[[f"hazard_{number}" for number in range(4)]]).cumprod(axis=1)
    table = pd.DataFrame(everyone, index=by_case(drawn, "survival").index).loc[found.index]
    np.testing.assert_allclose(curves, table, atol=2e-5)
    np.testing.assert_allclose(found["risk"], -table.sum(axis=1), atol=1e-4)
    c_index = concordance_index_censored(cases["event"].astype(bool), cases["days"].astype(float), val)[0]
    assert metrics["val"]["c_index"] == pytest.approx(100 * c_index, abs=0.2)


@pytest.mark.parametrize("task", ["diagnosis", "survival"])
def test_the_penalty_is_that_with_the_best_validation_cases(drawn, task):
    folder = fit(drawn, f"penalty/{task}", method="mean-patch", task=task)
    history, metrics = read_tsv(folder / "history.tsv"), read_metrics(folder)
    assert history["penalty"].tolist() == list(PENALTIES)
    scores = []
    for penalty in PENALTIES:
        _, val, cases = expected(drawn, "mean-patch", task, penalty)
        if task == "diagnosis":
            scores.append(roc_auc_score(cases["y"].astype(int), val, multi_class="ovr"))
        else:
            scores.append(concordance_index_censored(cases["event"].astype(bool), cases["days"].astype(float), val)[0])
    np.testing.assert_allclose(history["val_metric"], 100 * np.array(scores), atol=0.2)
    best = history[history["val_metric"] == history["val_metric"].max()]
    assert metrics["penalty"] in best["penalty"].tolist()
    assert metrics["selected_by"] == ("c_index" if task == "survival" else "auc")
    assert metrics["val"]["loss"] == pytest.approx(best["val_loss"].min())


def test_a_number_is_that_of_a_fit_by_scikit_learn(drawn):
    """The task of regression: here the time, whatever it ended in."""
    if "regression" not in OBJECTIVES:
        pytest.skip("no such kind of task")
    cases = read_parquet(drawn.folder / "cases.parquet")
    cases["value_months"] = cases["days_survival"] / 30
    cases.to_parquet(drawn.folder / "cases.parquet")
    task = TaskOutcome(name="months", kind="regression")
    folder = drawn.folder / "months"
    settings = FitBaselineSettings(task=task, clinical=CLINICAL)
    fit_baseline(drawn.files, [folder], method="clinical", fold=0, seed=[0], settings=[settings])
    known = by_case(drawn, "survival")
    train = known[known["split"] == "train"].dropna(subset="days").drop_duplicates("case_id")
    columns = COLUMNS["clinical"]
    filled = known[columns].fillna(train["age"].median())
    age = train["age"].fillna(train["age"].median())
    filled["age"] = (filled["age"] - age.mean()) / age.std(ddof=0)
    months = train["days"].astype(float) / 30
    model = Ridge(alpha=1.0).fit(filled.loc[train.index], (months - months.mean()) / months.std(ddof=0))
    found = predictions(folder)
    expected = pd.Series(months.mean() + months.std(ddof=0) * model.predict(filled), index=known.index)
    np.testing.assert_allclose(found["predicted"], expected.loc[found.index], rtol=1e-5)


def test_a_planted_gene_and_age_are_found_and_the_cohort_says_nothing(drawn):
    def test_auc(method):
        found = predictions(fit(drawn, f"auc/{method}", method=method)).query("split == 'test'").dropna(subset="y")
        columns = [f"prob_{name}" for name in CLASSES]
        return roc_auc_score(found["y"].astype(int), found[columns], multi_class="ovr")

    assert test_auc("logistic-genes") > 0.85 and test_auc("mean-patch") > 0.85
    assert test_auc("clinical") > 0.6
    assert 0.3 < test_auc("cohort") < 0.7


def test_each_seed_has_the_same_model_and_its_own_files(drawn):
    folder = fit(drawn, "seeds", method="clinical", seeds=(0, 5))
    twin = folder.with_name("seed5")
    assert predictions(folder).equals(predictions(twin))
    for run, seed in ((folder, 0), (twin, 5)):
        config = json.loads((run / "config.json").read_text())
        assert (read_metrics(run)["seed"], config["seed"], config["method"]) == (seed, seed, "clinical")
        assert config["columns"] == ["age", "sex=female", "sex=male"]


@pytest.mark.parametrize(("method", "task"), [("clinical+genes", "diagnosis"), ("clinical+genes", "survival")])
def test_a_model_that_is_read_back_predicts_the_same(drawn, method, task):
    folder = fit(drawn, f"again/{task}", method=method, task=task)
    model = load_baseline(folder)
    data = read_fold(drawn.files, task=TASKS[task], fold=0, modalities="cg")
    read = read_covariates(data, drawn.folder / "cases.parquet", parts=("clinical", "genes"), clinical=CLINICAL)
    found, logits = read_parquet(folder / "predictions.parquet"), model.logits(read)
    if task == "survival":
        columns, values = [f"hazard_{number}" for number in range(4)], logits.sigmoid()
    else:
        columns, values = [f"prob_{name}" for name in CLASSES], logits.softmax(dim=1)
    np.testing.assert_array_equal(found[columns], values.numpy())


def test_a_damaged_model_is_noticed(drawn):
    path = fit(drawn, "damaged", method="cohort") / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="is damaged"):
        load_baseline(path.parent)


@pytest.mark.parametrize(("method", "task"), [("cox-genes", "diagnosis"), ("logistic-genes", "survival")])
def test_a_method_of_the_other_kind_of_task_is_a_row_with_a_reason(drawn, method, task):
    folder = fit(drawn, f"other/{method}", method=method, task=task)
    metrics = read_metrics(folder)
    assert metrics["status"] == "unsuited"
    assert metrics["reason"] == f"{method} is for tasks of {BASELINES[method].kinds[0]} alone"
    assert read_parquet(folder / "predictions.parquet").empty
    with pytest.raises(UserError, match="has no model"):
        load_baseline(folder)


def test_without_a_clinical_column_left_it_is_a_row_with_a_reason(drawn):
    metrics = read_metrics(fit(drawn, "none-left", method="clinical", clinical=[]))
    assert metrics["status"] == "unsuited" and "no column that the label is not made of" in metrics["reason"]


def test_what_is_not_read_need_not_be_there(drawn):
    files = drawn.files
    small = FoldFiles(None, None, None, files.samples, files.cases, files.splits)
    for method in ("clinical", "cohort"):
        assert predictions(fit(drawn, f"small/{method}", method=method, files=small)).equals(
            predictions(fit(drawn, f"large/{method}", method=method))
        )
    without_store = FoldFiles(None, files.expression, files.selected, files.samples, files.cases, files.splits)
    assert read_metrics(fit(drawn, "genes", method="logistic-genes", files=without_store))["status"] == "ok"
    with pytest.raises(UserError, match="--store: the method reads this"):
        fit(drawn, "patches", method="mean-patch", files=without_store)
    with pytest.raises(UserError, match="--selected and --expression: the method reads this"):
        fit(drawn, "no-genes", method="logistic-genes", files=small)


@pytest.fixture
def cohort(drawn, tmp_path):
    """Return a copy of the cohort, to be changed."""
    import shutil

    shutil.copytree(drawn.folder, tmp_path / "cohort")
    return type(drawn)(tmp_path / "cohort")


@pytest.mark.parametrize("method", ["clinical+genes", "mean-patch"])
def test_test_cases_have_no_say(cohort, method):
    before = fit(cohort, "before", method=method, task="survival")
    test = cohort.cases_of("test")
    cohort.relabel(test, days_survival=7.0, event_survival=1, age="20", sex="male")
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str)
    chosen = samples.loc[samples["case_id"].isin(test), "sample_id"]
    path = cohort.folder / "expression.parquet"
    expression = read_parquet(path)
    expression.loc[expression.index.isin(chosen)] = 9.0
    expression.to_parquet(path)
    after = fit(cohort, "after", method=method, task="survival")
    first, second = (predictions(folder).query("split != 'test'") for folder in (before, after))
    assert first.equals(second)


def test_without_validation_cases_the_penalty_is_the_default(cohort):
    cohort.relabel(cohort.cases_of("val"), label_diagnosis=pd.NA)
    metrics = read_metrics(fit(cohort, "run", method="logistic-genes"))
    assert (metrics["selected_by"], metrics["penalty"]) == ("default", 100.0)
    assert metrics["val"] == {"auc": None, "loss": None}


def test_without_a_score_of_validation_cases_the_loss_chooses(cohort):
    cohort.relabel(cohort.cases_of("val"), label_diagnosis=1)
    folder = fit(cohort, "run", method="logistic-genes")
    history, metrics = read_tsv(folder / "history.tsv"), read_metrics(folder)
    assert metrics["selected_by"] == "loss" and history["val_metric"].isna().all()
    assert metrics["val"]["loss"] == pytest.approx(history["val_loss"].min())


def test_a_class_without_a_training_case_has_probability_zero(cohort):
    cases = read_parquet(cohort.folder / "cases.parquet")
    train = cohort.cases_of("train")
    of_class = cases.loc[cases["case_id"].isin(train) & (cases["label_diagnosis"] == 2), "case_id"]
    cohort.relabel(of_class, label_diagnosis=pd.NA)
    folder = fit(cohort, "run", method="logistic-genes")
    found = predictions(folder)
    assert read_metrics(folder)["status"] == "ok" and (found["prob_high"] == 0).all()
    np.testing.assert_allclose(found[["prob_low", "prob_middle"]].sum(axis=1), 1)


def test_a_penalty_without_coefficients_is_passed_over_and_none_at_all_is_a_run_that_failed(drawn, monkeypatch):
    from ksfusion.training.ridge import CoxRidge

    whole = CoxRidge.fit

    def fit_with(*failing):
        def fit_or_fail(x, days, event, cuts, penalties):
            if penalties[0] in failing:
                raise ValueError("search direction contains NaN or infinite values")
            return whole(x, days, event, cuts, penalties)

        monkeypatch.setattr(CoxRidge, "fit", fit_or_fail)

    fit_with(1.0, 10.0)
    folder = fit(drawn, "some-fail", method="cox-genes", task="survival")
    history, metrics = read_tsv(folder / "history.tsv").set_index("penalty"), read_metrics(folder)
    assert history["val_metric"].isna().tolist() == [False, False, False, True, True]
    assert metrics["status"] == "ok" and metrics["penalty"] >= 100
    fit_with(*PENALTIES)
    folder = fit(drawn, "all-fail", method="cox-genes", task="survival")
    metrics = read_metrics(folder)
    assert metrics["status"] == "failed" and "no coefficients are found with any penalty (10000, " in metrics["reason"]
    assert read_parquet(folder / "predictions.parquet").empty


def test_one_class_alone_teaches_nothing(cohort):
    cohort.relabel(cohort.cases_of("train"), label_diagnosis=0)
    metrics = read_metrics(fit(cohort, "run", method="cohort"))
    assert metrics["status"] == "skipped" and "at least two are needed" in metrics["reason"]


def test_mistakes_are_lines(drawn):
    settings = FitBaselineSettings(task=TASKS["diagnosis"], clinical=["height"])
    one = [drawn.folder / "mistake"]
    with pytest.raises(UserError, match=r"cases.parquet: lacks column height of cohort.clinical"):
        fit_baseline(drawn.files, one, method="clinical", fold=0, seed=[0], settings=[settings])
    with pytest.raises(UserError, match="--method snn: is no baseline; ksfusion train-model trains it"):
        fit_baseline(drawn.files, one, method="snn", fold=0, seed=[0], settings=[settings])
    with pytest.raises(UserError, match="--output: 1 folders for 1 tasks with 2 seeds"):
        fit_baseline(drawn.files, one, method="clinical", fold=0, seed=[0, 1], settings=[settings])
