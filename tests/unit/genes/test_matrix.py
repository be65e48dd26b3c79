"""The reader of tables that people make: both orientations, every form, what is data and what is not."""

import numpy as np
import pandas as pd
import pytest
from layouts import CD3E, EGFR, save
from workbooks import write_workbook

from ksfusion.core.errors import UserError
from ksfusion.genes import read_expression

GENES_BY_SAMPLES = pd.DataFrame(
    {"Hugo_Symbol": ["EGFR", "CD3E", "TP53"], "Entrez_Gene_Id": [1956, 916, 7157], "P1": [1, 2, 3], "P2": [4.5, 5, 6]}
)
EXPECTED = {"EGFR": [1.0, 4.5], "CD3E": [2.0, 5.0], "TP53": [3.0, 6.0]}


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


@pytest.mark.parametrize("by_samples", [True, False])
@pytest.mark.parametrize("name", ["m.xlsx", "m.csv"])
def test_matrix_in_a_workbook_or_with_semicolons_and_decimal_commas(tmp_path, name, by_samples):
    rows = [["Gen", "P1", "P2"], ["EGFR", 1, 4.5], ["CD3E", 2, 5], ["TP53", 3, 6]]
    rows = [list(row) for row in zip(*rows, strict=True)] if by_samples else rows
    if name == "m.xlsx":
        # Rows above the table and an empty one within it are none.
        write_workbook(tmp_path / name, {"RNA": [*rows[:2], [None], *rows[2:]]}, first_row=2)
    else:
        lines = [";".join(str(cell).replace(".", ",") for cell in row) for row in rows]
        (tmp_path / name).write_text("\r\n".join(lines) + "\r\n")
    profiles = read_expression(tmp_path / name, format="matrix", unit="log")
    assert profiles.index.tolist() == ["P1", "P2"]
    assert profiles.to_dict("list") == EXPECTED


def test_matrix_in_a_workbook_keeps_ids_and_names_its_wrong_cells(tmp_path):
    path = write_workbook(tmp_path / "m.xlsx", {"a": [["sample", "EGFR", "CD3E"], [7, 1, "n/a"], ["08", 2, "-"]]})
    profiles = read_expression(path, format="matrix", unit="log")
    assert profiles.index.tolist() == ["7", "08"] and profiles["CD3E"].isna().all()
    write_workbook(path, {"a": [["gene", "P1"], ["EGFR", 1], ["CD3E", "viel"]]})
    with pytest.raises(UserError, match=r"m\.xlsx, row 3, column P1: 'viel' is not a number"):
        read_expression(path, format="matrix", unit="log")
    write_workbook(path, {"a": [["gene", "P1"]]})
    with pytest.raises(UserError, match=r"m\.xlsx: has a header and no rows under it"):
        read_expression(path, format="matrix", unit="log")
    write_workbook(path, {"a": [["gene", "P1"], ["EGFR", 1, 2]]})
    with pytest.raises(UserError, match=r"m\.xlsx: a cell has no column's name above it"):
        read_expression(path, format="matrix", unit="log")


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


