"""Choice and scaling of genes: by hand on small tables, against scikit-learn, and never fitted on test cases."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from pydantic import ValidationError
from sklearn.preprocessing import StandardScaler

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.genes import select_genes
from ksfusion.genes.config import ExpressionSource, Genes, ReadExpressionSettings
from ksfusion.genes.scaling import combat, fit_scaling
from ksfusion.genes.selection import samples_with_profiles
from ksfusion.stages.read_expression import read_expression
from ksfusion.stages.select_genes import select_genes as select_genes_of_fold


def test_variance_and_rank_by_hand():
    # Sample variances: A 2, B 8, C 0.
    cohort = pd.DataFrame({"C": [1.0, 1.0], "B": [0.0, 4.0], "A": [1.0, 3.0]}, dtype=np.float32)
    ranking = select_genes({"x": cohort}, top_fraction=0.5)
    assert ranking["symbol"].tolist() == ["B", "A", "C"]
    assert ranking["variance"].tolist() == [8.0, 2.0, 0.0]
    assert ranking["rank"].tolist() == [1, 2, 3]
    # 0.5 x 3 = 1.5 rounds to the even 2.
    assert ranking["chosen"].tolist() == [True, True, False]


@pytest.mark.parametrize(("fraction", "chosen"), [(0.3, 2), (0.5, 2), (0.7, 4), (0.01, 1), (1.0, 5)])
def test_number_of_chosen_genes_rounds_half_to_even(fraction, chosen):
    # 0.3 x 5 = 1.5 -> 2; 0.5 x 5 = 2.5 -> 2; 0.7 x 5 = 3.5 -> 4; never less than one.
    table = pd.DataFrame(np.arange(10.0).reshape(2, 5), columns=list("ABCDE"))
    assert select_genes({"x": table}, top_fraction=fraction)["chosen"].sum() == chosen


def test_equal_genes_go_by_symbol():
    table = pd.DataFrame({"B": [0.0, 1.0], "C": [1.0, 0.0], "A": [5.0, 6.0]})
    assert select_genes({"x": table}, top_fraction=0.34)["symbol"].tolist() == ["A", "B", "C"]


def test_cohorts_have_one_say_each_whatever_their_scale():
    # Ranks: x says A, B, C; y says C, A, B on a scale a thousand times larger. Mean ranks A 1.5, B 2.5, C 2.
    x = pd.DataFrame({"A": [0.0, 3.0], "B": [0.0, 2.0], "C": [0.0, 1.0]})
    y = pd.DataFrame({"C": [0.0, 3e3], "A": [0.0, 2e3], "B": [0.0, 1e3]})
    within = select_genes({"x": x, "y": y}, top_fraction=0.34, rank="within_cohort")
    assert within["symbol"].tolist() == ["A", "C", "B"]
    # Mean of the cohorts' variances of A: (4.5 + 2e6) / 2.
    assert within["variance"].iloc[0] == pytest.approx(1000002.25)
    # Pooled, y decides; variance of C over 0, 1, 0, 3000 from the definition.
    pooled = select_genes({"x": x, "y": y}, top_fraction=0.34, rank="pooled")
    assert pooled["symbol"].tolist() == ["C", "A", "B"]
    assert pooled["variance"].iloc[0] == pytest.approx(np.var([0, 1, 0, 3000], ddof=1))


def test_only_shared_genes_are_ranked_and_missing_values_are_skipped():
    x = pd.DataFrame({"A": [0.0, 2.0, np.nan], "B": [np.nan, np.nan, 1.0], "X": [0.0, 9.0, 0.0]})
    ranking = select_genes({"x": x, "y": pd.DataFrame({"A": [0.0, 2.0], "B": [1.0, 1.0]})})
    assert ranking["symbol"].tolist() == ["A", "B"]
    assert ranking["variance"].tolist() == [2.0, 0.0]


def test_a_cohort_of_one_profile_has_no_say():
    x = pd.DataFrame({"A": [0.0, 1.0], "B": [0.0, 3.0]})
    ranking = select_genes({"x": x, "y": pd.DataFrame({"A": [7.0], "B": [7.0]})})
    assert ranking["variance"].tolist() == [4.5, 0.5]


@pytest.mark.parametrize("flavour", ["seurat", "cell_ranger"])
def test_scanpys_flavours_choose_what_scanpy_chooses(flavour):
    # Counts of 600 genes in two cohorts of 30; scanpy is given the logarithms it documents, natural ones.
    random = np.random.default_rng(5)
    means = random.lognormal(3, 1.5, 600)
    counts = {
        cohort: random.negative_binomial(2, 2 / (2 + means * random.uniform(0.5, 2, 600)), (30, 600)) for cohort in "xy"
    }
    symbols = [f"G{number:03}" for number in range(600)]
    data = anndata.AnnData(
        np.log1p(np.concatenate(list(counts.values())).astype(np.float64)),
        obs=pd.DataFrame({"cohort": pd.Categorical(["x"] * 30 + ["y"] * 30)}, index=[f"p{i}" for i in range(60)]),
        var=pd.DataFrame(index=symbols),
    )
    scanpy.pp.highly_variable_genes(data, flavor=flavour, n_top_genes=180, batch_key="cohort")
    tables = {
        cohort: pd.DataFrame(np.log2(part + 1).astype(np.float32), columns=symbols) for cohort, part in counts.items()
    }
    ranking = select_genes(tables, top_fraction=0.3, rank=flavour)
    expected = set(data.var_names[data.var["highly_variable"]])
    assert len(expected) == 180
    assert set(ranking.loc[ranking["chosen"], "symbol"]) == expected
    # The variance is that of the log values, as for the other rankings.
    plain = select_genes(tables, rank="within_cohort").set_index("symbol")["variance"]
    assert ranking.set_index("symbol")["variance"].to_dict() == plain.to_dict()
    assert set(plain.index[:180]) != expected


def test_scanpys_flavours_refuse_what_they_cannot_rank():
    table = pd.DataFrame({"A": [0.0, 1.0, 2.0], "B": [1.0, np.nan, 3.0], "C": [-1.0, 1.0, 1.0]})
    with pytest.raises(UserError, match=r"seurat wants complete profiles .* gene B has missing or negative values"):
        select_genes({"x": table}, rank="seurat")
    with pytest.raises(UserError, match="gene C has missing or negative values; use within_cohort"):
        select_genes({"x": table[["A", "C"]]}, rank="cell_ranger")
    same = pd.DataFrame({f"G{number}": [0.0, 1.0, 2.0] for number in range(50)})
    with pytest.raises(UserError, match=r"cell_ranger failed on these profiles \(Bin edges must be unique\)"):
        select_genes({"x": same}, rank="cell_ranger")
    # A gene that does not vary has no dispersion in seurat.
    varied = np.random.default_rng(0).lognormal(1, 1, (10, 40))
    table = pd.DataFrame(np.hstack([varied, np.ones((10, 60))]), columns=[f"G{number}" for number in range(100)])
    with pytest.raises(UserError, match=r"seurat can rank 40 of the 100 genes, and genes.top_fraction asks for 50"):
        select_genes({"x": table}, rank="seurat", top_fraction=0.5)


def test_select_genes_errors():
    table = pd.DataFrame({"A": [0.0, 1.0]})
    with pytest.raises(UserError, match="no gene is shared"):
        select_genes({"x": table, "y": pd.DataFrame({"B": [0.0, 1.0]})})
    with pytest.raises(UserError, match="no cohort has two"):
        select_genes({"x": table.head(1)})
    with pytest.raises(UserError, match="'mean' is unknown"):
        select_genes({"x": table}, rank="mean")
    with pytest.raises(UserError, match=r"genes.top_fraction: 0"):
        select_genes({"x": table}, top_fraction=0)


@pytest.fixture
def values():
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(5, 2, (12, 4)), columns=list("ABCD"))


def test_scaling_equals_scikit_learn(values):
    cohorts = pd.Series(["x"] * 5 + ["y"] * 7)
    scaled = fit_scaling(values, cohorts, harmonise="zscore_by_cohort").apply(values, cohorts)
    for rows in (slice(0, 5), slice(5, 12)):
        np.testing.assert_allclose(scaled[rows], StandardScaler().fit_transform(values[rows]), atol=1e-5)
    pooled = fit_scaling(values, cohorts, harmonise="zscore").apply(values, cohorts)
    np.testing.assert_allclose(pooled, StandardScaler().fit_transform(values), atol=1e-5)
    untouched = fit_scaling(values, cohorts, harmonise="none").apply(values, cohorts)
    np.testing.assert_allclose(untouched, values, rtol=1e-6)


def test_scaling_of_missing_values_constant_genes_and_unseen_cohorts(values):
    cohorts = pd.Series(["x"] * 11 + ["y"])
    values["B"] = 4.0
    values.loc[0, "A"] = np.nan
    scaling = fit_scaling(values, cohorts, harmonise="zscore_by_cohort")
    scaled = scaling.apply(values, cohorts)
    assert scaled.at[0, "A"] == 0.0
    assert (scaled["B"] == 0.0).all()
    # One profile has no spread: cohort y takes the mean and sd of all twelve.
    expected = (values.at[11, "C"] - values["C"].mean()) / values["C"].std(ddof=0)
    assert scaled.at[11, "C"] == pytest.approx(expected, rel=1e-5)
    filled = fit_scaling(values, cohorts, harmonise="none").apply(values, cohorts)
    assert filled.at[0, "A"] == pytest.approx(values["A"].mean(), rel=1e-6)
    assert scaling.table().columns.tolist() == ["cohort", "symbol", "mean", "sd", "fill"]


def test_scaled_values_are_cut_off():
    # Mean 3, standard deviation 2; the profiles to come lie at 0.5, 3.5 and -4 of these.
    training, labels = pd.DataFrame({"A": [1.0, 5.0, 1.0, 5.0]}), pd.Series(["x"] * 4)
    scaling = fit_scaling(training, labels, harmonise="zscore_by_cohort", clip=3.0)
    new = pd.DataFrame({"A": [4.0, 10.0, -5.0, np.nan]})
    assert scaling.apply(new, labels)["A"].tolist() == [0.5, 3.0, -3.0, 0.0]
    unlimited = fit_scaling(training, labels, harmonise="zscore_by_cohort")
    assert unlimited.apply(new, labels)["A"].tolist() == [0.5, 3.5, -4.0, 0.0]
    with pytest.raises(ValidationError, match="clip counts standard deviations"):
        Genes(harmonise="none", clip=3.0)


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ValidationError, match=r"harmonise\n.*'none' or 'combat'.*'quantile'"):
        Genes(harmonise="quantile")


@pytest.fixture
def shifted():
    """Two cohorts of 400 profiles that differ by a shift and a spread of each gene; and which profile is of which."""
    random = np.random.default_rng(3)
    truth = random.normal(8, 2, (800, 30))
    cohorts = pd.Series(["x"] * 400 + ["y"] * 400)
    truth[400:] = truth[400:] * random.uniform(0.5, 2, 30) + random.normal(3, 1, 30)
    return pd.DataFrame(truth, columns=[f"G{number}" for number in range(30)]), cohorts


def test_combat_takes_the_cohorts_differences_and_keeps_their_order(shifted):
    profiles, cohorts = shifted
    adjusted = combat(profiles, cohorts)
    before, after = (
        table.groupby(cohorts.to_numpy()).agg(["mean", "std"]).T.unstack() for table in (profiles, adjusted)
    )
    apart_before = (before["x"] - before["y"]).abs().mean()
    apart_after = (after["x"] - after["y"]).abs().mean()
    # Empirical Bayes shrinks towards the prior, so that a little of the difference stays.
    assert (apart_after < 0.15 * apart_before).all()
    for symbol in profiles:
        for cohort in "xy":
            rows = cohorts == cohort
            assert np.corrcoef(profiles.loc[rows, symbol], adjusted.loc[rows, symbol])[0, 1] == pytest.approx(1)


def test_combat_agrees_with_its_formulas_for_the_mean(shifted):
    # Johnson 2007: each gene's grand mean, weighted by cohort size, stays as it was up to the shrinkage of the shifts,
    # whose weighted sum over two cohorts of one size is zero.
    profiles, cohorts = shifted
    np.testing.assert_allclose(combat(profiles, cohorts).mean(), profiles.mean(), rtol=0.02)


def test_combat_refuses_what_it_cannot_adjust(shifted):
    profiles, cohorts = shifted
    with pytest.raises(UserError, match="combat needs two cohorts; use zscore"):
        combat(profiles, pd.Series(["x"] * 800))
    profiles.loc[400:, "G7"] = 2.0
    with pytest.raises(UserError, match="gene G7, which does not vary in cohort y"):
        combat(profiles, cohorts)


SYMBOLS = ["CD3E", "CXCL10", "EGFR", "OLIG2", "RPL3"]


@pytest.fixture
def study(tmp_path):
    """Six cases of two cohorts, one profile each, with case 1's profile in two samples; a writer and a runner."""
    random = np.random.default_rng(1)
    profiles = pd.DataFrame(random.normal(5, [1, 2, 3, 4, 9], (6, 5)).astype(np.float32), columns=SYMBOLS)
    profiles.insert(0, "cohort", ["x"] * 3 + ["y"] * 3)
    profiles.insert(1, "expression_id", [f"p{number}" for number in range(1, 7)])
    samples = pd.DataFrame(
        {
            "sample_id": ["s1b", "s1a", "s2", "s3", "s4", "s5", "s6"],
            "case_id": ["1", "1", "2", "3", "4", "5", "6"],
            "cohort": ["x"] * 4 + ["y"] * 3,
            "slide_id": [f"w{number}" for number in range(7)],
            "expression_id": ["p1", "p1", "p2", "p3", "p4", "p5", "p6"],
            "status": "ok",
            "reason": "",
        }
    )
    split = ["train", "train", "test", "train", "train", "val"]
    splits = pd.DataFrame({"fold": 0, "case_id": list("123456"), "split": split})

    class Study:
        folder = tmp_path / "genes"

        def __init__(self):
            self.profiles, self.samples, self.splits, self.unit = profiles, samples, splits, "log"

        def run(self, **settings):
            made_by = provenance("ksfusion.stages.read_expression", {"sources": [{"cohort": "x", "unit": self.unit}]})
            write_parquet(self.profiles, tmp_path / "profiles.parquet", made_by)
            self.samples.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
            self.splits.to_csv(tmp_path / "splits.tsv", sep="\t", index=False)
            paths = [tmp_path / name for name in ("profiles.parquet", "samples.tsv", "splits.tsv")]
            select_genes_of_fold(*paths, self.folder, fold=0, settings=Genes(**{"top_fraction": 1.0, **settings}))
            return read_tsv(self.folder / "selected.tsv"), read_parquet(self.folder / "expression.parquet")

    return Study()


