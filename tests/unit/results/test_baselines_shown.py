"""Baselines in tables and figures: what they read, and the figures that they have no part in."""

import pytest
from run_files import GRADING, ROWS, SURVIVAL, write_run

from ksfusion.results.plots.kinds import KINDS
from ksfusion.results.stage_settings import MakeTablesSettings
from ksfusion.stages.make_tables import make_tables

METHODS = ["attmil", "snn", "clinical", "cox-genes", "logistic-genes", "clinical+genes", "cohort"]


def test_tables_say_what_baselines_read_and_whom_they_are_not_for(tmp_path):
    reason = "cox-genes is for tasks of survival alone"
    runs = [
        write_run(tmp_path, GRADING, ROWS, method=name, reason=reason if name == "cox-genes" else "")
        for name in METHODS
    ]
    settings = MakeTablesSettings(tasks=[GRADING], methods=METHODS, names=["table1"], resamples=100)
    make_tables(runs, tmp_path / "tables", settings=settings)
    lines = (tmp_path / "tables/table1.md").read_text().splitlines()
    cells = {row[1]: row[2] for line in lines if len(row := [cell.strip() for cell in line.split("|")]) > 3}
    read = {"AttMIL": "p", "SNN": "g", "Clinical": "c", "Clinical and genes": "c+g", "Cohort alone": "–"}  # noqa: RUF001
    assert {name: cells[name] for name in read} == read
    assert "- p: patches of the slide; g: genes; c: clinical columns." in lines
    assert f"- Grading (Cox ridge on genes): {reason}." in lines


@pytest.mark.parametrize(("task", "other"), [(GRADING, "cox-genes"), (SURVIVAL, "logistic-genes")])
def test_figures_leave_out_who_has_no_part_in_them(task, other):
    shown = {kind.name: kind.shown(METHODS, task) for kind in KINDS if kind.task_kind in (None, task.kind)}
    assert shown["training"] == ["attmil", "snn"]
    assert all(
        names == [name for name in METHODS if name != other] for key, names in shown.items() if key != "training"
    )
