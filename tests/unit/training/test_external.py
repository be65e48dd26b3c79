"""External cohorts are predicted and have no part in any model: whatever they hold, no byte of the others changes."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from search_runs import search
from training_cohort import DIAGNOSIS, SURVIVAL, epochs

from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_json, read_tsv
from ksfusion.methods.registry import BASELINES
from ksfusion.stages.fit_baseline import fit_baseline
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.config import FitBaselineSettings

OUTSIDE = [f"{number:03d}" for number in range(4, 60, 7)]
TASKS = {"diagnosis": epochs(DIAGNOSIS, 2), "survival": epochs(SURVIVAL, 2)}


@pytest.fixture
def external(cohort):
    """Return the cohort with eight cases of another cohort, Z, which is external."""
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).fillna("")
    samples["cohort"] = np.where(samples["case_id"].isin(OUTSIDE), "Z", "A")
    samples.to_csv(cohort.folder / "samples.tsv", sep="\t", index=False)
    splits = read_tsv(cohort.folder / "splits.tsv", dtype=str)
    splits.loc[splits["case_id"].isin(OUTSIDE), "split"] = "external"
    splits.to_csv(cohort.folder / "splits.tsv", sep="\t", index=False)
    cases = read_parquet(cohort.folder / "cases.parquet")
    cases["age"] = [str(40 + number % 30) for number in range(len(cases))]
    cases["sex"] = ["male", "female", ""] * (len(cases) // 3)
    cases.to_parquet(cohort.folder / "cases.parquet")
    return cohort


def spoil(cohort):
    """Change all that is known of the external cases: genes, features, labels and clinical columns."""
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str)
    outside = samples["case_id"].isin(OUTSIDE) & (samples["status"] == "ok")
    expression = read_parquet(cohort.folder / "expression.parquet")
    expression.loc[samples.loc[outside, "sample_id"]] = 30 * np.float32(-1) ** np.arange(12)
    expression.to_parquet(cohort.folder / "expression.parquet")
    features = np.load(cohort.folder / "store/features.npy")
    blocks = read_tsv(cohort.folder / "store/slides.tsv", dtype={"slide_id": str}).set_index("slide_id")
    for slide in samples.loc[outside, "slide_id"]:
        first = blocks.at[slide, "offset"]
        features[first : first + blocks.at[slide, "n_unique"]] = 50
    np.save(cohort.folder / "store/features.npy", features)
    cohort.relabel(
        OUTSIDE, label_diagnosis=2, days_survival=9e5, event_survival=1, age="a hundred", sex="something else"
    )


def without(cohort):
    """Return the cohort without its external cases."""
    other = replace(cohort, folder=cohort.folder.parent / "without")
    shutil.copytree(cohort.folder, other.folder)
    for name in ("samples.tsv", "splits.tsv"):
        table = read_tsv(other.folder / name, dtype=str)
        table[~table["case_id"].isin(OUTSIDE)].fillna("").to_csv(other.folder / name, sep="\t", index=False)
    return other


def run(cohort, method, task, output):
    if method not in BASELINES:
        return cohort.train(output, task=TASKS[task], method=method)
    clinical = ["age", "sex"] if "c" in BASELINES[method].modalities else []
    settings = FitBaselineSettings(task=TaskOutcome.of(TASKS[task]), clinical=clinical)
    fit_baseline(cohort.files, [cohort.folder / output], method=method, fold=0, seed=[0], settings=[settings])
    return cohort.folder / output


def made(folder):
    """Return the bytes of a model, what is told of it, and its predictions inside and outside."""
    told = [read_json(folder / name) for name in ("config.json", "metrics.json")]
    history = read_tsv(folder / "history.tsv").drop(columns="seconds", errors="ignore")
    table = read_parquet(folder / "predictions.parquet")
    inside = table["split"] != "external"
    model = (folder / "model.safetensors").read_bytes()
    return model, told, history, table[inside].reset_index(drop=True), table[~inside].reset_index(drop=True)


@pytest.mark.parametrize(
    ("method", "task"),
    [
        ("ksfusion", "diagnosis"),
        ("mcat", "survival"),
        ("clinical+genes", "diagnosis"),
        ("clinical", "survival"),
        ("cox-genes", "survival"),
        ("cohort", "diagnosis"),
        ("mean-patch", "diagnosis"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_whatever_an_external_cohort_holds_no_byte_of_the_others_changes(external, method, task):
    *before, outside = made(run(external, method, task, "before"))
    *alone, none = made(run(without(external), method, task, "run"))
    spoil(external)
    *after, spoilt = made(run(external, method, task, "after"))
    for first, second in [(before, after), (before, alone)]:
        assert first[0] == second[0] and first[1] == second[1]
        pd.testing.assert_frame_equal(first[2], second[2], check_exact=True)
        pd.testing.assert_frame_equal(first[3], second[3], check_exact=True)
    assert not len(none) and sorted(set(outside["case_id"])) == OUTSIDE
    predicted = [name for name in outside if name.startswith(("prob_", "risk"))]
    assert np.isfinite(outside[predicted]).all(axis=None)
    if method != "cohort":
        assert not np.allclose(outside[predicted], spoilt[predicted])


def test_a_cohort_that_training_lacks_has_what_the_baseline_says_of_no_cohort(external):
    """Its indicators are all 0: what is left is the intercept, the same for each of its cases."""
    *_, outside = made(run(external, "cohort", "diagnosis", "run"))
    probabilities = outside[[name for name in outside if name.startswith("prob_")]]
    assert (probabilities.nunique() == 1).all()


@pytest.mark.usefixtures("one_thread")
def test_a_search_of_settings_looks_at_no_external_case(external):
    (chosen, trials), _ = search(external, "before", trials=1), spoil(external)
    again, same = search(external, "after", trials=1)
    assert chosen == again
    pd.testing.assert_frame_equal(trials, same, check_exact=True)
