"""Single values of expression that bear on all: planted, and found where they were planted."""

import numpy as np
import pandas as pd
import pytest

from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.genes.config import Genes
from ksfusion.genes.extremes import beyond, carried
from ksfusion.results.report.findings import audit_sections, cautions, findings_of_folds
from ksfusion.stages.check_expression import check_expression
from ksfusion.stages.select_genes import select_genes
from ksfusion.terms.split_table import write_splits


def draw(n_profiles=40, n_genes=100, seed=0):
    """Draw log values whose genes vary the less the later they come."""
    random = np.random.default_rng(seed)
    spread = np.linspace(2, 0.5, n_genes)
    values = 6 + random.normal(0, spread, (n_profiles, n_genes))
    index = pd.MultiIndex.from_product([["A"], [f"P{n}" for n in range(n_profiles)]], names=["cohort", "expression_id"])
    return pd.DataFrame(values, index, [f"G{n}" for n in range(n_genes)])


def test_a_gene_whose_rank_is_one_value():
    profiles = draw()
    assert list(carried({"A": profiles}, profiles.columns[:30], 30)) == []
    # G99 varies least of all; by one value of 50 it comes first.
    profiles.loc[("A", "P7"), "G99"] = 50
    chosen = ["G99", *profiles.columns[:29]]
    (finding,) = carried({"A": profiles}, chosen, 30)
    assert (finding["check"], finding["subject"]) == ("rank_by_one_value", "A")
    assert finding["detail"].startswith(
        "1 of 30 chosen genes are among the most variable by a single value (G99 of profile P7): "
    )
    assert "genes.clip: 10" in finding["detail"]
    # One that would be chosen all the same is not told, nor one that is not chosen.
    profiles.loc[("A", "P7"), "G0"] = 50
    assert len(list(carried({"A": profiles}, chosen, 30))) == 1
    assert list(carried({"A": profiles}, profiles.columns[:29], 30)) == []
    # Of few profiles one has much of the variance by chance.
    assert list(carried({"A": profiles.iloc[:9]}, chosen, 30)) == []


def test_the_share_of_one_value_against_numpy():
    from ksfusion.genes.extremes import _without_farthest

    values = draw(12, 5).to_numpy()
    values[3, 1] = np.nan
    variance, without, share = _without_farthest(values)
    for gene in range(5):
        column = values[~np.isnan(values[:, gene]), gene]
        others = np.delete(column, np.abs(column - column.mean()).argmax())
        assert variance[gene] == pytest.approx(column.var(ddof=1))
        assert without[gene] == pytest.approx(others.var(ddof=1))
        assert share[gene] == pytest.approx(1 - others.var() * len(others) / (column.var() * len(column)))


def test_values_beyond_fifty_sd():
    scaled = pd.DataFrame(np.zeros((4, 3)), list("abcd"), ["G0", "G1", "G2"])
    samples = pd.DataFrame({"sample_id": list("abcd"), "cohort": list("AABB"), "expression_id": list("wxyz")})
    assert list(beyond(scaled, samples)) == []
    scaled.iloc[1, 2], scaled.iloc[1, 1], scaled.iloc[3, 0] = -1234.0, 51.0, 50.0
    (finding,) = beyond(scaled, samples)
    assert (finding["check"], finding["subject"]) == ("extreme_expression", "A")
    assert finding["detail"] == (
        "2 values of 2 genes are more than 50 sd from the mean of their gene in training, the farthest 1,234 sd (gene "
        "G2, profile x): see that they are right; genes.clip: 10 cuts values off at 10 sd"
    )


class TestOfAFold:
    @pytest.fixture
    def drawn(self):
        from ksfusion.genes import gene_sets

        profiles = draw()
        symbols = gene_sets().drop_duplicates("symbol").groupby("niche")["symbol"].head(50)
        profiles.columns = symbols.tolist()[::-1]
        keys = profiles.index.to_frame(index=False)
        samples = keys.assign(sample_id=keys["expression_id"], case_id=keys["expression_id"], status="ok")
        return profiles, samples

    def findings(self, drawn, folder, **settings):
        profiles, samples = drawn
        profiles.iloc[35, :2] = 1e4  # of a test sample: it scales nothing, and goes through the network
        folder.mkdir(exist_ok=True)
        write_parquet(profiles.reset_index(), folder / "profiles.parquet", {"settings": {}})
        write_tsv(samples, folder / "samples.tsv")
        sides = ["train"] * 30 + ["val"] * 5 + ["test"] * 5
        write_splits(
            pd.DataFrame({"fold": 0, "case_id": samples["case_id"], "split": sides}), folder / "splits.tsv", {}
        )
        common = [folder / "profiles.parquet", folder / "samples.tsv", folder / "splits.tsv"]
        settings = Genes(top_fraction=0.9, **settings)
        select_genes(*common, folder, fold=0, settings=settings)
        check_expression(*common, folder, folder / "findings.tsv", fold=0, settings=settings)
        return read_tsv(folder / "findings.tsv").to_dict("records")

    def test_are_told(self, drawn, tmp_path, caplog):
        (finding,) = self.findings(drawn, tmp_path)
        assert finding["check"] == "extreme_expression" and "profile P35" in finding["detail"]
        assert "cohort A: 2 values of 2 genes are more than 50 sd" in caplog.text

    def test_are_not_where_they_are_cut_off(self, drawn, tmp_path):
        assert self.findings(drawn, tmp_path, clip=10) == []

    def test_stand_in_the_report_by_fold_and_at_its_top(self, drawn, tmp_path):
        paths = []
        for fold in range(2):
            self.findings(drawn, tmp_path / f"fold{fold}")
            paths.append(tmp_path / f"fold{fold}/findings.tsv")
        found = findings_of_folds(paths)
        (section,) = audit_sections({"f": found})
        assert [row["detail"][:10] for row in section["rows"]] == ["fold 0: 2 ", "fold 1: 2 "]
        assert cautions(found)[0].startswith("Extreme expression (A): fold 0: 2 values of 2 genes")
        assert findings_of_folds(paths[:1])["detail"][0].startswith("2 values")
