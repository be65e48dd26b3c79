"""Figures of small runs: they exist, are drawn, repeat, and say why when there is nothing to draw."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from run_files import GRADING, SURVIVAL, write_run
from sklearn.metrics import roc_auc_score

from ksfusion.config import PAPER_METHODS
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.alpha import alpha_of
from ksfusion.results.plots.classification import draw_roc
from ksfusion.results.plots.figures import figures_of_task
from ksfusion.results.plots.panels import wrapped
from ksfusion.results.plots.style import CLASS_COLOURS, drawing_style, method_colours
from ksfusion.results.plots.survival import _log_rank, risk_groups
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import DrawFiguresSettings
from ksfusion.stages.draw_figures import draw_figures

pytestmark = pytest.mark.slow

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


def test_of_two_classes_the_roc_curve_of_one_is_drawn(runs):
    task = GRADING.model_copy(update={"positive": "G3", "labels": {"G3": "High grade"}})
    own = [run for run in read_runs(runs, [task]) if run.method == "snn"]
    figure = draw_roc(own, task=task, methods=["snn"], title="ROC")
    (axes,) = figure.axes
    _, curve = axes.lines
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["High grade (n = 12)"]
    assert curve.get_color() == CLASS_COLOURS[1]
    # Its area is that of sensitivity and specificity about G3, averaged over seeds.
    areas = [roc_auc_score(run.test["y"] == 1, run.test["prob_G3"]) for run in own]
    assert np.trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(np.mean(areas), abs=0.01)
    shown = [run for run in read_runs(runs, [task]) if run.method == "snn"]
    captions = {entry["name"]: entry["caption"] for entry, _ in figures_of_task(shown, task, methods=["snn"])}
    assert "How well High grade is distinguished from the rest" in captions["roc_grading"]
    assert "mean of the classes" not in captions["roc_grading"]


@pytest.mark.slow
def test_every_figure_is_drawn_and_listed(runs, tmp_path):
    methods = ["snn", "ksfusion", "ksfusion-alpha025"]
    listed = draw_and_list(runs, tmp_path, tasks=[GRADING, SURVIVAL], methods=methods)
    assert [figure["task"] for figure in listed] == ["grading"] * 5 + ["survival"] * 5
    assert [figure["name"] for figure in listed] == [
        "roc_grading",
        "confusion_grading",
        "calibration_grading",
        "training_grading",
        "alpha_grading",
        "kaplan_meier_survival",
        "kaplan_meier_thirds_survival",
        "training_survival",
        "calibration_survival",
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
    assert len(listed) == 4
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
    assert said == [PLAIN + "fewer than two classes in training."] * 4 + [PLAIN + "no run."] * 4
    assert all((tmp_path / "figures" / f"{figure['name']}.png").is_file() for figure in listed)


def test_panels_without_a_result_do_not_stop_the_others(tmp_path):
    rows = [("S1", "C1", "a", 0, 0.8, 0.2), ("S2", "C2", "a", 0, 0.7, 0.3)]
    runs = [write_run(tmp_path, GRADING, rows), write_run(tmp_path, GRADING, [], method="attmil", reason="diverged")]
    rows = [("S1", "C1", "a", 10, 0, 1.0), ("S2", "C2", "a", 20, 0, 2.0)]
    runs.append(write_run(tmp_path, SURVIVAL, rows))
    rows = [("S1", "C1", "a", 10, 1, 1.0), ("S2", "C2", "a", 20, 0, 1.0)]
    runs.append(write_run(tmp_path, SURVIVAL, rows, method="attmil"))
    listed = draw_and_list(runs, tmp_path / "figures", tasks=[GRADING, SURVIVAL], methods=["snn", "attmil", "add"])
    assert len(listed) == 8


@pytest.mark.parametrize(
    ("high", "low", "words"),
    [
        # Who dies, dies when the other group is no longer followed, or everyone who is followed dies that day.
        ([(5, 1), (6, 1)], [(3, 0), (4, 0)], "log-rank p undefined: too few deaths"),
        ([(5, 1)], [(5, 1)], "log-rank p undefined: too few deaths"),
        ([(5, 0)], [(6, 0)], "no death observed"),
        # One of two dies while both are followed: observed 1, expected 1/2, variance 1/4, so that chi-squared is 1.
        ([(5, 1)], [(6, 0)], "log-rank p = 0.32"),
    ],
)
def test_a_log_rank_test_that_is_undefined_says_so(high, low, words):
    rows = [(*row, group) for group, rows in (("high", high), ("low", low)) for row in rows]
    assert _log_rank(pd.DataFrame(rows, columns=["days", "event", "group"])) == words


@pytest.mark.slow
def test_few_cases_have_figures_whatever_befalls_them(tmp_path):
    """Drawn cohorts of at most six cases, some without a death, one class or a run that failed."""
    for number in range(25):
        random, folder = np.random.default_rng(number), tmp_path / str(number)
        n = int(random.integers(1, 7))
        days, died = random.integers(1, 6, n), random.random(n) < random.choice([0, 0.3, 1])
        y, rows, runs = random.integers(0, 2, n), range(n), []
        for method in ("snn", "ksfusion-alpha025"):
            for seed in range(2):
                reason = "diverged" if random.random() < 0.15 else ""
                risk, score = random.integers(0, 4, n), random.integers(0, 5, n) / 4
                of_survival = [(f"S{i}", f"C{i}", "a", days[i], int(died[i]), float(risk[i])) for i in rows]
                runs.append(write_run(folder, SURVIVAL, of_survival, method=method, seed=seed, reason=reason))
                of_grading = [(f"S{i}", f"C{i}", "a", y[i], score[i], 1 - score[i]) for i in rows]
                runs.append(write_run(folder, GRADING, of_grading, method=method, seed=seed, reason=reason))
        found = read_runs(runs, [GRADING, SURVIVAL])
        with drawing_style():
            for task, figures in ((GRADING, 5), (SURVIVAL, 5)):
                drawn = list(figures_of_task(found, task, methods=["snn", "ksfusion-alpha025"], times=[3]))
                assert len(drawn) == figures
                for _, figure in drawn:
                    FigureCanvasAgg(figure).draw()


def test_a_panel_says_why_its_runs_have_no_result(tmp_path):
    rows = [("S1", "C1", "a", 10, 1, 1.0), ("S2", "C2", "a", 20, 0, 2.0)]
    runs = [write_run(tmp_path, SURVIVAL, rows), write_run(tmp_path, SURVIVAL, [], method="attmil", reason="diverged")]
    found = read_runs(runs, [SURVIVAL])
    figures = {e["name"]: f for e, f in figures_of_task(found, SURVIVAL, methods=["snn", "attmil", "add"])}
    panels = figures["kaplan_meier_survival"].axes
    assert [panel.texts[0].get_text() for panel in panels[2::2]] == ["diverged", "no run"]


def test_captions_say_folds_where_there_are_folds(tmp_path):
    rows = [("S1", "C1", "a", 0, 0.8, 0.2), ("S2", "C2", "a", 1, 0.7, 0.3)]
    times = [("S1", "C1", "a", 10, 1, 1.0), ("S2", "C2", "a", 20, 0, 2.0)]
    for folds in (1, 2):
        runs = [
            write_run(tmp_path / str(folds), task, own, method="ksfusion-alpha025", fold=fold)
            for task, own in ((GRADING, rows), (SURVIVAL, times))
            for fold in range(folds)
        ]
        methods, kinds = ["ksfusion-alpha025", "ksfusion"], (GRADING, SURVIVAL)
        listed = draw_and_list(runs, tmp_path / f"figures{folds}", tasks=kinds, methods=methods)
        captions = {figure["name"]: figure["caption"] for figure in listed}
        assert not any("markers" in caption or "{" in caption for caption in captions.values())
        if folds == 1:
            assert not any("fold" in caption for caption in captions.values())
        else:
            assert "averaged over folds and seeds" in captions["roc_grading"]
            assert "all folds and seeds together" in captions["confusion_grading"]
            assert "median of their predicted risk within each fold" in captions["kaplan_meier_survival"]
            assert "Thin: each fold and seed" in captions["training_grading"]
            assert "mean over folds and seeds" in captions["alpha_survival"]


def test_names_are_broken_at_spaces_only():
    assert wrapped("IDH-mutant astrocytoma", 14) == "IDH-mutant\nastrocytoma"
    assert wrapped("oligodendroglioma-like non-codel", 10) == "oligodendroglioma-like\nnon-codel"
    assert wrapped("one two three four", 9, most=2) == "one two\nthree ..."


def test_a_legend_of_long_names_fits_its_figure(tmp_path):
    classes = ["oligodendroglioma with everything that can be said of it", "a", "b", "c", "d", "e"]
    task = ShownTask(name="own", kind="classification", classes=classes)
    random = np.random.default_rng(0)
    rows = [(f"S{i}", f"C{i}", "a", i % 6, *random.dirichlet(np.ones(6))) for i in range(12)]
    found = read_runs([write_run(tmp_path, task, rows)], [task])
    with drawing_style():
        (entry, figure), *_ = figures_of_task(found, task, methods=["snn"], study="A study")
        FigureCanvasAgg(figure).draw()
    assert entry["name"] == "roc_own"
    renderer = figure.canvas.get_renderer()
    legend = figure.legends[0].get_window_extent(renderer)
    axis = figure.axes[0].xaxis.label.get_window_extent(renderer)
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.width and legend.y1 <= axis.y0
    assert [text.get_text() for text in figure.texts] == ["Own: ROC curves", "A study"]


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