def test_prepared_files(study):
    selected, expression = study.run()
    assert selected.columns.tolist() == ["symbol", "rank", "variance", "category", "niche", "source"]
    assert selected["rank"].is_monotonic_increasing
    # RPL3 is ranked, but no gene set places it.
    assert set(selected["symbol"]) == {"CD3E", "CXCL10", "EGFR", "OLIG2"}
    assert selected.set_index("symbol")["niche"].to_dict() == {
        "CD3E": "tme",
        "CXCL10": "tme",
        "EGFR": "tumour",
        "OLIG2": "tumour",
    }
    assert expression.columns.tolist() == selected["symbol"].tolist()
    assert expression.index.tolist() == ["s1a", "s1b", "s2", "s3", "s4", "s5", "s6"]
    assert expression.index.name == "sample_id"
    assert set(expression.dtypes) == {np.dtype(np.float32)}
    assert read_provenance(study.folder / "expression.parquet")["settings"]["top_fraction"] == 1.0


def test_ranks_and_scaling_come_from_each_training_profile_once(study):
    selected, expression = study.run()
    # Training profiles are p1 (which two samples share), p2 of cohort x; p4, p5 of cohort y.
    for symbol in selected["symbol"]:
        x = study.profiles.loc[[0, 1], symbol].to_numpy(np.float64)
        y = study.profiles.loc[[3, 4], symbol].to_numpy(np.float64)
        variance = selected.set_index("symbol").at[symbol, "variance"]
        assert variance == pytest.approx((x.var(ddof=1) + y.var(ddof=1)) / 2)
        third = (study.profiles.at[2, symbol] - x.mean()) / x.std()
        sixth = (study.profiles.at[5, symbol] - y.mean()) / y.std()
        assert expression.loc[["s3", "s6"], symbol].tolist() == pytest.approx([third, sixth], rel=1e-4)
    np.testing.assert_array_equal(expression.loc["s1a"], expression.loc["s1b"])


