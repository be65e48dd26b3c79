"""Figures of small runs: they exist, are drawn, repeat, and say why when there is nothing to draw."""

import json

import numpy as np
import pytest
from PIL import Image
from run_files import GRADING, SURVIVAL, write_run

from ksfusion.config import PAPER_METHODS
from ksfusion.results.config import DrawFiguresSettings
from ksfusion.results.plots.alpha import alpha_of
from ksfusion.results.plots.style import method_colours
from ksfusion.results.plots.survival import risk_groups
from ksfusion.results.runs import read_runs
from ksfusion.stages.draw_figures import draw_figures

PLAIN = "Nothing to draw: "


def draw_and_list(runs, folder, *, only_alpha=False, **compared):
    """Draw figures and return their list."""
    draw_figures(runs, folder, settings=DrawFiguresSettings(**compared, only_alpha=only_alpha))
    return json.loads((folder / ("alpha.json" if only_alpha else "figures.json")).read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    folders = []
    for method in ("snn", "ksfusion", "ksfusion-alpha025"):
        for seed in range(2):
            score = rng.random(24)
            rows = [(f"S{i}", f"C{i // 2}", "a", i // 2 % 2, s, 1 - s) for i, s in enumerate(score)]
            folders.append(write_run(folder, GRADING, rows, method=method, seed=seed))
            rows = [(f"S{i}", f"C{i // 2}", "a", 100 + 90 * (i // 2), i // 2 % 3 > 0, s) for i, s in enumerate(score)]
            folders.append(write_run(folder, SURVIVAL, rows, method=method, seed=seed))
    for task in (GRADING, SURVIVAL):
        config = folder / task.name / "ksfusion" / "fold0" / "seed0" / "config.json"
        config.write_text(json.dumps({"settings": {"alpha": 0.5}}))
    return folders


def test_every_figure_is_drawn_and_listed(runs, tmp_path):
    methods = ["snn", "ksfusion", "ksfusion-alpha025"]
    listed = draw_and_list(runs, tmp_path, tasks=[GRADING, SURVIVAL], methods=methods)
    assert [figure["task"] for figure in listed] == ["grading"] * 4 + ["survival"] * 3
    assert [figure["name"] for figure in listed] == [
        "roc_grading",
        "confusion_grading",
        "training_grading",
        "alpha_grading",
        "kaplan_meier_survival",
        "training_survival",
        "alpha_survival",
    ]
    for figure in listed:
        assert figure["title"]
        assert figure["caption"]
        pixels = np.asarray(Image.open(tmp_path / f"{figure['name']}.png").convert("L"))
        assert 0.005 < (pixels < 200).mean() < 0.7
        assert (tmp_path / f"{figure['name']}.svg").read_text().rstrip().endswith("</svg>")


def test_the_sweep_of_alpha_has_figures_and_a_list_of_its_own(runs, tmp_path):
    listed = draw_and_list(runs, tmp_path, tasks=[GRADING], methods=["ksfusion-alpha025"], only_alpha=True)
    assert [figure["name"] for figure in listed] == ["alpha_grading"]
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        "alpha.json",
        "alpha_grading.png",
        "alpha_grading.svg",
    }


def test_the_sweep_has_a_point_for_an_alpha_that_shares_its_runs(runs, monkeypatch, tmp_path):
    points = {}

    def remember(self, x, *args, **kwargs):
        points[self.get_title(loc="left")] = list(x)
        return plot(self, x, *args, **kwargs)

    from matplotlib.axes import Axes

    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", remember)
    methods = ["ksfusion-alpha025", "ksfusion-alpha050", "ksfusion-alpha075"]
    shared = {"ksfusion-alpha050": "ksfusion"}
    draw_and_list(runs, tmp_path, tasks=[SURVIVAL], methods=methods, only_alpha=True, shared=shared)
    assert list(points.values()) == [[0.25, 0.5]]


def test_figures_are_the_same_each_time(runs, tmp_path):
    for order in ("first", "second"):
        draw_and_list(runs, tmp_path / order, tasks=[SURVIVAL], methods=["snn"])
    for name in ("kaplan_meier_survival.svg", "kaplan_meier_survival.png", "training_survival.svg"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_caveat_stands_in_every_caption(runs, tmp_path):
    caveat = "Adjusted on test samples too."
    listed = draw_and_list(runs, tmp_path, tasks=[SURVIVAL], methods=["snn"], caveats=[caveat])
    assert len(listed) == 2
    assert all(figure["caption"].endswith(f". {caveat}") for figure in listed)


def test_a_skipped_task_has_figures_that_say_why(tmp_path, monkeypatch):
    said = []

    def remember(title, sentence):
        said.append(sentence)
        return sentence_figure(title, sentence)

    from ksfusion.results.plots.panels import sentence_figure

    monkeypatch.setattr("ksfusion.results.plots.figures.sentence_figure", remember)
    run = write_run(tmp_path, GRADING, [], reason="fewer than two classes in training")
    listed = draw_and_list([run], tmp_path / "figures", tasks=[GRADING, SURVIVAL], methods=["snn"])
    assert said == [PLAIN + "fewer than two classes in training."] * 3 + [PLAIN + "no run."] * 2
    assert all((tmp_path / "figures" / f"{figure['name']}.png").is_file() for figure in listed)


def test_panels_without_a_result_do_not_stop_the_others(tmp_path):
    rows = [("S1", "C1", "a", 0, 0.8, 0.2), ("S2", "C2", "a", 0, 0.7, 0.3)]
    runs = [write_run(tmp_path, GRADING, rows), write_run(tmp_path, GRADING, [], method="attmil", reason="diverged")]
    rows = [("S1", "C1", "a", 10, 0, 1.0), ("S2", "C2", "a", 20, 0, 2.0)]
    runs.append(write_run(tmp_path, SURVIVAL, rows))
    rows = [("S1", "C1", "a", 10, 1, 1.0), ("S2", "C2", "a", 20, 0, 1.0)]
    runs.append(write_run(tmp_path, SURVIVAL, rows, method="attmil"))
    listed = draw_and_list(runs, tmp_path / "figures", tasks=[GRADING, SURVIVAL], methods=["snn", "attmil", "add"])
    assert len(listed) == 5


def test_risk_groups_are_halves_of_the_cases(tmp_path):
    # Mean risks of the cases over samples and seeds: C1 1.5, C2 5, C3 2; the median is 2.
    by_seed = [(1.0, 2.0, 4.0, 2.0), (1.0, 2.0, 6.0, 2.0)]
    rows = [[("S1", "C1", r[0]), ("S2", "C1", r[1]), ("S3", "C2", r[2]), ("S4", "C3", r[3])] for r in by_seed]
    folders = [
        write_run(tmp_path, SURVIVAL, [(s, c, "a", 10, 1, risk) for s, c, risk in own], seed=seed)
        for seed, own in enumerate(rows)
    ]
    groups = risk_groups(read_runs(folders, [SURVIVAL]), SURVIVAL).set_index("case_id")
    assert groups["risk"].to_dict() == {"C1": 1.5, "C2": 5.0, "C3": 2.0}
    assert groups["group"].to_dict() == {"C1": "low", "C2": "high", "C3": "low"}


def test_alpha_of_the_full_method_comes_from_its_settings(runs):
    alphas = {(run.method, run.seed): alpha_of(run) for run in read_runs(runs, [GRADING]) if run.method != "snn"}
    assert alphas["ksfusion", 0] == 0.5
    assert np.isnan(alphas["ksfusion", 1])
    assert alphas["ksfusion-alpha025", 0] == 0.25


def test_each_method_has_a_colour_of_its_own_by_their_order():
    """All figures of a run show the same methods in the same order, and so in the same colours."""
    colours = method_colours(PAPER_METHODS)
    assert list(colours) == PAPER_METHODS and len(set(colours.values())) == len(PAPER_METHODS)
    assert method_colours(iter(PAPER_METHODS)) == colours
    assert (colours["transmil"], colours["ksfusion"]) == ("#0072b2", "#d55e00")  # Okabe and Ito's blue and vermilion
    many = method_colours([f"method{number}" for number in range(30)])
    assert len(many) == 30 and len(set(many.values())) == 20
