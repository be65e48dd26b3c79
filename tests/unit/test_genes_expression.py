"""Readers of expression: files in the published layouts, values worked out by hand."""

import gzip
import logging
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ksfusion.errors import UserError
from ksfusion.genes import collect_profiles, read_expression
from ksfusion.storage import read_parquet, read_provenance

GDC_HEADER = ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first", "stranded_second"]
GDC_HEADER += ["tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]
ENDING = ".rna_seq.augmented_star_gene_counts.tsv"


def write_gdc(path: Path, rows: list[tuple], *, header: list[str] = GDC_HEADER, comment: bool = True) -> Path:
    """Write (gene_id, symbol, count, tpm, fpkm) rows as the GDC publishes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# gene-model: GENCODE v36"] if comment else []
    lines.append("\t".join(header))
    lines += [f"N_{name}\t\t\t999\t999\t999\t\t\t" for name in ("unmapped", "multimapping", "noFeature", "ambiguous")]
    for gene, symbol, count, tpm, fpkm in rows:
        lines.append("\t".join(map(str, (gene, symbol, "protein_coding", count, 0, count, tpm, fpkm, 7.5))))
    path.write_text("\n".join(lines) + "\n")
    return path


EGFR, CD3E, TP53 = "ENSG00000146648.18", "ENSG00000198851.10", "ENSG00000141510.18"
GDC_ROWS = [(TP53, "TP53", 1, 3.0, 1.0), (EGFR, "EGFR", 3, 7.0, 15.0), (CD3E, "CD3E", 0, 0.0, 0.0)]


def write_ivygap(folder: Path, *, genes: list[tuple], table: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["gene_id,chromosome,gene_entrez_id,gene_symbol,gene_name"]
    rows += [f'{gene},7,1956,{symbol},"{symbol}, of man"' for gene, symbol in genes]
    (folder / "rows-genes.csv").write_text("\n".join(rows) + "\n")
    (folder / "fpkm_table.csv").write_text("\n".join(table) + "\n")
    (folder / "columns-samples.csv").write_text("rna_well_id,tumor_name,block_name,specimen_name\n")
    return folder


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        # log2(CPM + 1): 1 of 4 reads is 250,000 per million; the N_ rows belong to no gene and do not count.
        ("counts", [np.log2(250_001), np.log2(750_001), 0.0]),
        ("tpm", [2.0, 3.0, 0.0]),
        ("fpkm", [1.0, 4.0, 0.0]),
    ],
)
def test_gdc_units_by_hand(tmp_path, unit, expected):
    write_gdc(tmp_path / "uuid-1" / f"other-name{ENDING}", GDC_ROWS)
    profiles = read_expression(tmp_path, format="gdc-star", unit=unit)
    assert profiles.index.tolist() == ["uuid-1"]
    assert profiles.columns.tolist() == ["TP53", "EGFR", "CD3E"]
    assert profiles.dtypes.unique().tolist() == [np.float32]
    np.testing.assert_allclose(profiles.loc["uuid-1"], expected, rtol=1e-6)


def test_gdc_files_flat_in_the_folder_are_named_up_to_the_first_dot(tmp_path):
    write_gdc(tmp_path / f"abc-1{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / f"abc-2{ENDING}", GDC_ROWS, comment=False)
    (tmp_path / f"abc-3{ENDING}.partial").write_text("half a download")
    assert read_expression(tmp_path, format="gdc-star", unit="tpm").index.tolist() == ["abc-1", "abc-2"]


def test_gdc_rows_are_joined_by_gene_id_not_by_position(tmp_path):
    write_gdc(tmp_path / f"a{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / f"b{ENDING}", GDC_ROWS[::-1])
    profiles = read_expression(tmp_path, format="gdc-star", unit="tpm")
    np.testing.assert_array_equal(profiles.loc["a"], profiles.loc["b"])


def test_gdc_repeated_symbol_keeps_the_gene_with_the_highest_mean(tmp_path, caplog):
    low, high = ("ENSG00000002586.20_PAR_Y", "CD99", 0, 1.0, 1.0), ("ENSG00000002586.20", "CD99", 0, 3.0, 1.0)
    write_gdc(tmp_path / f"a{ENDING}", [low, high, GDC_ROWS[0]])
    with caplog.at_level(logging.INFO):
        profiles = read_expression(tmp_path, format="gdc-star", unit="tpm")
    assert profiles.loc["a"].to_dict() == {"CD99": 2.0, "TP53": 2.0}
    assert "1 genes share a symbol" in caplog.text


def test_gdc_profile_without_reads_is_left_out(tmp_path, caplog):
    write_gdc(tmp_path / f"a{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / f"b{ENDING}", [(*row[:2], 0, 0, 0) for row in GDC_ROWS])
    assert read_expression(tmp_path, format="gdc-star", unit="counts").index.tolist() == ["a"]
    assert "1 profiles without any value" in caplog.text


def test_gdc_errors_name_file_row_and_column(tmp_path):
    with pytest.raises(UserError, match=r"no .*star_gene_counts"):
        read_expression(tmp_path, format="gdc-star", unit="tpm")
    with pytest.raises(UserError, match="unit log is not in gdc-star"):
        read_expression(tmp_path, format="gdc-star", unit="log")
    file = write_gdc(tmp_path / "u" / f"a{ENDING}", [(TP53, "TP53", 1, "3,0x", 1.0), *GDC_ROWS[1:]])
    # Line 1 is the comment, 2 the header, 3 to 6 the N_ rows.
    with pytest.raises(UserError, match=rf"{file.name}, row 7, column tpm_unstranded: '3,0x' is not a number"):
        read_expression(tmp_path, format="gdc-star", unit="tpm")
    write_gdc(file, [(TP53, "TP53", -1, 3.0, 1.0), *GDC_ROWS[1:]])
    with pytest.raises(UserError, match="profile u, gene TP53: -1 is negative; counts cannot be"):
        read_expression(tmp_path, format="gdc-star", unit="counts")
    write_gdc(file, GDC_ROWS, header=["fpkm" if name == "fpkm_unstranded" else name for name in GDC_HEADER])
    with pytest.raises(UserError, match=rf"{file.name}: no column fpkm_unstranded"):
        read_expression(tmp_path, format="gdc-star", unit="fpkm")


def test_gdc_truncated_and_duplicated_files(tmp_path):
    write_gdc(tmp_path / "u" / f"a{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / "v" / f"b{ENDING}", GDC_ROWS[:2])
    with pytest.raises(UserError, match="has other genes than"):
        read_expression(tmp_path, format="gdc-star", unit="tpm")
    write_gdc(tmp_path / "u" / f"b{ENDING}", GDC_ROWS)
    with pytest.raises(UserError, match="are both u"):
        read_expression(tmp_path, format="gdc-star", unit="tpm")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "git-LFS pointer"),
        ("\n<!DOCTYPE html>\n<html>", "web page"),
        ("", "is empty"),
    ],
)
def test_what_is_not_data_is_named(tmp_path, content, message):
    (tmp_path / f"a{ENDING}").write_text(content)
    with pytest.raises(UserError, match=message):
        read_expression(tmp_path, format="gdc-star", unit="tpm")
    (tmp_path / "a.h5ad").write_text(content)
    with pytest.raises(UserError, match=message):
        read_expression(tmp_path / "a.h5ad", format="h5ad", unit="log")


def test_missing_and_mistaken_paths(tmp_path):
    with pytest.raises(UserError, match="not found"):
        read_expression(tmp_path / "nothing", format="gdc-star", unit="tpm")
    with pytest.raises(UserError, match="wants a file"):
        read_expression(tmp_path, format="matrix", unit="tpm")
    with pytest.raises(UserError, match="unknown unit 'rpkm'"):
        read_expression(tmp_path, format="matrix", unit="rpkm")
    with pytest.raises(UserError, match=r"fpkm_table.csv: cannot be read"):
        read_expression(tmp_path, format="ivygap", unit="fpkm")


def test_ivygap_is_joined_by_gene_id(tmp_path):
    folder = write_ivygap(
        tmp_path / "ivy",
        genes=[(499304661, "CD3E"), (499304660, "EGFR"), (499304662, "")],
        table=["gene_id\\rna_well_id,305273026,305273034", "499304660,1,3", "499304661,0,7", "499304662,5,5"],
    )
    profiles = read_expression(folder, format="ivygap", unit="fpkm")
    assert profiles.index.tolist() == ["305273026", "305273034"]
    assert profiles["EGFR"].tolist() == [1.0, 2.0]
    assert profiles["CD3E"].tolist() == [0.0, 3.0]
    assert profiles.columns.tolist() == ["EGFR", "CD3E"]


def test_ivygap_errors(tmp_path):
    table = ["gene_id\\rna_well_id,1,2", "10,1,3"]
    folder = write_ivygap(tmp_path / "ivy", genes=[(11, "EGFR")], table=table)
    with pytest.raises(UserError, match=r"no gene_id 10, which fpkm_table.csv has"):
        read_expression(folder, format="ivygap", unit="fpkm")
    with pytest.raises(UserError, match="publishes fpkm, not tpm"):
        read_expression(folder, format="ivygap", unit="tpm")
    write_ivygap(folder, genes=[(10, "EGFR")], table=["gene_id,1,2", "10,1,3"])
    with pytest.raises(UserError, match="the first column is 'gene_id'"):
        read_expression(folder, format="ivygap", unit="fpkm")
    write_ivygap(folder, genes=[(10, "EGFR")], table=["gene_id\\rna_well_id,1,1", "10,1,3"])
    with pytest.raises(UserError, match="'1' stands twice"):
        read_expression(folder, format="ivygap", unit="fpkm")
    write_ivygap(folder, genes=[(10, "EGFR")], table=["gene_id\\rna_well_id,1,2", "10,1,ten"])
    with pytest.raises(UserError, match=r"fpkm_table.csv, row 2, column 2: 'ten' is not a number"):
        read_expression(folder, format="ivygap", unit="fpkm")
    write_ivygap(folder, genes=[(10, "EGFR"), (10, "CD3E")], table=table)
    with pytest.raises(UserError, match="gene_id 10 stands twice"):
        read_expression(folder, format="ivygap", unit="fpkm")


GENES_BY_SAMPLES = pd.DataFrame(
    {"Hugo_Symbol": ["EGFR", "CD3E", "TP53"], "Entrez_Gene_Id": [1956, 916, 7157], "P1": [1, 2, 3], "P2": [4.5, 5, 6]}
)
EXPECTED = {"EGFR": [1.0, 4.5], "CD3E": [2.0, 5.0], "TP53": [3.0, 6.0]}


def save(table: pd.DataFrame, path: Path) -> Path:
    """Write a table in the form its name asks for."""
    separator = "\t" if ".tsv" in path.name else ","
    text = table.to_csv(sep=separator, index=False)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.name, text)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["m.tsv", "m.csv", "m.tsv.gz", "m.csv.zip", "m.parquet"])
@pytest.mark.parametrize("by_samples", [True, False])
def test_matrix_orientation_is_found_by_known_genes(tmp_path, name, by_samples):
    table = GENES_BY_SAMPLES
    if by_samples:
        table = table.set_index("Hugo_Symbol").drop(columns="Entrez_Gene_Id").T.rename_axis("id").reset_index()
        table.columns.name = None
    profiles = read_expression(save(table, tmp_path / name), format="matrix", unit="log")
    assert profiles.index.tolist() == ["P1", "P2"]
    assert profiles.to_dict("list") == EXPECTED


def test_matrix_may_leave_its_gene_column_unnamed_and_holds_no_summary_rows(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text('""\t"P1"\t"P2"\nN_unmapped\t9\t9\n"EGFR"\t1\t0\nTP53\t3\t4\n__no_feature\t9\t9\n')
    profiles = read_expression(path, format="matrix", unit="counts")
    assert profiles.columns.tolist() == ["EGFR", "TP53"]
    np.testing.assert_allclose(profiles["TP53"], [np.log2(750_001), np.log2(1_000_001)], rtol=1e-6)


def test_matrix_of_ensembl_ids_gets_symbols_and_loses_versions(tmp_path):
    table = GENES_BY_SAMPLES.assign(Hugo_Symbol=[EGFR, CD3E, "ENSG00000999999.3"]).drop(columns="Entrez_Gene_Id")
    profiles = read_expression(save(table, tmp_path / "m.tsv"), format="matrix", unit="log")
    assert profiles.columns.tolist() == ["EGFR", "CD3E", "ENSG00000999999"]


def test_matrix_suffix_sets_gene_columns_apart(tmp_path):
    table = pd.DataFrame(
        {"": [0, 1], "case": ["A", "B"], "age": [50, 60], "EGFR_cnv": [1, 2], "EGFR_rnaseq": [0.5, None]}
    )
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="zscore", suffix="_rnaseq")
    assert profiles.columns.tolist() == ["EGFR"]
    assert profiles.index.tolist() == ["A"]
    with_suffix_left = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="zscore", suffix="_cnv")
    assert with_suffix_left["EGFR"].to_dict() == {"A": 1.0, "B": 2.0}


def test_matrix_without_suffix_ignores_columns_not_named_like_genes(tmp_path):
    table = pd.DataFrame({"case": ["A", "B"], "age": [50, 60], "EGFR": [1, 2], "C9orf72": [3, 4], "HLA-A": [5, 6]})
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles.columns.tolist() == ["EGFR", "C9orf72", "HLA-A"]


def test_matrix_expression_id_column_comes_before_other_text(tmp_path):
    table = pd.DataFrame({"case": ["A", "A"], "expression_id": [7, 8], "EGFR": [1, 2]})
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles["EGFR"].to_dict() == {"7": 1.0, "8": 2.0}


def test_matrix_repeated_rows_are_one_profile_and_differing_ones_an_error(tmp_path):
    table = pd.DataFrame({"case": ["A", "B", "A"], "EGFR": [1.0, 2.0, 1.0], "CD3E": [3.0, None, 3.0]})
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles["EGFR"].to_dict() == {"A": 1.0, "B": 2.0}
    assert np.isnan(profiles.at["B", "CD3E"])
    table.loc[2, "EGFR"] = 9.0
    with pytest.raises(UserError, match="two different profiles are both case A"):
        read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")


def test_matrix_errors(tmp_path):
    path = tmp_path / "m.tsv"
    bad = GENES_BY_SAMPLES.astype({"P2": object})
    bad.loc[1, "P2"] = "n.d."
    with pytest.raises(UserError, match=r"m.tsv, row 3, column P2: 'n.d.' is not a number"):
        read_expression(save(bad, path), format="matrix", unit="log")
    unknown = GENES_BY_SAMPLES.assign(Hugo_Symbol=["X1", "X2", "X3"])
    with pytest.raises(UserError, match="no known gene symbol"):
        read_expression(save(unknown, path), format="matrix", unit="log")
    with pytest.raises(UserError, match="no profile found"):
        read_expression(save(GENES_BY_SAMPLES[["Hugo_Symbol"]], path), format="matrix", unit="log")
    path.write_text("gene\tP1\tP1\nEGFR\t1\t2\n")
    with pytest.raises(UserError, match="'P1' stands twice"):
        read_expression(path, format="matrix", unit="log")
    path.write_text("gene\tP1\tP2\nEGFR\t1\t2\t3\n")
    with pytest.raises(UserError, match="is not a regular table"):
        read_expression(path, format="matrix", unit="log")
    path.write_text("gene\tP1\tP2\nEGFR\t1\tinf\n")
    with pytest.raises(UserError, match="profile P2, gene EGFR: inf is infinite"):
        read_expression(path, format="matrix", unit="log")
    path.write_text("case\tEGFR\nA\t1\n\t2\n")
    with pytest.raises(UserError, match="row 3: case is empty"):
        read_expression(path, format="matrix", unit="log")
    path.write_text("gene\tP1\nEGFR\t-2\n")
    with pytest.raises(UserError, match="gene EGFR: -2 is negative; tpm cannot be"):
        read_expression(path, format="matrix", unit="tpm")
    assert read_expression(path, format="matrix", unit="log").at["P1", "EGFR"] == -2


def test_matrix_broken_archives(tmp_path):
    path = save(GENES_BY_SAMPLES, tmp_path / "m.tsv.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match="cannot be decompressed"):
        read_expression(path, format="matrix", unit="log")
    (tmp_path / "m.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="is not a readable Parquet"):
        read_expression(tmp_path / "m.parquet", format="matrix", unit="log")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "y")
    with pytest.raises(UserError, match="holds 2 files"):
        read_expression(tmp_path / "two.zip", format="matrix", unit="log")


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
    (tmp_path / "b.h5ad").write_bytes(b"\x89HDF nonsense")
    with pytest.raises(UserError, match="is not a readable h5ad"):
        read_expression(tmp_path / "b.h5ad", format="h5ad", unit="counts")


def test_the_tcga_table_as_published(real_data):
    path = real_data / "omics/tcga_gbmlgg_all_clean.csv.zip"
    profiles = read_expression(path, format="matrix", unit="zscore", suffix="_rnaseq")
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        table = pd.read_csv(file)
    assert profiles.shape == (table["case_id"].nunique(), 1544) == (569, 1544)
    row = table[table["case_id"] == "TCGA-06-0125"].iloc[0]
    assert profiles.at["TCGA-06-0125", "EGFR"] == pytest.approx(row["EGFR_rnaseq"])
    assert not profiles.isna().any(axis=None)


def test_collect_profiles_keeps_shared_genes_in_sorted_rows(tmp_path):
    write_gdc(tmp_path / "gdc" / "b" / f"x{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / "gdc" / "a" / f"x{ENDING}", GDC_ROWS)
    table = ["gene_id\\rna_well_id,20,10", "1,1,3", "2,0,7", "3,9,9"]
    ivygap = write_ivygap(tmp_path / "ivy", genes=[(1, "EGFR"), (2, "CD3E"), (3, "A1BG")], table=table)
    sources = [
        {"cohort": "ivy", "format": "ivygap", "unit": "fpkm", "path": str(ivygap), "suffix": None},
        {"cohort": "gdc", "format": "gdc-star", "unit": "tpm", "path": tmp_path / "gdc"},
    ]
    collect_profiles(sources, tmp_path / "profiles.parquet")
    profiles = read_parquet(tmp_path / "profiles.parquet")
    assert profiles.columns.tolist() == ["cohort", "expression_id", "CD3E", "EGFR"]
    assert profiles["cohort"].tolist() == ["gdc", "gdc", "ivy", "ivy"]
    assert profiles["expression_id"].tolist() == ["a", "b", "10", "20"]
    assert profiles["EGFR"].tolist() == [3.0, 3.0, 2.0, 1.0]
    assert profiles["EGFR"].dtype == np.float32
    assert read_provenance(tmp_path / "profiles.parquet")["settings"]["sources"][1]["unit"] == "tpm"
    first = (tmp_path / "profiles.parquet").read_bytes()
    collect_profiles(sources[::-1], tmp_path / "again.parquet")
    again = read_parquet(tmp_path / "again.parquet")
    pd.testing.assert_frame_equal(profiles, again)
    collect_profiles(sources, tmp_path / "profiles.parquet")
    assert (tmp_path / "profiles.parquet").read_bytes() == first


def test_collect_profiles_names_cohorts_without_a_shared_gene(tmp_path):
    paths = {name: tmp_path / f"{name}.tsv" for name in ("one", "two")}
    paths["one"].write_text("gene\tP1\nEGFR\t1\n")
    paths["two"].write_text("gene\tP1\nCD3E\t1\n")
    sources = [{"cohort": name, "format": "matrix", "unit": "log", "path": path} for name, path in paths.items()]
    with pytest.raises(UserError, match=r"cohorts one and two have no gene in common \(EGFR, ... and CD3E"):
        collect_profiles(sources, tmp_path / "profiles.parquet")