def test_matrix_of_log_values_may_be_negative(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text("gene\tP1\nEGFR\t-2\n")
    assert read_expression(path, format="matrix", unit="log").at["P1", "EGFR"] == -2


def test_matrix_blanks_round_names_are_none_of_theirs(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text("gene\t P1\tP2 \n EGFR\t1\t2\nCD3E \t3\t4\n")
    profiles = read_expression(path, format="matrix", unit="log")
    assert profiles.index.tolist() == ["P1", "P2"]
    assert profiles.columns.tolist() == ["EGFR", "CD3E"]
    path.write_text("case\tEGFR \tCD3E\n P1\t1\t3\nP2 \t2\t4\n")
    pd.testing.assert_frame_equal(read_expression(path, format="matrix", unit="log"), profiles)


def test_matrix_with_the_header_one_short_as_r_writes_it(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text('"P1"\t"P2"\n"EGFR"\t1\t2\n"CD3E"\t3\t4\n')
    profiles = read_expression(path, format="matrix", unit="log")
    assert profiles.T.to_dict() == {"P1": {"EGFR": 1, "CD3E": 3}, "P2": {"EGFR": 2, "CD3E": 4}}


@pytest.mark.parametrize("name", ["ENTREZID", "entrez_gene_id", "chromosome", "Chr", "START", "gene_length", "strand"])
def test_matrix_numbers_that_describe_a_gene_are_no_profile(tmp_path, name):
    table = pd.DataFrame({"SYMBOL": ["EGFR", "CD3E"], name: [7, 11], "P1": [1.0, 2.0]})
    assert read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log").index.tolist() == ["P1"]
    # Chromosomes are numbers and letters.
    table[name] = ["7", "X"]
    assert read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log").index.tolist() == ["P1"]


@pytest.mark.parametrize("name", ["AGE", "SEX", "GRADE", "OS.time", "OS", "EVENT", "ENTREZID", "PURITY", "age"])
def test_matrix_numbers_that_describe_a_patient_are_no_gene(tmp_path, name):
    table = pd.DataFrame({"case": ["A", "B"], name: [50, 60], "EGFR": [1, 2], "GC": [3, 4]})
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    # GC is a gene, the vitamin D binding protein.
    assert profiles.columns.tolist() == ["EGFR", "GC"]


def test_matrix_of_text_beside_the_genes_is_ignored(tmp_path):
    table = pd.DataFrame(
        {"id": ["ENSG1", "ENSG2"], "symbol": ["EGFR", "CD3E"], "what it is": ["a", "b"], "P1": [1, 2], "biotype": "x"}
    )
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles.index.tolist() == ["P1"]
    assert profiles.columns.tolist() == ["EGFR", "CD3E"]


def test_matrix_profile_without_any_value_is_left_out_and_said_so(tmp_path, caplog):
    path = tmp_path / "m.tsv"
    path.write_text("gene\tP1\tP2\nEGFR\t1\tNA\nCD3E\t2\t\n")
    assert read_expression(path, format="matrix", unit="log").index.tolist() == ["P1"]
    assert "1 profiles without any value are left out" in caplog.text


def test_matrix_in_parquet_with_an_index(tmp_path):
    table = pd.DataFrame({"EGFR": [1.0, 2.0], "CD3E": [3.0, 4.0]}, index=["P1", "P2"])
    table.to_parquet(tmp_path / "a.parquet")
    table.T.rename_axis("gene").to_parquet(tmp_path / "b.parquet")
    for name in ("a", "b"):
        profiles = read_expression(tmp_path / f"{name}.parquet", format="matrix", unit="log")
        assert profiles.T.to_dict() == {"P1": {"EGFR": 1, "CD3E": 3}, "P2": {"EGFR": 2, "CD3E": 4}}


def test_matrix_in_gct(tmp_path):
    path = tmp_path / "m.gct"
    path.write_text(f"#1.2\n2\t2\nName\tDescription\tP1\tP2\n{EGFR}\tEGFR\t1\t2\n{CD3E}\tCD3E\t3\t4\n")
    profiles = read_expression(path, format="matrix", unit="log")
    assert profiles.T.to_dict() == {"P1": {"EGFR": 1, "CD3E": 3}, "P2": {"EGFR": 2, "CD3E": 4}}


@pytest.mark.parametrize("by_samples", [True, False])
def test_matrix_of_names_with_their_entrez_id(tmp_path, by_samples):
    table = pd.DataFrame({"gene": ["EGFR|1956", "CD3E|916", "?|100130426"], "P1": [1.0, 2.0, 3.0]}).set_index("gene")
    table = table.T.rename_axis("case") if by_samples else table
    profiles = read_expression(save(table.reset_index(), tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles.loc["P1", ["EGFR", "CD3E"]].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("missing", ["NA", "na", "n/a", "NaN", "null", ""])
def test_matrix_of_missing_values(tmp_path, missing):
    path = tmp_path / "m.tsv"
    path.write_text(f"gene\tP1\tP2\nEGFR\t1\t{missing}\nCD3E\t2\t3\n")
    profiles = read_expression(path, format="matrix", unit="log")
    assert np.isnan(profiles.at["P2", "EGFR"]) and profiles.at["P2", "CD3E"] == 3


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("sex\tcase\tEGFR", ["M", "A"]),
        ("IDH_status\tcase\tEGFR", ["WT", "A"]),
        ("patient\tsex\tEGFR", ["101", "F"]),
        ("patient\ttumor type\tEGFR", ["101", "GBM"]),
    ],
)
def test_matrix_ids_are_never_about_patients(tmp_path, header, ids):
    path = tmp_path / "m.tsv"
    path.write_text("\n".join([header, *("\t".join([*ids, value]) for value in ("1.5", "1.5"))]) + "\n")
    profiles = read_expression(path, format="matrix", unit="log")
    assert profiles.index.tolist() == [ids[1] if "case" in header else ids[0]]


def test_matrix_columns_of_text_that_may_be_profiles_or_genes_are_named(tmp_path, caplog):
    path = tmp_path / "m.tsv"
    path.write_text("gene\tP0\tP1\nEGFR\tlow\t1\nCD3E\thigh\t2\n")
    assert read_expression(path, format="matrix", unit="log").index.tolist() == ["P1"]
    assert "m.tsv: columns P0 hold text: they are ignored" in caplog.text
    path.write_text("case\tXYZ1\tEGFR\nA\tlow\t1\nB\thigh\t2\n")
    assert read_expression(path, format="matrix", unit="log").columns.tolist() == ["EGFR"]
    assert "column XYZ1 is named like a gene and holds text: it is ignored" in caplog.text


def test_gene_names_that_a_spreadsheet_made_dates_of_are_told(tmp_path, caplog):
    path = tmp_path / "m.tsv"
    path.write_text("gene\tP1\nEGFR\t1\n1-Mar\t2\n2-Sep\t3\n")
    read_expression(path, format="matrix", unit="log")
    assert "2 gene names are dates, as spreadsheets make of SEPTIN and MARCHF symbols (1-Mar, 2-Sep)" in caplog.text
