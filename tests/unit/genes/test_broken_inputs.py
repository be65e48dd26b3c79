"""What is wrong with an expression file is said in one line: which file, where, and what to do."""

import gzip
import json
import zipfile

import pytest
from layouts import ENDING, GDC_HEADER, GDC_ROWS, write_gdc, write_ivygap

from ksfusion.cli import main
from ksfusion.core.errors import UserError
from ksfusion.genes import read_expression
from ksfusion.genes.config import ReadExpressionSettings

GDC, IVYGAP, H5AD = {"format": "gdc-star", "unit": "tpm"}, {"format": "ivygap", "unit": "fpkm"}, {"format": "h5ad"}
IVYGAP_TABLE = ["gene_id\\rna_well_id,1,2", "10,1,3"]


def text(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def archive(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, "gene\tP1\nEGFR\t1\n")

    return write


def gdc(*files):
    """Write GDC files from (folder, rows, header)."""

    def write(path):
        for folder, rows, header in files:
            write_gdc(path / folder / f"x{ENDING}", rows, header=header)

    return write


def ivygap(genes, table):
    return lambda path: write_ivygap(path, genes=genes, table=table)


FPKM_LESS = ["fpkm" if name == "fpkm_unstranded" else name for name in GDC_HEADER]
BROKEN = {
    "missing": (lambda path: None, {}, ": not found; check the path of cohort.expression"),
    "empty": (text(""), {}, ": is empty; download it again"),
    "git_lfs_pointer": (
        text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"),
        {},
        ": is a git-LFS pointer, not the data; fetch it with git lfs pull",
    ),
    "web_page": (
        text("\n<!DOCTYPE html>\n<html>"),
        {},
        ": is a web page, not data; the download failed, fetch it again",
    ),
    "web_page_packed": (
        text(gzip.compress(b"<html>404</html>")),
        {},
        ": is a web page, not data; the download failed, fetch it again",
    ),
    "excel": (
        archive("[Content_Types].xml", "xl/workbook.xml"),
        {},
        ": is an Excel workbook that cannot be read (",
    ),
    "excel_97": (
        text(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        {},
        ": is an Excel workbook; save the sheet that is wanted as CSV or tab-separated text",
    ),
    "zip_of_two": (archive("a.csv", "b.csv"), {}, ": holds 2 files; pack the table alone"),
    "cut_gzip": (
        text(gzip.compress(b"gene\tP1\nEGFR\t1\n" * 99)[:-9]),
        {},
        ": cannot be decompressed (Compressed file ended before the end-of-stream marker was reached); "
        "download it again",
    ),
    "thousands_beside_decimal_commas": (
        text("gene;P1;P2\nEGFR;1,5;2\nCD3E;2,5;1.234\n"),
        {},
        ", row 3, column P2: '1.234' is not a number; other numbers of this table have decimal commas: write it "
        "without points",
    ),
    "blanks_between": (
        text("gene P1\nEGFR 1\n"),
        {},
        ": its columns are separated by neither tabs nor commas; save it with tabs, or commas, between them",
    ),
    "lines_of_an_old_mac": (
        text("gene\tP1\rEGFR\t1\r"),
        {},
        ": its lines end in CR alone, as old Macs wrote them; save it with line feeds (LF)",
    ),
    "latin_1": (
        text("gene\tname\tP1\nEGFR\ta\t1\nCD3E\trécepteur\t1\n".encode("latin-1")),
        {},
        ": column name is not UTF-8 text; save the table as UTF-8",
    ),
    "latin_1_header": (
        text("gène\tP1\nEGFR\t1\n".encode("latin-1")),
        {},
        ": is not UTF-8 text; save the table as UTF-8",
    ),
    "utf_16": (text("gene\tP1\nEGFR\t1\n".encode("utf-16")), {}, ": is not UTF-8 text; save the table as UTF-8"),
    "lost_header_name": (
        text("gene\tP1\nEGFR\t1\t2\n"),
        {},
        ": the row 'EGFR\\t1\\t2' has 3 fields, the header has 2; is the download complete?",
    ),
    "cut_row": (
        text("gene\tP1\tP2\nEGFR\t1\t2\nCD3E\t1\n"),
        {},
        ": the row 'CD3E\\t1' has 2 fields, the header has 3; is the download complete?",
    ),
    "cut_row_of_latin_1": (
        text("gene\tname\tP1\nEGFR\ta\t1\nCD3E\tré\n".encode("latin-1")),
        {},
        ": the row 'CD3E\\tr",
    ),
    "damaged_zip": (text(b"PK\x03\x04" + bytes(40)), {}, ": cannot be decompressed (File is not a zip file); download"),
    "empty_first_line": (
        text("\ngene\tP1\nEGFR\t1\n"),
        {},
        ": its first line is empty; begin the table with its header",
    ),
    "header_alone": (text("gene\tP1\n"), {}, ": has a header and no rows under it; download it again"),
    "decimal_comma": (
        text("gene\tP1\tP2\nEGFR\t1.5\t2.5\nCD3E\t1,5\t2\nTP53\t3.5\t1\n"),
        {},
        ", row 3, column P1: '1,5' is not a number; write it with a decimal point",
    ),
    "decimal_commas_in_a_whole_profile": (
        text("gene\tP1\tP2\nEGFR\t1,5\t2\nTP53\t2,5\t3\n"),
        {},
        ", row 2, column P1: '1,5' is not a number; write it with a decimal point",
    ),
    "decimal_commas_in_a_gene": (
        text("case\tEGFR\tXYZ1\nA\t1.5\t1,2\nB\t2.5\t1,3\n"),
        {},
        ", row 2, column XYZ1: '1,2' is not a number; write it with a decimal point",
    ),
    "thousands": (
        text('gene\tP1\nEGFR\t"1,234.5"\nTP53\t2\n'),
        {},
        ", row 2, column P1: '1,234.5' is not a number; write it without commas",
    ),
    "underscores": (
        text("gene\tP1\nEGFR\t1_000\nTP53\t2\n"),
        {},
        ", row 2, column P1: '1_000' is not a number; correct it",
    ),
    "true_and_false": (
        text("gene\tP1\tP2\nEGFR\ttrue\t1\nTP53\tfalse\t2\n"),
        {},
        ", row 2, column P1: 'True' is not a number; correct it, or remove the column",
    ),
    "dates": (
        text("gene\tP1\tP2\nEGFR\t2020-01-01\t1\nTP53\t2020-01-02\t2\n"),
        {},
        ", row 2, column P1: '2020-01-01",
    ),
    "two_dashes_and_a_number": (
        text("gene\tP1\nEGFR\t1\nTP53\t--1\n"),
        {},
        ", row 3, column P1: '--1' is not a number; correct it",
    ),
    "gct_1_3": (text("#1.3\n1\t1\t0\t0\nid\tP1\nEGFR\t1\n"), {}, ": is a GCT file of version 1.3; save it as version"),
    "no_id_but_sex": (text("sex\tEGFR\nM\t1\nF\t2\n"), {}, ": no column names the profiles; add expression_id"),
    "a_word_among_values": (
        text("gene\tP1\nEGFR\t1\nCD3E\tn.d.\n"),
        {},
        ", row 3, column P1: 'n.d.' is not a number; correct it",
    ),
    "a_profile_of_words": (
        text("gene\tP1\tP2\nEGFR\t1\thigh\nCD3E\t2\tlow\n"),
        {},
        ", row 2, column P2: 'high' is not a number; correct it",
    ),
    "a_profile_mostly_of_words": (
        text("gene\tP1\tP2\nEGFR\tlow\t1\nCD3E\tlow\t2\nTP53\t3\t4\n"),
        {},
        ", row 2, column P1: 'low' is not a number; correct it",
    ),
    "a_gene_of_words": (
        text("case\tEGFR\tCD3E\nA\tlow\t1\nB\thigh\t2\n"),
        {},
        ", row 2, column EGFR: 'low' is not a number; correct it",
    ),
    "no_profile": (text("gene\tname\nEGFR\ta\n"), {}, ": no profile found; its columns hold no numbers"),
    "profile_without_name": (
        text("gene\tP1\t\nEGFR\t1\t2\n"),
        {},
        ": column 3 of numbers has no name; name the profile",
    ),
    "profile_twice": (
        text("gene\tP1\tP1 \nEGFR\t1\t2\n"),
        {},
        ": 'P1' stands twice; profile ids and columns must differ",
    ),
    "two_profiles_of_one_id": (
        text("case\tEGFR\nA\t1\nA\t2\n"),
        {},
        ": two different profiles are both case A; give each its own id in a column expression_id",
    ),
    "profile_without_id": (text("case\tEGFR\nA\t1\n\t2\n"), {}, ", row 3: case is empty; fill it in"),
    "no_column_of_ids": (text("EGFR\tCD3E\n1\t2\n"), {}, ": no column names the profiles; add expression_id"),
    "no_known_gene": (
        text("gene\tP1\nX1\t1\n"),
        {},
        ": no known gene symbol or Ensembl id in its header or columns; check suffix and format",
    ),
    "no_gene_with_the_suffix": (
        text("case\tEGFR_rnaseq\nA\t1\n"),
        {"suffix": "_rna"},
        ": no known gene symbol or Ensembl id in its header or columns; check suffix and format",
    ),
    "negative": (
        text("gene\tP1\nEGFR\t-2\n"),
        {"unit": "tpm"},
        ": profile P1, gene EGFR: -2 is negative; tpm cannot be: check unit",
    ),
    "infinite": (text("gene\tP1\nEGFR\tinf\n"), {}, ": profile P1, gene EGFR: inf is infinite; correct it"),
    "a_folder": (lambda path: path.mkdir(), {}, ": format matrix wants a file"),
    "gdc_a_file": (text("gene\tP1\nEGFR\t1\n"), GDC, ": format gdc-star wants a folder"),
    "gdc_none": (
        lambda path: path.mkdir(),
        GDC,
        f": no *{ENDING} in it or its folders; check the path",
    ),
    "gdc_column": (
        gdc(("u", GDC_ROWS, FPKM_LESS)),
        {**GDC, "unit": "fpkm"},
        f"/u/x{ENDING}: no column fpkm_unstranded; it has gene_id, gene_name",
    ),
    "gdc_value": (
        gdc(("u", [(*GDC_ROWS[0][:3], "3,0x", 1), *GDC_ROWS[1:]], GDC_HEADER)),
        GDC,
        # Line 1 is the comment, 2 the header, 3 to 6 the N_ rows.
        f"/u/x{ENDING}, row 7, column tpm_unstranded: '3,0x' is not a number; write it with a decimal point",
    ),
    "gdc_negative": (
        gdc(("u", [(*GDC_ROWS[0][:2], -1, 3, 1), *GDC_ROWS[1:]], GDC_HEADER)),
        {**GDC, "unit": "counts"},
        ": profile u, gene TP53: -1 is negative; counts cannot be: check unit",
    ),
    "gdc_other_genes": (
        gdc(("u", GDC_ROWS, GDC_HEADER), ("v", GDC_ROWS[:2], GDC_HEADER)),
        GDC,
        f"/v/x{ENDING}: has other genes than ",
    ),
    "ivygap_other_table": (
        ivygap([(10, "EGFR")], ["gene_id,1,2", "10,1,3"]),
        IVYGAP,
        "/fpkm_table.csv: the first column is 'gene_id', not 'gene_id\\\\rna_well_id'; is it IvyGAP's table?",
    ),
    "ivygap_gene_unknown": (
        ivygap([(11, "EGFR")], IVYGAP_TABLE),
        IVYGAP,
        "/rows-genes.csv: no gene_id 10, which fpkm_table.csv has; download both",
    ),
    "ivygap_gene_twice": (
        ivygap([(10, "EGFR"), (10, "CD3E")], IVYGAP_TABLE),
        IVYGAP,
        "/rows-genes.csv: '10' stands twice; a gene_id names one gene; download it again",
    ),
    "ivygap_value": (
        ivygap([(10, "EGFR")], [IVYGAP_TABLE[0], "10,1,ten"]),
        IVYGAP,
        "/fpkm_table.csv, row 2, column 2: 'ten' is not a number; correct it",
    ),
    "damaged_parquet": (text(b"PAR1 and no more"), {}, ": is not a readable Parquet file ("),
    "damaged_h5ad": (text(b"\x89HDF nonsense"), H5AD, ": is not a readable h5ad file ("),
    "h5ad_git_lfs_pointer": (
        text("version https://git-lfs.github.com/spec/v1\n"),
        H5AD,
        ": is a git-LFS pointer, not the data; fetch it with git lfs pull",
    ),
}


def verb(sources):
    """Return the command that reads sources."""
    return ["read-expression", "--settings", ReadExpressionSettings(sources=sources).as_json()]


@pytest.mark.parametrize(
    ("write", "source", "expected", "of_settings"),
    [
        (
            gdc(("u", GDC_ROWS, GDC_HEADER)),
            {**GDC, "unit": "log"},
            "unit log is not in gdc-star files; use",
            "format gdc-star has no unit log; use counts or tpm or fpkm",
        ),
        (
            ivygap([(10, "EGFR")], IVYGAP_TABLE),
            {**IVYGAP, "unit": "tpm"},
            "IvyGAP publishes fpkm, not tpm; set unit: fpkm",
            "format ivygap has no unit tpm; use fpkm",
        ),
    ],
)
def test_a_unit_that_the_format_has_not(tmp_path, capsys, write, source, expected, of_settings):
    path = tmp_path / "input"
    write(path)
    with pytest.raises(UserError, match=f"{path}: {expected}"):
        read_expression(path, **source)
    settings = {"sources": [{"cohort": "C", "path": str(path), **source}]}
    with pytest.raises(SystemExit):
        main(["read-expression", "--settings", json.dumps(settings), "--output", str(tmp_path / "p.parquet")])
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and of_settings in printed


@pytest.mark.parametrize("name", BROKEN)
def test_broken_input_gives_one_line(tmp_path, capsys, name):
    write, source, expected = BROKEN[name]
    path = tmp_path / "input"
    write(path)
    source = {"cohort": "C", "format": "matrix", "unit": "log", "path": str(path), **source}
    with pytest.raises(SystemExit) as stopped:
        main([*verb([source]), "--output", str(tmp_path / "profiles.parquet")])
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {path}{expected}"), printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "profiles.parquet").exists()


def test_a_file_that_is_not_in_the_sample_sheet(tmp_path, capsys):
    write_gdc(tmp_path / "u" / f"x{ENDING}")
    sheet = tmp_path / "sheet.tsv"
    sheet.write_text("File ID\tFile Name\tCase ID\tSample ID\nu\tother.tsv\tTCGA-06-0125\tTCGA-06-0125-01A\n")
    source = {"cohort": "C", **GDC, "path": str(tmp_path), "sample_sheet": str(sheet)}
    with pytest.raises(SystemExit):
        main([*verb([source]), "--output", str(tmp_path / "p.parquet")])
    file, remedy = f"{tmp_path}/u/x{ENDING}", "download the sheet of the same cart"
    expected = f"error: {file}: is not in the sample sheet {sheet}; {remedy}\n"
    assert capsys.readouterr().err == expected
