"""Patients with a slide or a profile alone, by models that have stand-ins for the other."""

import dataclasses

import numpy as np
import pytest
from bundled_study import make_bundle, write_study

from ksfusion.bundles import read_bundle
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_json, read_tsv, write_tsv
from ksfusion.predictions.config import PredictCasesSettings
from ksfusion.predictions.explainer import Explainer
from ksfusion.predictions.files import read_new
from ksfusion.stages.predict_cases import predict_cases


@pytest.fixture(scope="module")
def partial(drawn, tmp_path_factory):
    folder = tmp_path_factory.mktemp("partial")
    results = write_study(drawn, folder / "results", modality_dropout=0.5)
    return results, make_bundle(results, folder / "bundle")


def test_a_slide_or_a_profile_alone_is_enough(partial, files, tmp_path):
    results, bundle = partial
    samples = read_tsv(results / "samples.tsv", dtype=str).query("status == 'ok'").drop_duplicates("case_id")
    samples = samples.head(6).fillna("")
    slides_only, genes_only = samples["case_id"].iloc[[0, 2]], samples["case_id"].iloc[[1, 3]]
    samples.loc[samples["case_id"].isin(slides_only), "expression_id"] = ""
    samples.loc[samples["case_id"].isin(genes_only), "slide_id"] = ""
    write_tsv(samples, tmp_path / "samples.tsv")
    new = dataclasses.replace(files, bundle=bundle, samples=tmp_path / "samples.tsv")
    outputs = {"output": "p.tsv", "members_output": "m.parquet", "answers_output": "a.json"}
    settings = PredictCasesSettings(bundle="0")
    predict_cases(new, **{name: tmp_path / file for name, file in outputs.items()}, settings=settings)
    table = read_tsv(tmp_path / "p.tsv", dtype={"case_id": str}).set_index("case_id")
    assert set(table["status"]) == {"ok"}
    for cases, flag, count in ((slides_only, "without_profile", "profiles"), (genes_only, "without_slide", "slides")):
        assert all(flag in table.loc[case, "flags"].split(";") and table.loc[case, count] == 0 for case in cases)
    wanted = read_parquet(results / "models/diagnosis/ksfusion/fold0/seed0/predictions.parquet").set_index("sample_id")
    found = read_parquet(tmp_path / "m.parquet").set_index("sample_id")
    columns = [name for name in wanted if name.startswith("prob_")]
    paired = samples.loc[~samples["case_id"].isin([*slides_only, *genes_only]), "sample_id"]
    apart = (found[columns] - wanted.loc[found.index, columns]).abs().max(axis=1)
    # Who has both is told as in the study; who lacks one is told something else.
    assert apart[paired].max() < 1e-6
    assert np.isfinite(found[columns].to_numpy()).all() and apart.drop(paired).min() > 1e-6
    answers = {case["case_id"]: case for case in read_json(tmp_path / "a.json")["cases"]}
    kinds = {case_id: {entry["kind"] for entry in case["distances"]} for case_id, case in answers.items()}
    assert all(kinds[case] == {"expression"} for case in genes_only)
    assert all("expression" not in kinds[case] for case in slides_only)
    # What explains a pair of both explains none of these.
    explainer = Explainer(read_bundle(bundle), read_new(new, read_bundle(bundle)))
    assert all(explainer.genes(answers[case]) == [] for case in [*slides_only, *genes_only])
    assert len(explainer.genes(answers[samples["case_id"].iloc[4]])) > 0