@pytest.mark.parametrize("harmonise", ["zscore_by_cohort", "zscore", "none"])
@pytest.mark.parametrize("rank", ["within_cohort", "pooled"])
def test_nothing_is_fitted_on_validation_or_test_cases(study, harmonise, rank):
    selected, expression = study.run(harmonise=harmonise, rank=rank, top_fraction=0.8)
    frozen = read_tsv(study.folder / "scaling.tsv")
    study.profiles.loc[[2, 5], SYMBOLS] *= np.float32(100)
    changed_selected, changed = study.run(harmonise=harmonise, rank=rank, top_fraction=0.8)
    pd.testing.assert_frame_equal(selected, changed_selected)
    pd.testing.assert_frame_equal(frozen, read_tsv(study.folder / "scaling.tsv"))
    unseen = ["s3", "s6"]
    pd.testing.assert_frame_equal(expression.drop(unseen), changed.drop(unseen))
    assert not np.allclose(expression.loc[unseen], changed.loc[unseen])


def test_of_genes_with_one_symbol_the_most_expressed_in_training_counts(study, caplog):
    study.profiles["EGFR::2"] = np.float32(0.5)
    before = study.run()
    # In training profiles of x the copy has the higher mean, in those of y not; p3 and p6 are not looked at.
    study.profiles.loc[[0, 1], "EGFR::2"] = study.profiles.loc[[0, 1], "EGFR"] + np.float32([20, 30])
    study.profiles.loc[2, "EGFR::2"] = study.profiles.at[2, "EGFR"]
    study.profiles.loc[5, "EGFR::2"] = np.float32(1000)
    with caplog.at_level(logging.INFO):
        after = study.run(harmonise="none")
    expected = study.profiles["EGFR"].where(study.profiles["cohort"] == "y", study.profiles["EGFR::2"])
    assert after[1]["EGFR"].tolist() == [expected[0], *expected]
    assert caplog.text.count("1 genes share a symbol with a more expressed one and are dropped") == 2
    assert before[1]["EGFR"].iloc[:3].tolist() != after[1]["EGFR"].iloc[:3].tolist()


