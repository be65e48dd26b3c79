"""The stages of a prediction, on the files of a small study: its own cases, and what can be wrong with samples."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from ksfusion.bundles import read_bundle
from ksfusion.bundles.contents import read_contents
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.storage import read_json, read_provenance, read_tsv, write_tsv
from ksfusion.predictions.config import PredictCasesSettings
from ksfusion.predictions.files import read_new
from ksfusion.predictions.flags import flags_of_samples
from ksfusion.predictions.page import PageFiles, render_case
from ksfusion.predictions.page_scores import score_rows
from ksfusion.predictions.samples import fold_data, judged, sample_statistics
from ksfusion.results.config import ShownTask
from ksfusion.stages.predict_cases import predict_cases
from ksfusion.terms.modalities import GENES_ONLY, MODALITIES, PAIRED, SLIDES_ONLY

METRICS = pd.DataFrame(
    [
        ("auc", "case", "all", "all", "71.2345", "60", "80", "30", "paired", ""),
        ("auc", "sample", "all", "all", "70", "60", "80", "40", "paired", ""),
        ("auc", "case", "A", "all", "75", "60", "80", "20", "paired", ""),
        ("auc", "case", "all", "0", "74", "60", "80", "30", "paired", ""),
        ("auc", "case", "all", "all", "50", "40", "60", "30", "paired", "external"),
        ("auc", "sample", "all", "all", "55", "35", "75", "12", "slides only", ""),
        ("auc", "sample", "all", "all", "52", "35", "75", "12", "genes only", ""),
    ],
    columns=["metric", "level", "cohort", "fold", "mean", "ci_low", "ci_high", "n", "modalities", "split"],
)
SETTINGS = PredictCasesSettings(bundle="0")


@pytest.fixture(scope="module")
def said(files, results, tmp_path_factory):
    """Return what is said of all cases of the study: the table, each model's, and all that is told of each."""
    folder = tmp_path_factory.mktemp("said")
    outputs = {"output": "p.tsv", "members_output": "m.parquet", "answers_output": "a.json"}
    predict_cases(
        files,
        **{name: folder / file for name, file in outputs.items()},
        settings=SETTINGS,
        tiles=[results / "tiles/0.parquet"],
        stain=[results / "stain/0.parquet"],
    )
    table = read_tsv(folder / "p.tsv", dtype=str).fillna("").set_index("case_id")
    return table, read_parquet(folder / "m.parquet"), read_json(folder / "a.json")["cases"]


def test_each_model_says_what_it_said_in_the_study_to_the_bit(said, results):
    """The samples and their batches are those of training."""
    _, members, _ = said
    for seed in range(2):
        wanted = read_parquet(results / f"models/diagnosis/ksfusion/fold0/seed{seed}/predictions.parquet")
        found = members[members["seed"] == seed].reset_index(drop=True)
        columns = [name for name in wanted if name.startswith("prob_")]
        assert list(found["sample_id"]) == list(wanted["sample_id"])
        assert np.array_equal(found[columns].to_numpy(), wanted[columns].to_numpy())


def test_who_trained_the_models_is_told(said, results):
    table, _, cases = said
    splits = read_tsv(results / "cohort/splits.tsv", dtype=str).set_index("case_id")["split"]
    for case_id, row in table[table["status"] == "ok"].iterrows():
        taught = splits[case_id] != "test"
        assert row["trained_on"] == ("yes" if taught else "no")
        assert ("trained_on" if taught else "seen_in_study") in row["flags"].split(";")
    (told,) = {flag["detail"] for case in cases for flag in case["flags"] if flag["code"] == "seen_in_study"}
    assert "it taught them nothing" in told


def test_distances_stand_beside_the_answer(said):
    _, _, cases = said
    kinds = {entry["kind"] for case in cases for entry in case["distances"]}
    assert kinds == {"features", "expression", "stain"}
    assert all(entry["limit"] > 0 and entry["farther"] == pytest.approx(0.025) for case in cases
               for entry in case["distances"])  # fmt: skip


