"""The stages of a study on patients of whom no label is known, some of whom lack a slide, a profile, or all."""

import numpy as np
import pandas as pd
import pytest

from ksfusion.cohort.ledger import labelled_cases
from ksfusion.cohort.samples import read_new_samples
from ksfusion.core.errors import UserError
from ksfusion.core.features_file import FeaturesWriter
from ksfusion.core.job_shell import job_prefix
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.profiles import join_cohorts
from ksfusion.predictions.config import CheckPatientsSettings
from ksfusion.slides.config import BuildStoreSettings
from ksfusion.stages.build_store import build_store
from ksfusion.stages.check_patients import check_patients

HEADER = "sample_id\tcase_id\tcohort\tslide\texpression_id\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "new.tsv"
    path.write_text(f"{HEADER}a\tQ\tA\ta.svs\t1\nb\tP\tA\tb.svs\t\n")
    return path


def test_what_models_do_not_read_is_left_empty(table):
    for read, slides, profiles in (("pg", ["a.svs", "b.svs"], ["1", ""]), ("p", ["a.svs", "b.svs"], ["", ""]),
                                   ("g", ["", ""], ["1", ""])):  # fmt: skip
        found = read_new_samples(str(table), {}, ["A"], read)
        assert [row["slide"] for row in found.samples] == slides
        assert [row["expression_id"] for row in found.samples] == profiles
        assert found.cases == [{"case_id": "P"}, {"case_id": "Q"}]
    # Its cohort has no expression, which of slides alone is no matter.
    assert len(read_new_samples(str(table), {}, [], "p").samples) == 2
    with pytest.raises(UserError, match=r"cohort 'A' has no source in cohort\.expression"):
        read_new_samples(str(table), {}, [], "g")


def test_a_column_that_models_do_not_read_may_be_missing(tmp_path):
    (tmp_path / "new.tsv").write_text("sample_id\tcase_id\tcohort\texpression_id\na\tP\tA\t1\n")
    read_new_samples(str(tmp_path / "new.tsv"), {}, ["A"], "g")
    with pytest.raises(UserError, match="column slide is missing"):
        read_new_samples(str(tmp_path / "new.tsv"), {}, ["A"], "p")


def test_the_checked_table(table, tmp_path):
    settings = CheckPatientsSettings(samples=str(table), expression_cohorts=["A"], modalities="pg")
    check_patients(tmp_path / "s.parquet", tmp_path / "c.parquet", settings=settings)
    samples = read_parquet(tmp_path / "s.parquet").set_index("sample_id")
    assert samples["slide_id"].to_dict() == {"a": "a", "b": "b"}
    assert samples["pairing"].to_dict() == {"a": "case", "b": ""} and samples["mpp"].isna().all()
    assert read_parquet(tmp_path / "c.parquet")["case_id"].tolist() == ["P", "Q"]


def test_where_no_task_asks_for_a_label_no_case_lacks_one():
    cases = pd.DataFrame({"case_id": ["P", "Q"], "label_mgmt": [1, np.nan]})
    assert labelled_cases(cases, {}) == {"P", "Q"}
    assert labelled_cases(cases, {"mgmt": "classification"}) == {"P"}


def test_new_cohorts_keep_their_own_genes(tmp_path):
    (tmp_path / "a.tsv").write_text("symbol\tr1\nTP53\t1\nEGFR\t2\n")
    (tmp_path / "b.tsv").write_text("symbol\tr2\nTP53\t3\nOLIG2\t4\n")
    sources = [
        ExpressionSource(cohort=name, format="matrix", unit="log", path=str(tmp_path / f"{name}.tsv")) for name in "ab"
    ]
    found = join_cohorts(sources, external=["a", "b"]).profiles
    assert list(found.columns) == ["EGFR", "OLIG2", "TP53"]
    assert found.loc[("a", "r1")].tolist() == pytest.approx([2, np.nan, 1], nan_ok=True)
    assert found.loc[("b", "r2")].tolist() == pytest.approx([np.nan, 4, 3], nan_ok=True)
    # Of models that read slides alone there is none.
    assert join_cohorts([]).profiles.empty


def test_a_store_of_nothing_is_made_for_patients_alone(tmp_path):
    with FeaturesWriter(tmp_path / "0.h5", provenance("ksfusion.stages.extract_features", {})) as file:
        file.write("a", {"status": "failed", "reason": "no_tissue", "mpp": 0.5})
    write_tsv(pd.DataFrame({"slide_id": ["a"], "status": ["failed"], "reason": ["no_tissue"]}), tmp_path / "slides.tsv")
    write_tsv(pd.DataFrame({"sample_id": ["s"], "status": ["excluded"], "reason": ["x"]}), tmp_path / "samples.tsv")
    of = [tmp_path / "0.h5"], tmp_path / "slides.tsv", tmp_path / "samples.tsv", tmp_path / "store"
    with pytest.raises(UserError, match="no sample has a readable slide"):
        build_store(*of, settings=BuildStoreSettings(max_failed_fraction=1))
    build_store(*of, settings=BuildStoreSettings(max_failed_fraction=1, may_be_empty=True))
    assert read_tsv(tmp_path / "store/slides.tsv").empty


def test_the_settings_of_a_studys_store_are_those_of_before():
    assert BuildStoreSettings().record() == {"max_failed_fraction": 0.05}


def test_the_prefix_of_a_job_is_what_it_was():
    prefix = job_prefix("/a b/src", in_checkout=True, conda=False, variables="TENSORBOARD='';")
    assert prefix.startswith("export PYTHONPATH='/a b/src'; TENSORBOARD=''; ksfusion() {{ ")
    assert '-m ksfusion "$@" || {{ code=$?; case $code in 137)' in prefix and prefix.endswith("return $code; }}; }}; ")
    installed = job_prefix("/site", in_checkout=False, conda=True)
    assert "PYTHONPATH" not in installed and "python -c" in installed and "sys.path.append" in installed