def test_a_test_profile_does_not_choose_between_genes_with_one_symbol(study, tmp_path):
    def values_of_training(of_test):
        lines = ["gene\tp1\tp2\tp3", "EGFR\t1\t3\t0", f"EGFR\t2\t2.2\t{of_test}", "CD3E\t1\t2\t3"]
        (tmp_path / "x.tsv").write_text("\n".join(lines) + "\n")
        source = ExpressionSource(cohort="x", format="matrix", unit="log", path=str(tmp_path / "x.tsv"))
        read_expression(tmp_path / "read.parquet", settings=ReadExpressionSettings(sources=[source]))
        study.profiles = read_parquet(tmp_path / "read.parquet")
        study.samples = study.samples[study.samples["cohort"] == "x"]
        return study.run(harmonise="none")[1].loc[["s1a", "s2"], "EGFR"].tolist()

    # Means over the training profiles are 2 and 2.1, whatever the test profile says.
    assert values_of_training(-1) == values_of_training(9) == pytest.approx([2, 2.2])


def test_a_cohort_without_training_profiles_keeps_the_first_gene_of_its_file(study, caplog):
    study.splits["split"] = ["train", "train", "test", "test", "test", "val"]
    study.profiles["EGFR::2"] = np.float32(1000)
    expression = study.run(harmonise="none")[1]
    assert expression.loc[["s4", "s5", "s6"], "EGFR"].tolist() == study.profiles["EGFR"][3:].tolist()
    assert "cohort y: no fitted profile" in caplog.text