@pytest.fixture
def table(files):
    """Return the ledgers of the study's samples and slides, and the profiles, to be damaged."""
    samples = read_tsv(files.samples, dtype=str).head(6)
    slides = read_tsv(files.slides, dtype=str).set_index("slide_id")
    profiles = read_parquet(files.profiles).set_index(["cohort", "expression_id"])
    return samples, slides, profiles


def verdicts(bundled, table, **changes):
    bundle = read_bundle(bundled)
    samples, slides, profiles = table
    genes = [fold.genes for fold in bundle.folds]
    contents = bundle.contents.model_copy(update=changes)
    return judged(samples, slides, profiles, genes, contents, max_missing=0.1).set_index("sample_id")


def test_why_a_sample_cannot_be_used(bundled, table):
    samples, slides, profiles = table
    a, b, c, d, *_ = samples.index
    slides.loc[samples.loc[a, "slide_id"], ["status", "reason"]] = ["failed", "no_tissue"]
    samples.loc[b, "slide_id"] = None
    samples.loc[c, "expression_id"] = None
    samples.loc[d, "expression_id"] = "another"
    found = verdicts(bundled, (samples, slides, profiles))
    reasons = found.loc[samples["sample_id"], "reason"].tolist()
    assert reasons == ["no_tissue", "missing_file", "missing_profile", "missing_profile", "", ""]
    assert all("training.modality_dropout" in text for text in found["detail"] if text)
    partial = verdicts(bundled, (samples, slides, profiles), partial=True)
    assert set(partial["reason"]) == {""}
    wanted = [GENES_ONLY, GENES_ONLY, SLIDES_ONLY, SLIDES_ONLY, PAIRED, PAIRED]
    assert partial.loc[samples["sample_id"], MODALITIES].tolist() == wanted


def test_a_cohort_without_too_many_of_the_genes_has_no_profile(bundled, table):
    samples, slides, profiles = table
    genes = read_bundle(bundled).folds[0].genes.symbols
    few = max(1, int(0.1 * len(genes)))
    assert set(verdicts(bundled, (samples, slides, profiles.drop(columns=genes[:few])))["reason"]) == {""}
    found = verdicts(bundled, (samples, slides, profiles.drop(columns=genes[: few + 1])))
    assert set(found["reason"]) == {"missing_profile"}
    assert f"lacks {few + 1} of {len(genes)} genes" in found["detail"].iloc[0]


def test_a_gene_that_is_not_there_counts_as_the_mean_of_training_and_is_told(files, bundled):
    bundle = read_bundle(bundled)
    new = read_new(files, bundle)
    gene = bundle.folds[0].genes.symbols[0]
    slides = new.slides.assign(pen=0.05)
    lacking = dataclasses.replace(new, slides=slides, profiles=new.profiles.drop(columns=gene))
    data = fold_data(lacking, bundle.folds[0], bundle.contents)
    niche = next(niche for niche, symbols in data.niches.items() if gene in symbols)
    values = data.genes[niche][:, data.niches[niche].index(gene)]
    scaling = bundle.folds[0].genes.scaling
    mean = (scaling.fill.loc["all", gene] - scaling.mean.loc["all", gene]) / scaling.sd.loc["all", gene]
    assert values.numpy() == pytest.approx(np.full(len(values), mean), abs=1e-6)
    statistics = {0: sample_statistics(lacking, data)}
    splits = {case_id: {} for case_id in new.table["case_id"]}
    flags = flags_of_samples(lacking, statistics, splits, bundle.folds)
    for own in flags.values():
        details = {flag.code: flag.detail for flag in own}
        assert gene in details["genes_missing"]
        assert details["pen"].endswith("5% of the tiles") and "fold" not in details and "blur" not in details


