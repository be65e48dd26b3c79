"""The table of modalities read back, its figure, and its section of the report."""

import re

import numpy as np
import pandas as pd
import pytest
from modalities import StandIn, audited, of_sum, planted, row_of, table_of
from report_files import report_of
from run_files import GRADING, SURVIVAL

from ksfusion.core.storage import write_tsv
from ksfusion.results.modalities.changes import ADDITIVE, GENES, PATCHES
from ksfusion.results.plots.modalities import draw_modalities, modalities_caption
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.report.modalities import modality_section
from ksfusion.results.tables.modalities import (
    COLUMNS,
    as_text,
    modality_table,
    read_modalities,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_table_is_read_back_and_shown(tmp_path):
    table = table_of(audited(StandIn(of_sum), planted(), GRADING))
    assert list(table.columns) == COLUMNS
    write_tsv(as_text(table), tmp_path / "modalities.tsv")
    read = read_modalities(tmp_path / "modalities.tsv")
    pd.testing.assert_frame_equal(read, table, atol=1e-4, rtol=0)
    assert read_modalities(None) is None
    section = modality_section(read, {"image": "data:,", "width": 10}, {}, ["A caveat."])
    (task,) = section["tasks"]
    assert task["columns"] == ["AUC", "lost: genes permuted", "lost: patches permuted", "lost: additive projection"]
    (cells,) = (row["cells"] for row in task["rows"])
    row = row_of(table, "auc", PATCHES)
    assert cells[0]["value"] == f"{row.value + row.drop:.1f}" and cells[2]["value"] == f"{row.drop:.1f}"
    assert cells[2]["interval"] == f"{row.ci_low:.1f} to {row.ci_high:.1f}".replace("-", "\N{MINUS SIGN}")
    assert section["figure"]["caption"].endswith("A caveat.")
    assert modality_section(None, None, {}) is None


def test_the_report_has_a_section_of_it_where_it_was_audited(tmp_path):
    table = table_of(audited(StandIn(of_sum), planted(), GRADING))
    write_tsv(as_text(table), tmp_path / "tables" / "modalities.tsv")
    (tmp_path / "figures").mkdir()
    with drawing_style():
        save_figure(
            draw_modalities(table, tasks=[GRADING], methods=["concat"]), tmp_path / "figures" / "modalities", ""
        )
    page = report_of(tmp_path, modalities=tmp_path / "tables" / "modalities.tsv")
    section = page.partition('<h2 id="modalities">')[2].partition("<h2")[0]
    assert '<a href="#modalities">Both modalities?</a>' in page and section.count("data:image/png") == 1
    row = row_of(table, "auc", GENES)
    assert f"<span>{row.drop:.1f}</span>" in section and "Concatenation" in section and "Hessel and Lee" in section
    words = re.sub(r"<[^>]+>", " ", section)
    assert not re.search(r"\b(better|worse|best)\b", words, re.IGNORECASE)
    assert "modalities" not in report_of(tmp_path / "without")


def test_the_figure_shows_the_first_metric_of_each_task():
    both = [
        table_of(audited(StandIn(of_sum), planted(), GRADING)),
        modality_table(audited(StandIn(of_sum), planted(), GRADING).iloc[:0], [], tasks=[SURVIVAL], methods=["concat"]),
    ]
    table = pd.concat(both)
    figure = draw_modalities(table, tasks=[GRADING, SURVIVAL], methods=["concat"], study="A study")
    grading, survival = figure.axes
    assert "Grading, AUC" in (grading.get_title(), grading.get_title(loc="left"))
    dots = [line.get_xdata()[0] for line in grading.lines[1:]]
    assert dots == pytest.approx([row_of(both[0], "auc", change).drop for change in (GENES, PATCHES, ADDITIVE)])
    spans = [segment[:, 0] for part in grading.collections for segment in part.get_segments()]
    expected = [row_of(both[0], "auc", change) for change in (GENES, PATCHES, ADDITIVE)]
    assert np.array(spans) == pytest.approx(np.array([(row.ci_low, row.ci_high) for row in expected]))
    assert "no run" in survival.texts[0].get_text()
    assert "A study" in [text.get_text() for text in figure.texts]
    nothing = draw_modalities(both[1], tasks=[SURVIVAL], methods=["concat"])
    assert "Nothing to draw: no run." in [text.get_text() for text in nothing.texts]
    assert "20 permutations" in modalities_caption(table)
