"""Tables as documents, read back with python-docx."""

import math

import docx
import pytest

from ksfusion.results.tables.layout import Cell, Layout, Row
from ksfusion.results.tables.word import write_word

MADE_BY = {"ksfusion": "9.9", "code": "abc", "settings": {}}
NAN = math.nan
TOLD = Cell(70.04, 60.0, 80.0, NAN, best=False)
PUBLISHED, MISSING = Cell(1, NAN, NAN, 2.5, best=False), Cell(NAN, NAN, NAN, NAN, best=False)
LAYOUT = Layout(
    groups=(("Diagnosis <b>&", ("AUC", "Acc.")), ("=Survival\x00", ("C-index",))),
    rows=(
        Row("snn", "SNN", "g", (TOLD, PUBLISHED, MISSING)),
        Row("ksfusion", "KS-Fusion", "p+g", (Cell(75.25, 65.0, 84.0, NAN, best=True, differs=True),) * 3),
    ),
    notes=("In percent.",),
)


@pytest.fixture
def document(tmp_path):
    write_word([("Table 1", LAYOUT), ("Empty", Layout((), (), ()))], tmp_path / "t.docx", MADE_BY, study="My & study")
    return docx.Document(str(tmp_path / "t.docx"))


def test_cells_are_where_they_belong(document):
    (table,) = document.tables
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    assert rows[0] == ["", "", "Diagnosis <b>&", "Diagnosis <b>&", "=Survival"]
    assert rows[1] == ["Method", "Modalities", "AUC", "Acc.", "C-index"]
    assert rows[2] == ["SNN", "g", "70.0\n60.0\N{EN DASH}80.0", "1.0\npaper 2.50", "\N{EN DASH}"]
    assert rows[3][2] == "75.2\N{DAGGER}\n65.0\N{EN DASH}84.0"
    bold = [[run.bold for run in cell.paragraphs[0].runs] for cell in table.rows[3].cells]
    assert bold[0] == [False] and bold[2] == [True]


def test_what_stands_around_them(document):
    texts = [paragraph.text for paragraph in document.paragraphs]
    assert texts == ["My & study", "Table 1", "In percent.", "Empty", "No such method in this run."]
    assert document.core_properties.comments == "ksfusion 9.9, code abc"
    assert document.sections[0].page_width > document.sections[0].page_height


def test_the_same_tables_are_the_same_file(tmp_path, monkeypatch):
    for name, now in (("a", 1.0e9), ("b", 1.5e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write_word([("Table 1", LAYOUT)], tmp_path / name, MADE_BY)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