def test_fit_on_all_counts_every_case(study):
    selected, _ = study.run(fit_on="all", harmonise="zscore", rank="pooled")
    variances = study.profiles[SYMBOLS].var(ddof=1)
    assert selected.set_index("symbol")["variance"].to_dict() == pytest.approx(variances.drop("RPL3").to_dict())


def test_combat_adjusts_all_profiles_and_leaves_nothing_frozen(study):
    study.run()
    assert (study.folder / "scaling.tsv").exists()
    _, expression = study.run(fit_on="all", harmonise="combat")
    assert not (study.folder / "scaling.tsv").exists()
    # Each profile counts once in the fit; sample s1b repeats s1a.
    once = expression.drop("s1b")
    np.testing.assert_allclose(once.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(once.std(ddof=0), 1, atol=1e-5)
    plain = study.run(fit_on="all", harmonise="zscore")[1].drop("s1b")
    apart, apart_plain = (table.head(3).mean() - table.tail(3).mean() for table in (once, plain))
    assert apart.abs().mean() < apart_plain.abs().mean()


def test_all_shared_genes_are_ranked_and_conflicts_say_what_was_selected(study, tmp_path):
    rows = ["EGFR\ta\ttumour\tb", "OLIG2\ta\ttumour\tb", "EGFR\tc\ttme\td", "CD3E\tc\ttme\td", "CXCL10\tc\ttme\td"]
    rows += ["SOX2\ta\ttumour\tb", "SOX2\tc\ttme\td"]
    (tmp_path / "sets.tsv").write_text("\n".join(["symbol\tcategory\tniche\tsource", *rows]) + "\n")
    selected, _ = study.run(sets=str(tmp_path / "sets.tsv"), top_fraction=0.8)
    ranking = read_tsv(study.folder / "ranking.tsv")
    assert sorted(ranking["symbol"]) == sorted(SYMBOLS)
    assert ranking["rank"].tolist() == [1, 2, 3, 4, 5]
    assert ranking["chosen"].tolist() == [True, True, True, True, False]
    assert ranking.set_index("symbol").loc["RPL3", ["category", "niche", "source"]].isna().all()
    used = ranking[ranking["chosen"] & ranking["niche"].notna()]
    pd.testing.assert_frame_equal(used.drop(columns="chosen").reset_index(drop=True), selected)
    listed = read_tsv(study.folder / "conflicts.tsv").set_index("symbol")["selected"].to_dict()
    # SOX2 is not in the profiles.
    assert listed == {"EGFR": "EGFR" in set(selected["symbol"]), "SOX2": False}


def test_samples_without_status_ok_or_profile_are_left_out(study, caplog):
    study.samples.loc[study.samples["sample_id"] == "s2", "status"] = "excluded"
    study.samples.loc[study.samples["sample_id"] == "s3", "expression_id"] = ""
    _, expression = study.run()
    assert expression.index.tolist() == ["s1a", "s1b", "s4", "s5", "s6"]
    assert "1 samples in use have no expression profile" in caplog.text
    assert "fewer than two training profiles take the pooled scaling: x" in caplog.text


def test_missing_values_become_the_training_mean(study):
    study.profiles.loc[2, "EGFR"] = np.nan
    _, expression = study.run()
    assert expression.at["s3", "EGFR"] == 0.0
    assert not expression.isna().any(axis=None)


def test_zscores_ranked_by_variance_earn_a_warning(study, caplog):
    study.run()
    assert "z-scores" not in caplog.text
    study.unit = "zscore"
    with caplog.at_level(logging.WARNING):
        study.run()
    assert "cohorts x hold z-scores" in caplog.text
    with pytest.raises(UserError, match="seurat wants log2"):
        study.run(rank="seurat")


def test_same_inputs_same_bytes(study):
    study.run()
    first = {path.name: path.read_bytes() for path in study.folder.iterdir()}
    study.samples = study.samples.iloc[::-1]
    study.profiles = study.profiles.iloc[::-1]
    study.run()
    assert {path.name: path.read_bytes() for path in study.folder.iterdir()} == first


def test_genes_that_cannot_be_chosen(study, tmp_path):
    with pytest.raises(UserError, match=r"is in niche tme; raise genes.top_fraction \(1.0\)"):
        (tmp_path / "sets.tsv").write_text("symbol\tcategory\tniche\tsource\nEGFR\ta\ttumour\tb\nCD9\ta\ttme\tb\n")
        study.run(sets=str(tmp_path / "sets.tsv"))
    with pytest.raises(ValidationError, match=r"fit_on\n.*'train' or 'all'.*'val'"):
        study.run(fit_on="val")
    with pytest.raises(ValidationError, match="it needs fit_on: all"):
        study.run(harmonise="combat")
    study.splits["split"] = "test"
    with pytest.raises(UserError, match="no sample of fold 0 to choose genes on"):
        study.run()


def test_samples_without_a_profile_by_the_ledger_are_left_out_without_a_warning(caplog):
    ledger = pd.DataFrame({"sample_id": ["S1", "S2", "S3"], "case_id": ["A", "B", "C"], "cohort": "X"})
    ledger["expression_id"], ledger["status"] = ["P1", None, "P3"], "ok"
    ledger["modalities"] = ["paired", "slides only", "genes only"]
    known = pd.MultiIndex.from_tuples([("X", "P1"), ("X", "P3")])
    assert samples_with_profiles(ledger, known)["sample_id"].tolist() == ["S1", "S3"]
    assert not caplog.records
    assert samples_with_profiles(ledger.drop(columns="modalities"), known)["sample_id"].tolist() == ["S1", "S3"]
    assert "1 samples in use have no expression profile" in caplog.text
