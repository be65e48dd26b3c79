"""The demo's expression files: the published layouts, and the planted truth in them."""

import re

import numpy as np
import pandas as pd
import pytest

from ksfusion.demo.expression import DIAGNOSES, GENE_SETS, draw_genes, write_expression
from ksfusion.genes import gene_sets, read_expression
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.profiles import join_cohorts

SEED = 5


def draw_truth(count: int = 48) -> pd.DataFrame:
    random = np.random.default_rng(0)
    diagnosis = np.array(DIAGNOSES * (count // 4))
    ivygap = np.arange(count) >= count - 4
    diagnosis[ivygap] = "glioblastoma"
    truth = pd.DataFrame(
        {
            "layout": np.where(ivygap, "ivygap", "gdc-star"),
            "expression_id": [f"{900 + number}" if ivygap[number] else f"id-{number:02d}" for number in range(count)],
            "case_id": [f"case-{number}" for number in range(count)],
            "tumour": random.uniform(0, 1, count),
            "tme": random.uniform(0, 1, count),
            "diagnosis": diagnosis,
            "library": random.choice([-0.5, 0.5], count),
        }
    )
    return truth.assign(tumor_name="W1", block_name="W1-1", specimen_name="W1-1-A")


@pytest.fixture(scope="module")
def truth():
    return draw_truth()


@pytest.fixture(scope="module")
def folder(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expression")
    write_expression(truth, folder, SEED)
    return folder


def test_gdc_layout(folder, truth):
    files = sorted((folder / "gdc").glob("*/*"))
    assert len(files) == 44
    assert files[0].name == f"{files[0].parent.name}.rna_seq.augmented_star_gene_counts.tsv"
    lines = files[0].read_text().splitlines()
    assert lines[0].startswith("# gene-model: ")
    assert lines[1].split("\t")[3:7] == ["unstranded", "stranded_first", "stranded_second", "tpm_unstranded"]
    assert [line.split("\t")[0] for line in lines[2:6]] == [
        "N_unmapped",
        "N_multimapping",
        "N_noFeature",
        "N_ambiguous",
    ]
    table = pd.read_csv(files[0], sep="\t", comment="#").iloc[4:]
    assert table["gene_id"].map(lambda gene: bool(re.fullmatch(r"ENSG\d{11}\.\d+", gene))).all()
    assert table["gene_id"].is_unique
    assert table["gene_name"].is_unique
    np.testing.assert_array_equal(table["stranded_first"] + table["stranded_second"], table["unstranded"])
    # By definition TPM sum to a million, and FPKM are in proportion to them.
    assert table["tpm_unstranded"].sum() == pytest.approx(1e6, rel=1e-4)
    expressed = table["tpm_unstranded"] > 10
    ratio = table.loc[expressed, "fpkm_unstranded"] / table.loc[expressed, "tpm_unstranded"]
    assert ratio.std() / ratio.mean() < 1e-4


def test_ivygap_layout(folder):
    fpkm = pd.read_csv(folder / "ivygap/fpkm_table.csv")
    rows = pd.read_csv(folder / "ivygap/rows-genes.csv")
    samples = pd.read_csv(folder / "ivygap/columns-samples.csv")
    assert fpkm.columns[0] == "gene_id\\rna_well_id"
    assert fpkm.columns[1:].tolist() == samples["rna_well_id"].astype(str).tolist()
    assert fpkm.iloc[:, 0].tolist() == rows["gene_id"].tolist()
    assert rows.columns.tolist() == ["gene_id", "chromosome", "gene_entrez_id", "gene_symbol", "gene_name"]
    assert {"tumor_name", "block_name", "specimen_name", "structure_abbreviation"} <= set(samples)


def test_cohorts_share_most_but_not_all_genes(folder):
    sources = [
        ExpressionSource(cohort="gdc", format="gdc-star", unit="tpm", path=str(folder / "gdc")),
        ExpressionSource(cohort="ivy", format="ivygap", unit="fpkm", path=str(folder / "ivygap")),
    ]
    shared = set(join_cohorts(sources).profiles.columns)
    genes = draw_genes(SEED).set_index("symbol")
    assert shared == set(genes.index[genes["in_gdc"] & genes["in_ivygap"]])
    assert 2000 <= len(shared) < genes["in_gdc"].sum() < len(genes) <= 2500
    assert set(gene_sets(GENE_SETS)["symbol"]) <= set(genes.index)


def test_latent_scores_are_planted_where_the_model_says(folder, truth):
    profiles = read_expression(folder / "gdc", format="gdc-star", unit="tpm")
    truth = truth.set_index("expression_id").loc[profiles.index]
    genes = draw_genes(SEED).set_index("symbol").loc[profiles.columns]

    def mean_of(chosen):
        z = (profiles - profiles.mean()) / profiles.std()
        return z.loc[:, chosen].mean(axis=1)

    loaded = genes["loading"] > 0
    assert np.corrcoef(mean_of(loaded & (genes["niche"] == "tme")), truth["tme"])[0, 1] > 0.8
    assert np.corrcoef(mean_of(loaded & (genes["category"] == "cell cycle")), truth["tumour"])[0, 1] > 0.4
    assert np.corrcoef(mean_of(loaded & (genes["category"] == "neuronal")), truth["tumour"])[0, 1] < -0.3
    is_gbm, is_oligo = truth["diagnosis"] == "glioblastoma", truth["diagnosis"] == "oligodendroglioma"
    opc = mean_of(loaded & (genes["category"] == "OPC-like state"))
    assert opc[is_oligo].mean() > opc[is_gbm].mean()
    assert profiles.loc[is_gbm, "CDKN2A"].mean() < profiles.loc[is_oligo, "CDKN2A"].mean() - 1


def test_same_seed_same_bytes_and_a_new_profile_changes_no_other(folder, truth, tmp_path):
    write_expression(truth.iloc[[0, 3, 47]].iloc[::-1], tmp_path / "few", SEED)
    files = sorted(path for path in (tmp_path / "few/gdc").rglob("*.tsv"))
    assert len(files) == 2
    for file in files:
        assert file.read_bytes() == (folder / file.relative_to(tmp_path / "few")).read_bytes()
    name = "rows-genes.csv"
    assert (tmp_path / "few/ivygap" / name).read_bytes() == (folder / "ivygap" / name).read_bytes()
    write_expression(truth.iloc[[0]], tmp_path / "other", SEED + 1)
    other = next((tmp_path / "other/gdc").rglob("*.tsv"))
    assert other.read_bytes() != (folder / other.relative_to(tmp_path / "other")).read_bytes()
