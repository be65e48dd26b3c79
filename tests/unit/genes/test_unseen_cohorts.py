"""Cohorts that genes are not chosen on: scaled by hand, without a say in the others, and what they lack is told."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.genes.config import ExpressionSource, Genes, too_few_of_their_own
from ksfusion.genes.expression.profiles import join_cohorts
from ksfusion.genes.scaling import Scaling, fit_scaling
from ksfusion.genes.unseen import scaling_for_unseen
from ksfusion.stages.check_expression import check_expression
from ksfusion.stages.select_genes import select_genes

SYMBOLS = ["CD3E", "CXCL10", "EGFR", "OLIG2", "RPL3"]
N_INSIDE, N_OUTSIDE = 12, 21


@pytest.fixture
def fitted():
    """Two training cohorts of a gene with means 2 and 6 and sd 1, and of one that no profile has."""
    profiles = pd.DataFrame({"A": [1.0, 3.0, 5.0, 7.0], "B": [0.0, 4.0, 0.0, 4.0]})
    return fit_scaling(profiles, pd.Series(["x", "x", "y", "y"]), harmonise="zscore_by_cohort")


def test_pooled_takes_the_mean_and_sd_of_all_training_profiles(fitted):
    # Of 1, 3, 5, 7 the mean is 4 and the variance 5; of 0, 4, 0, 4 they are 2 and 4.
    new = pd.DataFrame({"B": [2.0, 6.0], "A": [4.0, 4.0 + 2 * 5**0.5]})
    serving, missing = scaling_for_unseen(fitted, {"z": new}, {"z": 2}, unseen="pooled", max_missing=0)
    assert missing == {"z": []}
    np.testing.assert_allclose(serving.apply(new, pd.Series(["z", "z"])), [[0, 0], [2, 2]], atol=1e-6)


def test_own_takes_those_of_the_cohort(fitted):
    # Mean 30 and sd 10; a cohort with a training scaling of its own keeps that: (3 - 2) / 1.
    new = pd.DataFrame({"A": [20.0, 40.0], "B": [7.0, 7.0]})
    serving, _ = scaling_for_unseen(fitted, {"z": new}, {"z": 20}, unseen="own", max_missing=0)
    np.testing.assert_allclose(serving.apply(new, pd.Series(["z", "z"])), [[-1, 0], [1, 0]], atol=1e-6)
    assert serving.apply(pd.DataFrame({"A": [3.0], "B": [2.0]}), pd.Series(["x"])).iloc[0].tolist() == [1, 0]
    assert "z" not in fitted.mean.index
    with pytest.raises(UserError, match=r"own needs 20 cases of cohort z .* and it has 19; use pooled"):
        scaling_for_unseen(fitted, {"z": new}, {"z": 19}, unseen="own", max_missing=0)


@pytest.mark.parametrize("unseen", ["pooled", "own"])
def test_genes_that_a_cohort_lacks_count_as_the_training_mean_and_are_refused_beyond_a_share(fitted, unseen):
    new = pd.DataFrame({"A": [20.0, 40.0]})
    serving, missing = scaling_for_unseen(fitted, {"z": new}, {"z": 20}, unseen=unseen, max_missing=0.5)
    assert missing == {"z": ["B"]}
    assert serving.apply(new, pd.Series(["z", "z"]))["B"].tolist() == [0, 0]
    with pytest.raises(UserError, match=r"genes.max_missing: cohort z lacks 1 of the 2 genes of the model \(B\)"):
        scaling_for_unseen(fitted, {"z": new}, {"z": 20}, unseen=unseen, max_missing=0.4)


def test_values_as_they_are_count_missing_genes_as_the_training_mean_too():
    profiles = pd.DataFrame({"A": [1.0, 3.0], "B": [0.0, 5.0]})
    scaling = fit_scaling(profiles, pd.Series(["x", "x"]), harmonise="none")
    assert scaling.apply(pd.DataFrame({"A": [7.0]}), pd.Series(["z"])).iloc[0].tolist() == [7.0, 2.5]
    with pytest.raises(ValidationError, match="unseen: own scales, and harmonise: none does not"):
        Genes(harmonise="none", unseen="own")


class Outside:
    """Twelve cases of two cohorts that are divided, 21 of a cohort that is not, and the genes chosen on them."""

    def __init__(self, folder):
        random = np.random.default_rng(4)
        self.folder, n = folder, N_INSIDE + N_OUTSIDE
        self.cohort = np.array(["x"] * 6 + ["y"] * 6 + ["z"] * N_OUTSIDE)
        self.profiles = pd.DataFrame(random.normal(5, [1, 2, 3, 4, 9], (n, 5)).astype(np.float32), columns=SYMBOLS)
        self.sides = np.array(["train", "train", "train", "train", "val", "test"] * 2 + ["external"] * N_OUTSIDE)
        self.outside = self.cohort == "z"

    def run(self, **settings):
        """Choose the genes; return what is chosen, the expression, and the bytes of all that external cases are not."""
        ids = [f"p{number:02d}" for number in range(len(self.cohort))]
        keys = pd.DataFrame({"cohort": self.cohort, "expression_id": ids})
        sources = {"sources": [{"cohort": name, "unit": "log"} for name in "xyz"]}
        made_by = provenance("ksfusion.stages.read_expression", sources)
        write_parquet(pd.concat([keys, self.profiles], axis=1), self.folder / "profiles.parquet", made_by)
        samples = keys.assign(sample_id=ids, case_id=ids, slide_id=ids, status="ok", reason="")
        write_tsv(samples, self.folder / "samples.tsv", {})
        splits = pd.DataFrame({"fold": 0, "case_id": ids, "split": self.sides})
        write_tsv(splits, self.folder / "splits.tsv", {})
        self.paths = [self.folder / name for name in ("profiles.parquet", "samples.tsv", "splits.tsv")]
        self.settings = Genes(**{"top_fraction": 0.8, **settings})
        select_genes(*self.paths, self.folder / "genes", fold=0, settings=self.settings)
        tables = [(self.folder / "genes" / f"{name}.tsv").read_bytes() for name in ("ranking", "selected", "scaling")]
        expression = read_parquet(self.folder / "genes/expression.parquet")
        return expression[~self.outside], expression[self.outside], tables

    def findings(self):
        check_expression(*self.paths, self.folder / "genes", self.folder / "found.tsv", fold=0, settings=self.settings)
        found = read_tsv(self.folder / "found.tsv", dtype=str)
        return found.set_index("check")["detail"].to_dict()


@pytest.mark.parametrize("unseen", ["pooled", "own"])
@pytest.mark.parametrize("fit_on", ["train", "all"])
def test_whatever_an_external_cohort_holds_changes_nothing_of_the_others(tmp_path, fit_on, unseen):
    study = Outside(tmp_path)
    inside, outside, tables = study.run(fit_on=fit_on, unseen=unseen)
    study.profiles.loc[study.outside] = study.profiles.loc[study.outside].to_numpy()[:, ::-1] * np.float32(-1000)
    changed_inside, changed_outside, changed_tables = study.run(fit_on=fit_on, unseen=unseen)
    assert tables == changed_tables
    pd.testing.assert_frame_equal(inside, changed_inside, check_exact=True)
    assert not np.allclose(outside, changed_outside)
    scaling = Scaling.read(tmp_path / "genes/scaling.tsv")
    assert set(scaling.mean.index) == {"all", "x", "y"}


def test_a_frozen_scaling_is_read_back_to_the_bit(tmp_path):
    study = Outside(tmp_path)
    inside, outside, _ = study.run(clip=1.5)
    scaling = Scaling.read(tmp_path / "genes/scaling.tsv")
    assert scaling.clip == 1.5
    again = scaling.apply(study.profiles, pd.Series(study.cohort))
    np.testing.assert_array_equal(again, pd.concat([inside, outside]))
    # Of the external cohort what is pooled is of the training profiles alone.
    train = study.profiles[study.sides == "train"].astype(np.float64)
    new = study.profiles.loc[study.outside, "EGFR"].astype(np.float64)
    expected = (new - train["EGFR"].mean()) / train["EGFR"].std(ddof=0)
    np.testing.assert_allclose(outside["EGFR"], expected.clip(-1.5, 1.5), rtol=1e-5)


def test_what_a_cohort_lacks_and_that_it_is_scaled_by_itself_stand_among_the_findings(tmp_path):
    study = Outside(tmp_path)
    study.profiles.loc[study.outside, "EGFR"] = np.nan
    with pytest.raises(UserError, match=r"cohort z lacks 1 of the \d genes of the model \(EGFR\), more than 10%"):
        study.run(top_fraction=1.0)
    _, outside, _ = study.run(top_fraction=1.0, max_missing=0.3, unseen="own")
    assert (outside["EGFR"] == 0).all()
    found = study.findings()
    assert found["genes_missing_outside"].startswith("1 of the 4 chosen genes are not in its expression")
    assert "EGFR" in found["genes_missing_outside"]
    assert "own 21 cases" in found["scaled_by_own_profiles"]
    study.run(top_fraction=1.0, max_missing=0.3)
    assert "scaled_by_own_profiles" not in study.findings()


def matrix(folder, cohort, table):
    path = folder / f"{cohort}.tsv"
    table.to_csv(path, sep="\t", index_label="gene")
    return ExpressionSource(cohort=cohort, format="matrix", unit="log", path=str(path))


def test_external_cohorts_have_no_say_in_which_genes_are_shared_nor_in_their_names(tmp_path):
    random = np.random.default_rng(0)
    genes = ["CD3E", "EGFR", "OLIG2", "RPL3", "TP53"]
    inside = [
        matrix(tmp_path, name, pd.DataFrame(random.normal(5, 1, (5, 3)), genes, [f"{name}{n}" for n in range(3)]))
        for name in "xy"
    ]
    outside = matrix(tmp_path, "a", pd.DataFrame(random.normal(5, 1, (3, 2)), ["CD3E", "TP53", "PTEN"], ["a0", "a1"]))
    alone = join_cohorts(inside).profiles
    joined = join_cohorts([*inside, outside], external=["a"]).profiles
    pd.testing.assert_frame_equal(joined.drop(index="a"), alone, check_exact=True)
    assert joined.loc["a"].notna().all().to_dict() == {name: name in ("CD3E", "TP53") for name in genes}
    assert join_cohorts([*inside, outside]).profiles.columns.tolist() == ["CD3E", "TP53"]
    none = matrix(tmp_path, "b", pd.DataFrame(random.normal(5, 1, (1, 2)), ["PTEN"], ["b0", "b1"]))
    with pytest.raises(UserError, match="external cohort b has none of the genes that x, y share"):
        join_cohorts([*inside, none], external=["b"])


def test_symbols_beside_ids_of_an_external_cohort_name_no_gene_of_the_others(tmp_path):
    # An id that no shipped set knows: its symbol is whatever a table says beside it.
    unknown = "ENSG00000999999"
    known = ["ENSG00000146648", "ENSG00000198851", "ENSG00000205927"]
    table = pd.DataFrame(np.arange(8.0).reshape(4, 2), [*known, unknown], ["x0", "x1"])
    x = matrix(tmp_path, "x", table)
    named = table.set_axis(["a0", "a1"], axis=1).reset_index(names="gene_id")
    named.insert(1, "gene_name", ["EGFR", "CD3E", "OLIG2", "MADEUP"])
    named.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    a = ExpressionSource(cohort="a", format="matrix", unit="log", path=str(tmp_path / "a.tsv"))
    assert unknown in join_cohorts([x, a], external=["a"]).profiles
    assert "MADEUP" in join_cohorts([x, a]).profiles


def config(**changes):
    sources = [
        {"cohort": "x", "format": "matrix", "unit": "tpm", "path": "x.tsv"},
        {"cohort": "z", "format": "matrix", "unit": "log", "path": "z.tsv"},
    ]
    values = {"cohort": {"samples": "s.tsv", "cases": "c.tsv", "expression": sources}, "splits": {"external": ["z"]}}
    return Config.model_validate({**values, **changes})


def test_another_unit_is_refused_where_it_matters():
    with pytest.raises(ValidationError, match=r"unseen: pooled .*\(unit tpm\), and external cohort z is given in log"):
        config()
    assert config(genes={"unseen": "own"}).caveats()[-1].startswith("Expression of the external cohorts (z) was scaled")
    with pytest.raises(ValidationError, match="ComBat adjusts all profiles at once"):
        config(genes={"harmonise": "combat", "fit_on": "all"})


def test_rankings_ask_for_the_unit_of_the_other_cohorts_alone():
    sources = [
        {"cohort": "x", "format": "matrix", "unit": "counts", "path": "x.tsv"},
        {"cohort": "z", "format": "matrix", "unit": "zscore", "path": "z.tsv"},
    ]
    cohort = {"samples": "s.tsv", "cases": "c.tsv", "expression": sources}
    for rank in ("seurat", "seurat_v3"):
        assert config(cohort=cohort, genes={"rank": rank, "unseen": "own"}).genes.rank == rank
        with pytest.raises(ValidationError, match=r"genes.rank"):
            config(cohort=cohort, genes={"rank": rank}, splits={})


def test_a_cohort_too_small_to_be_scaled_by_itself_is_told_before_any_job():
    rows = [{"cohort": "z", "case_id": f"c{number // 2}", "expression_id": "p"} for number in range(38)]
    rows += [{"cohort": "z", "case_id": "slide alone", "expression_id": ""}]
    (line,) = too_few_of_their_own(Genes(unseen="own"), ["z"], rows, "s.tsv")
    assert line.startswith("s.tsv: genes.unseen: own needs 20 cases of cohort z")
    assert "it has 19 with a profile" in line
    more = [*rows, {"cohort": "z", "case_id": "c19", "expression_id": "p"}]
    assert too_few_of_their_own(Genes(unseen="own"), ["z"], more, "s.tsv") == []
    assert too_few_of_their_own(Genes(), ["z"], rows, "s.tsv") == []
