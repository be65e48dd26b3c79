"""Tables as people have them: separated by tabs, semicolons or commas, or in a workbook."""

import datetime
import gzip

import pyarrow.csv
import pytest
from workbooks import write_workbook

from ksfusion.core import memory
from ksfusion.core.errors import UserError
from ksfusion.core.missing import MISSING, is_missing
from ksfusion.core.numbers import decimal_point
from ksfusion.core.tables import delimiter_of, read_text_table

ROWS = [["Fall", "Größe", "Bemerkung"], ["P-1", "12,5", "a, b"], ["", "", ""], ["P-2", "7", ""]]


@pytest.mark.parametrize("delimiter", "\t;,")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_text(tmp_path, delimiter, encoding):
    quoted = [[f'"{cell}"' if delimiter != "\t" and "," in cell else cell for cell in row] for row in ROWS]
    path = tmp_path / "t.csv"
    path.write_bytes("\r\n".join(map(delimiter.join, quoted)).encode(encoding))
    table = read_text_table(path)
    assert table.header == ("Fall", "Größe", "Bemerkung")
    assert table.rows == [(2, ["P-1", "12,5", "a, b"]), (4, ["P-2", "7", ""])]
    assert table.has_decimal_commas == (delimiter == ";")


def test_decimal_commas():
    assert decimal_point("12,5") == "12.5" and decimal_point("-1,5E3") == "-1.5E3"
    for text in ("1.234,5", "1,234,567", "a,b", "7", ","):
        assert decimal_point(text) == text


def test_a_packed_table(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a;b\n1;2\n"))
    assert read_text_table(path).rows == [(2, ["1", "2"])]


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a\tb, c, d", "\t"), ('"a, b, c";d', ";"), ("a,b;c,d", ","), ("a;b", ";"), ("case_id", "\t")],
)
def test_what_separates_columns(header, delimiter):
    assert delimiter_of(header) == delimiter


def test_columns_and_fields_that_spreadsheets_leave_behind(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b;;\n1;2;;\n3;4\n5;6;;x\n")
    table = read_text_table(path)
    assert table.header == ("a", "b")
    assert table.rows == [(2, ["1", "2"]), (3, ["3", "4"]), (4, ["5", "6", "", "x"])]


def test_a_workbook(tmp_path):
    day = datetime.date(2024, 3, 1)
    cells = [["Fall", "Überleben\n(Monate)", "Tag", "ja"], [7, 12.5, day, True], [None] * 4, ["1E5", 3.0, "n/a", False]]
    path = write_workbook(tmp_path / "klinik.xlsx", {"leer": [], "Klinik": cells}, first_row=3)
    table = read_text_table(path)
    assert table.header == ("Fall", "Überleben (Monate)", "Tag", "ja") and table.sheet == ""
    assert table.rows == [(4, ["7", "12.5", "2024-03-01", "true"]), (6, ["1E5", "3", "n/a", "false"])]
    two = write_workbook(tmp_path / "two.xlsx", {"eins": cells, "zwei": cells})
    assert read_text_table(two).sheet == "eins"


def test_a_workbook_that_is_none(tmp_path):
    path = write_workbook(tmp_path / "a.xlsx", {"leer": []})
    with pytest.raises(UserError, match="none of its sheets holds a cell"):
        read_text_table(path)
    content = write_workbook(path, {"a": ROWS}).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"a\.xlsx: "):
        read_text_table(path)
    content = content.replace(b"xl/workbook.xml", b"xl/workbook.xmx")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.xlsx: "):
        read_text_table(path)


def test_a_cell_far_from_the_others_is_refused_before_it_takes_all_memory(tmp_path, monkeypatch):
    rows = [["a", "b"], [1, 2]]
    path = write_workbook(tmp_path / "far.xlsx", {"a": rows})
    monkeypatch.setattr(memory, "memory_limit", lambda: 2**30)
    assert read_text_table(path).rows == [(2, ["1", "2"])]
    import zipfile

    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    parts[sheet] = parts[sheet].replace(b"</sheetData>", far)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match=r"far\.xlsx: 1,048,576 rows x 16,384 columns take 512\.0 GiB"):
        read_text_table(path)


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"a\x81b\n"])
def test_what_is_no_text(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_text_table(tmp_path / "t")


def test_what_is_empty_is_so_everywhere():
    for text in ("", "n/a", "N/A", "Unknown", "UNKNOWN", "-", " - ", "NA", "NaN"):
        assert is_missing(text)
    for text in ("none", "no", "0", "-1", "known"):
        assert not is_missing(text)
    # All that Arrow knows is empty too.
    assert {word.lower() for word in pyarrow.csv.ConvertOptions().null_values} <= MISSING