def test_a_page_is_one_file_that_escapes_what_it_is_given(said, bundled, files, tmp_path):
    _, _, cases = said
    contents, _ = read_contents(bundled)
    named = contents.task.model_copy(update={"title": "<script>alert(1)</script>"})
    slides = read_tsv(files.slides, dtype={"slide_id": str}).set_index("slide_id")
    contents = contents.model_copy(update={"task": named})
    case = json.loads(json.dumps(cases[0]))
    page = render_case(case, None, slides, contents, PageFiles((tmp_path, tmp_path), {}, METRICS), {"code": "0"})
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page) and " style=" not in page
    best = max(case["answer"]["values"], key=lambda name: case["answer"]["values"][name]["mean"])
    assert f"probability {case['answer']['values'][best]['mean']:.2f}" in page


def test_a_profile_unlike_those_of_training_is_scored_and_flagged(files, said, tmp_path):
    table, _, _ = said
    ledger = read_tsv(files.samples, dtype=str).query("status == 'ok'").drop_duplicates("case_id")
    sample = ledger[~ledger["case_id"].map(table["flags"]).str.contains("expression_far")].iloc[0]
    profiles = read_parquet(files.profiles)
    row = profiles["expression_id"] == sample["expression_id"]
    genes = [name for name in profiles if name not in ("cohort", "expression_id")]
    profiles.loc[row, genes] = profiles.loc[row, genes] + 20
    write_parquet(profiles, tmp_path / "profiles.parquet", read_provenance(files.profiles))
    odd = dataclasses.replace(files, profiles=tmp_path / "profiles.parquet")
    outputs = {"output": "p.tsv", "members_output": "m.parquet", "answers_output": "a.json"}
    predict_cases(odd, **{name: tmp_path / file for name, file in outputs.items()}, settings=SETTINGS)
    rows = read_tsv(tmp_path / "p.tsv", dtype=str).set_index("case_id")
    assert rows.loc[sample["case_id"], "status"] == "ok"
    assert "expression_far" in rows.loc[sample["case_id"], "flags"].split(";")
    (case,) = [case for case in read_json(tmp_path / "a.json")["cases"] if case["case_id"] == sample["case_id"]]
    (said_of,) = {flag["detail"] for flag in case["flags"] if flag["code"] == "expression_far"}
    assert re.fullmatch(r"its scaled genes: distance [\d.e+]+ from training, of which [\d.e+]+ is the limit", said_of)


def test_how_good_the_models_are_with_what_the_patient_has(said):
    _, _, cases = said
    task = ShownTask(name="t", kind="classification", classes=["a", "b"])
    # The mean over models on all test cases; of single cohorts, folds and samples the bundle has it.
    (row,) = score_rows(METRICS, cases[0], task)
    assert row == {
        "metric": "AUC",
        "of": "with slide and profile",
        "value": "71.2",
        "interval": "60.0 to 80.0",
        "n": "30",
    }
    alone = {**cases[0], "flags": [{"code": "without_profile", "sample_id": "s", "detail": ""}]}
    assert [(row["of"], row["value"]) for row in score_rows(METRICS, alone, task)][1:] == [("slides only", "55.0")]
    assert score_rows(METRICS.iloc[:0], cases[0], task) == []


def test_nobody_with_an_answer_is_no_error(files, tmp_path):
    ledger = read_tsv(files.slides, dtype=str).assign(status="failed", reason="no_tissue")
    write_tsv(ledger, tmp_path / "slides.tsv")
    none = dataclasses.replace(files, slides=tmp_path / "slides.tsv")
    outputs = {"output": "p.tsv", "members_output": "m.parquet", "answers_output": "a.json"}
    predict_cases(none, **{name: tmp_path / file for name, file in outputs.items()}, settings=SETTINGS)
    table = pd.read_csv(tmp_path / "p.tsv", sep="\t")
    assert set(table["status"]) == {"failed"} and set(table["reason"]) == {"no_tissue"}
    assert read_parquet(tmp_path / "m.parquet").empty
