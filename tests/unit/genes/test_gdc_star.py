"""The reader of GDC downloads: files in the published layout, values worked out by hand."""

import logging
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from layouts import ENDING, GDC_ROWS, SHEET_HEADER, write_gdc

from ksfusion.core.errors import UserError
from ksfusion.genes import read_expression
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.files import folder_digest
from ksfusion.genes.expression.profiles import join_cohorts


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


def test_gdc_sample_sheet_names_profiles_by_sample(tmp_path):
    write_gdc(tmp_path / "files" / "uuid-1" / f"a{ENDING}")
    write_gdc(tmp_path / "files" / "uuid-2" / f"b{ENDING}", [(*row[:2], 0, 1, 0) for row in GDC_ROWS])
    kind = ["Transcriptome Profiling", "Gene Expression Quantification", "TCGA-GBM"]
    tissue = ["Tumor", "Primary", "Solid Tissue", "Snap Frozen"]
    rows = [
        ["uuid-2", f"b{ENDING}", *kind, "TCGA-06-0125", "TCGA-06-0125-02A", *tissue],
        ["uuid-1", f"a{ENDING}", *kind, "TCGA-06-0125", "TCGA-06-0125-01A", *tissue],
        ["uuid-3", f"c{ENDING}", *kind, "TCGA-06-0126", "TCGA-06-0126-01A", *tissue],
    ]
    sheet = tmp_path / "gdc_sample_sheet.2025-09-30.tsv"
    sheet.write_text("\n".join("\t".join(row) for row in [SHEET_HEADER, *rows]) + "\n")
    profiles = read_expression(tmp_path / "files", format="gdc-star", unit="tpm", sample_sheet=sheet)
    assert profiles["EGFR"].to_dict() == {"TCGA-06-0125-01A": 3.0, "TCGA-06-0125-02A": 1.0}


def test_gdc_files_are_opened_for_their_values_once(tmp_path, monkeypatch):
    for name in "abc":
        write_gdc(tmp_path / name / f"x{ENDING}")
    parsed = []
    read_csv = pyarrow.csv.read_csv

    def counted(file, **options):
        parsed.append(Path(file.name).parent.name)
        return read_csv(file, **options)

    monkeypatch.setattr(pyarrow.csv, "read_csv", counted)
    join_cohorts([ExpressionSource(cohort="gdc", format="gdc-star", unit="tpm", path=str(tmp_path))])
    assert parsed == ["a", "b", "c"]


def test_gdc_truncated_and_duplicated_files(tmp_path):
    write_gdc(tmp_path / "u" / f"a{ENDING}", GDC_ROWS)
    write_gdc(tmp_path / "v" / f"b{ENDING}", GDC_ROWS[:2])
    with pytest.raises(UserError, match="has other genes than"):
        read_expression(tmp_path, format="gdc-star", unit="tpm")
    write_gdc(tmp_path / "u" / f"b{ENDING}", GDC_ROWS)
    with pytest.raises(UserError, match="are both u"):
        read_expression(tmp_path, format="gdc-star", unit="tpm")


def test_the_digest_of_a_folder_knows_a_file_that_is_overwritten(tmp_path):
    file = write_gdc(tmp_path / f"a/a{ENDING}")
    write_gdc(tmp_path / f"b{ENDING}")
    digest = folder_digest(tmp_path)
    assert digest.startswith("2 files ")
    (tmp_path / "a/annotations.txt").write_text("not read")
    assert folder_digest(tmp_path) == digest
    write_gdc(file, GDC_ROWS[:2])
    assert folder_digest(tmp_path) != digest
    assert folder_digest(tmp_path / "none") == ""


def write_sheet(path, rows):
    lines = ["File ID\tFile Name\tSample ID", *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_two_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    write_gdc(tmp_path / "files/uuid-1" / f"x{ENDING}")
    write_gdc(tmp_path / "files/uuid-2" / f"x{ENDING}", [(*row[:2], 0, 1, 0) for row in GDC_ROWS])
    rows = [("uuid-1", f"x{ENDING}", "TCGA-06-0125-01A"), ("uuid-2", f"x{ENDING}", "TCGA-06-0125-02A")]
    for order in (rows, rows[::-1]):
        sheet = write_sheet(tmp_path / "sheet.tsv", order)
        profiles = read_expression(tmp_path / "files", format="gdc-star", unit="tpm", sample_sheet=sheet)
        assert profiles["EGFR"].to_dict() == {"TCGA-06-0125-01A": 3.0, "TCGA-06-0125-02A": 1.0}
    (tmp_path / "files/uuid-2").rename(tmp_path / "files/renamed")
    with pytest.raises(UserError, match="this name for TCGA-06-0125-01A and TCGA-06-0125-02A; keep the file in the"):
        read_expression(tmp_path / "files", format="gdc-star", unit="tpm", sample_sheet=sheet)


def test_two_aliquots_of_one_sample_are_never_chosen_between_in_silence(tmp_path):
    for folder in ("uuid-1", "uuid-2"):
        write_gdc(tmp_path / "files" / folder / f"{folder}{ENDING}")
    sheet = write_sheet(
        tmp_path / "sheet.tsv", [(name, f"{name}{ENDING}", "TCGA-06-0125-01A") for name in ("uuid-1", "uuid-2")]
    )
    said = f"uuid-1/uuid-1{ENDING} and uuid-2/uuid-2{ENDING} are both TCGA-06-0125-01A; remove one"
    with pytest.raises(UserError, match=said):
        read_expression(tmp_path / "files", format="gdc-star", unit="tpm", sample_sheet=sheet)
