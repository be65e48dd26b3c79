"""Of several genes with one symbol the one that counted in training counts for a new patient too."""

import shutil

import numpy as np
import pandas as pd
from bundled_study import make_bundle

from ksfusion.bundles import read_bundle
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.genes.repeated import chosen_copies
from ksfusion.predictions.config import PredictCasesSettings
from ksfusion.predictions.files import NewFiles
from ksfusion.stages.predict_cases import predict_cases


def test_the_copy_with_the_higher_mean_over_fitted_profiles_counts():
    index = pd.MultiIndex.from_tuples(
        [("A", "1"), ("A", "2"), ("B", "1"), ("C", "1")], names=["cohort", "expression_id"]
    )
    table = pd.DataFrame(
        [[1, 5, 2, 7], [9, 5, 2, 7], [3, 5, 2, 1], [0, 0, 9, 9]], index, ["X", "Y", "X::2", "Y::2"], np.float32
    )
    # C has no fitted profile, and the second of A is none: of A X counts 1 and 2, Y 5 and 7; of B X 3 and 2, Y 5 and 1.
    fitted = pd.DataFrame({"cohort": ["A", "B"], "expression_id": ["1", "1"]})
    found = chosen_copies(table, fitted)
    assert found.to_numpy().tolist() == [["A", "X", "X::2"], ["A", "Y", "Y::2"]]


def test_a_bundle_keeps_which_copy_counted(results, files, tmp_path):
    study = tmp_path / "results"
    shutil.copytree(results, study)
    profiles = read_parquet(study / "genes/profiles.parquet")
    gene = read_tsv(study / "genes/fold0/selected.tsv")["symbol"].iloc[0]
    # What was read in training stands second in the file; the first is less expressed.
    profiles = profiles.assign(**{f"{gene}::2": profiles[gene], gene: profiles[gene] - 1})
    write_parquet(profiles, study / "genes/profiles.parquet", read_provenance(results / "genes/profiles.parquet"))
    bundle = make_bundle(study, tmp_path / "bundle")
    (fold,) = read_bundle(bundle).folds
    assert fold.genes.copies == {"A": {gene: f"{gene}::2"}}

    new = NewFiles(bundle, files.samples, files.slides, study / "genes/profiles.parquet", files.store)
    outputs = {"output": "p.tsv", "members_output": "m.parquet", "answers_output": "a.json"}
    settings = PredictCasesSettings(bundle="0")
    predict_cases(new, **{name: tmp_path / file for name, file in outputs.items()}, settings=settings)
    members = read_parquet(tmp_path / "m.parquet")
    wanted = read_parquet(study / "models/diagnosis/ksfusion/fold0/seed0/predictions.parquet")
    columns = [name for name in wanted if name.startswith("prob_")]
    assert np.array_equal(members.loc[members["seed"] == 0, columns].to_numpy(), wanted[columns].to_numpy())
