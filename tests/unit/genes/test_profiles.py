"""Reading a cohort's expression: paths, h5ad, the real TCGA table, and all cohorts in one."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from layouts import ENDING, GDC_ROWS, write_gdc, write_ivygap

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_provenance
from ksfusion.genes import read_expression
from ksfusion.genes.config import ReadExpressionSettings
from ksfusion.stages.read_expression import read_expression as read_all_cohorts
from ksfusion.terms.gene_columns import symbol_of


def read_cohorts(sources, output):
    """Run the stage; sources may have paths where the configuration has text."""
    sources = [{**source, "path": str(source["path"])} for source in sources]
    read_all_cohorts(output, settings=ReadExpressionSettings(sources=sources))


def test_missing_and_mistaken_paths(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_expression(tmp_path / "nothing", format="gdc-star", unit="tpm")
    with pytest.raises(UserError, match="wants a file"):
        read_expression(tmp_path, format="matrix", unit="tpm")
    with pytest.raises(UserError, match="unknown unit 'rpkm'"):
        read_expression(tmp_path, format="matrix", unit="rpkm")
    with pytest.raises(UserError, match=r"rows-genes.csv: cannot be read"):
        read_expression(tmp_path, format="ivygap", unit="fpkm")


@pytest.mark.parametrize("is_sparse", [True, False])
def test_h5ad(tmp_path, is_sparse):
    import anndata
    from scipy.sparse import csr_matrix

    values = np.array([[1, 3, 0], [0, 0, 5]], np.float32)
    data = anndata.AnnData(csr_matrix(values) if is_sparse else values)
    data.obs_names, data.var_names = ["p1", "p2"], ["TP53", "EGFR", "CD3E"]
    data.write_h5ad(tmp_path / "a.h5ad")
    profiles = read_expression(tmp_path / "a.h5ad", format="h5ad", unit="counts")
    np.testing.assert_allclose(profiles.loc["p1"], [np.log2(250_001), np.log2(750_001), 0], rtol=1e-6)
    np.testing.assert_allclose(profiles.loc["p2"], [0, 0, np.log2(1_000_001)], rtol=1e-6)


def test_h5ad_of_repeated_genes_and_ensembl_ids(tmp_path):
    import anndata

    data = anndata.AnnData(np.array([[1, 3, 2, 9], [1, 5, 4, 9]], np.float32))
    data.obs_names = [" p1", "p2 "]
    data.var_names = ["CD3E", "CD3E", "ENSG00000146648.18", "ENSG00000999999.1"]
    data.write_h5ad(tmp_path / "a.h5ad")
    profiles = read_expression(tmp_path / "a.h5ad", format="h5ad", unit="log")
    assert profiles.loc["p1"].to_dict() == {"CD3E": 3.0, "EGFR": 2.0, "ENSG00000999999": 9.0}
    assert profiles.index.tolist() == ["p1", "p2"]


def test_the_tcga_table_as_published(real_data):
    path = real_data / "omics/tcga_gbmlgg_all_clean.csv.zip"
    profiles = read_expression(path, format="matrix", unit="zscore", suffix="_rnaseq")
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        table = pd.read_csv(file)
    # 1,011 slides of 569 cases: a case's rows repeat its profile.
    expected = table.drop_duplicates("case_id").set_index("case_id").filter(regex="_rnaseq$")
    assert profiles.shape == expected.shape == (569, 1544)
    expected = expected.rename(columns=lambda name: name.removesuffix("_rnaseq"))
    # HGNC's symbols since 2022.
    expected = expected.rename(columns={"TDGF1": "CRIPTO", "TDGF1P3": "CRIPTO3"})
    np.testing.assert_allclose(profiles.loc[expected.index, expected.columns], expected, rtol=1e-6)
    assert set(profiles.columns) == set(expected.columns)


def test_the_common_table_keeps_shared_genes_in_sorted_rows(tmp_path):
    write_gdc(tmp_path / "gdc" / "b" / f"x{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / "gdc" / "a" / f"x{ENDING}", GDC_ROWS)
    table = ["gene_id\\rna_well_id,20,10", "1,1,3", "2,0,7", "3,9,9"]
    ivygap = write_ivygap(tmp_path / "ivy", genes=[(1, "EGFR"), (2, "CD3E"), (3, "A1BG")], table=table)
    sources = [
        {"cohort": "ivy", "format": "ivygap", "unit": "fpkm", "path": str(ivygap), "suffix": None},
        {"cohort": "gdc", "format": "gdc-star", "unit": "tpm", "path": tmp_path / "gdc"},
    ]
    read_cohorts(sources, tmp_path / "profiles.parquet")
    profiles = read_parquet(tmp_path / "profiles.parquet")
    assert profiles.columns.tolist() == ["cohort", "expression_id", "CD3E", "EGFR"]
    assert profiles["cohort"].tolist() == ["gdc", "gdc", "ivy", "ivy"]
    assert profiles["expression_id"].tolist() == ["a", "b", "10", "20"]
    assert profiles["EGFR"].tolist() == [3.0, 3.0, 2.0, 1.0]
    assert profiles["EGFR"].dtype == np.float32
    assert read_provenance(tmp_path / "profiles.parquet")["settings"]["sources"][1]["unit"] == "tpm"
    first = (tmp_path / "profiles.parquet").read_bytes()
    read_cohorts(sources[::-1], tmp_path / "again.parquet")
    again = read_parquet(tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(profiles, again)
    read_cohorts(sources, tmp_path / "profiles.parquet")
    assert (tmp_path / "profiles.parquet").read_bytes() == first


def test_genes_with_one_symbol_stay_apart_in_the_common_table(tmp_path):
    texts = {"one": "gene\tP1\nEGFR\t1\nCD3E\t5\nCD3E\t6\nCD3E\t7\nA1BG\t1\n", "two": "gene\tP1\nCD3E\t2\nEGFR\t3\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.tsv").write_text(text)
    sources = [{"cohort": name, "format": "matrix", "unit": "log", "path": tmp_path / f"{name}.tsv"} for name in texts]
    read_cohorts(sources, tmp_path / "profiles.parquet")
    profiles = read_parquet(tmp_path / "profiles.parquet").set_index("cohort").drop(columns="expression_id")
    assert profiles.columns.tolist() == ["CD3E", "EGFR", "CD3E::2", "CD3E::3"]
    assert profiles.loc["one"].tolist() == [5, 1, 6, 7]
    assert profiles.loc["two"].iloc[:2].tolist() == [2, 3] and profiles.loc["two"].iloc[2:].isna().all()


def test_a_fusion_gene_is_no_copy(tmp_path):
    (tmp_path / "m.tsv").write_text("gene\tP1\nEGFR\t1\nEGFR::SEPTIN14\t2\nEGFR\t3\n")
    source = {"cohort": "x", "format": "matrix", "unit": "log", "path": tmp_path / "m.tsv"}
    read_cohorts([source], tmp_path / "profiles.parquet")
    profiles = read_parquet(tmp_path / "profiles.parquet").drop(columns=["cohort", "expression_id"])
    assert profiles.loc[0].to_dict() == {"EGFR": 1, "EGFR::SEPTIN14": 2, "EGFR::2": 3}
    assert [symbol_of(name) for name in profiles] == ["EGFR", "EGFR::SEPTIN14", "EGFR"]


def test_the_common_table_names_cohorts_without_a_shared_gene(tmp_path):
    paths = {name: tmp_path / f"{name}.tsv" for name in ("one", "two")}
    paths["one"].write_text("gene\tP1\nEGFR\t1\n")
    paths["two"].write_text("gene\tP1\nCD3E\t1\n")
    sources = [{"cohort": name, "format": "matrix", "unit": "log", "path": path} for name, path in paths.items()]
    with pytest.raises(UserError, match=r"cohorts one and two have no gene in common \(EGFR, ... and CD3E"):
        read_cohorts(sources, tmp_path / "profiles.parquet")


# Not in the shipped sets.
TSPAN6, DPM1 = "ENSG00000000003", "ENSG00000000419"


def source(cohort, path):
    return {"cohort": cohort, "format": "h5ad" if path.suffix == ".h5ad" else "matrix", "unit": "log", "path": path}


def write_h5ad(path, genes, **var):
    import anndata

    data = anndata.AnnData(np.arange(1, 1 + len(genes), dtype=np.float32)[None])
    data.obs_names, data.var_names = ["p"], genes
    for name, values in var.items():
        data.var[name] = values
    data.write_h5ad(path)
    return path


@pytest.mark.parametrize("name", ["gene_name", "gene_symbol", "feature_name"])
def test_symbols_beside_ids_name_the_genes(tmp_path, name):
    path = tmp_path / "m.tsv"
    path.write_text(f"gene_id\t{name}\tP1\n{TSPAN6}.15\tTSPAN6\t1\n{DPM1}.12\tDPM1\t2\nENSG00000146648.1\tEGFR\t3\n")
    expected = {"TSPAN6": 1.0, "DPM1": 2.0, "EGFR": 3.0}
    assert read_expression(path, format="matrix", unit="log").loc["P1"].to_dict() == expected
    path = write_h5ad(tmp_path / "m.h5ad", [f"{TSPAN6}.15", DPM1, "EGFR"], **{name: ["TSPAN6", "DPM1", "EGFR"]})
    assert read_expression(path, format="h5ad", unit="log").loc["p"].to_dict() == expected


def test_ids_of_one_cohort_get_the_symbols_that_another_has_beside_them(tmp_path):
    (tmp_path / "ids.tsv").write_text(f"gene\tP\n{TSPAN6}\t1\n{DPM1}.3\t2\nENSG00000146648\t3\n")
    (tmp_path / "symbols.tsv").write_text("gene\tP\nTSPAN6\t4\nDPM1\t5\nEGFR\t6\n")
    rows = [(f"{TSPAN6}.15", "TSPAN6", 0, 1, 1), (f"{DPM1}.12", "DPM1", 0, 1, 1), GDC_ROWS[1]]
    write_gdc(tmp_path / "gdc" / f"x{ENDING}", rows)
    gdc = {"cohort": "C", "format": "gdc-star", "unit": "tpm", "path": tmp_path / "gdc"}
    paths = [tmp_path / f"{name}.tsv" for name in ("ids", "symbols")]
    read_cohorts([source("A", paths[0]), source("B", paths[1]), gdc], tmp_path / "p.parquet")
    profiles = read_parquet(tmp_path / "p.parquet").set_index("cohort")
    assert profiles.loc["A", ["DPM1", "EGFR", "TSPAN6"]].tolist() == [2, 3, 1]
    # 10x writes ids beside symbols.
    tenx = write_h5ad(tmp_path / "t.h5ad", ["TSPAN6", "DPM1"], gene_ids=[TSPAN6, DPM1])
    read_cohorts([source("A", paths[0]), source("T", tenx)], tmp_path / "p.parquet")
    assert read_parquet(tmp_path / "p.parquet").columns.tolist()[2:] == ["DPM1", "TSPAN6"]


def test_cohorts_that_share_few_genes_are_told_why(tmp_path, caplog):
    ids = [f"ENSG{number:011}" for number in range(9)]
    for name, genes in {"ids": ids, "symbols": [f"LINC{number}" for number in range(12)]}.items():
        (tmp_path / f"{name}.tsv").write_text(
            "\n".join(["gene\tP", "EGFR\t1", *(f"{gene}\t1" for gene in genes)]) + "\n"
        )
    sources = [source(name, tmp_path / f"{name}.tsv") for name in ("ids", "symbols")]
    read_cohorts(sources, tmp_path / "p.parquet")
    assert (
        "cohorts ids and symbols share only 1 of the 10 genes of ids: 9 genes of ids have an Ensembl id and no symbol; "
        "give its table the symbols, in a column gene_name beside the ids"
    ) in caplog.text
    caplog.clear()
    read_cohorts([source("a", tmp_path / "ids.tsv"), source("b", tmp_path / "ids.tsv")], tmp_path / "p.parquet")
    assert "share only" not in caplog.text
