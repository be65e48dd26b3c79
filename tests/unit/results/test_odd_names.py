"""Names with characters that mean something to matplotlib, LaTeX or Markdown: of classes, tasks, genes and studies."""

import json
import re
import shutil
import subprocess

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from run_files import write_run

from ksfusion.core.errors import UserError
from ksfusion.core.storage import write_tsv
from ksfusion.genes.config import Ranking
from ksfusion.preflight.parsing import parse_config
from ksfusion.results.attention.slide_picture import SlidePicture
from ksfusion.results.config import ShownTask
from ksfusion.results.plots.attention import attention_png
from ksfusion.results.stage_settings import DrawFiguresSettings, MakeTablesSettings
from ksfusion.results.tables.latex import to_latex
from ksfusion.results.tables.layout import lay_out
from ksfusion.results.tables.markdown import to_markdown
from ksfusion.results.tables.scores import read_table
from ksfusion.stages.draw_figures import draw_figures
from ksfusion.stages.draw_genes import draw_genes
from ksfusion.stages.make_tables import make_tables

# Each alone, all together, what matplotlib takes for a broken formula, and what is a command or markup elsewhere.
ODD = [
    *"$#~^\\_<>&%|*[]`\"'",
    "$#~^\\_<",
    r"$\frac$ x",
    "$a$",
    r"\$",
    "<b>bold</b>",
    r"\input{x}",
    "1. one",
    "- two",
    "+3",
]
COHORT = "mine"


def task_of(names, *, title=None, as_labels=False):
    """Return a task whose classes, or their labels, have these names."""
    if as_labels:
        classes = [f"c{number}" for number in range(len(names))]
        labels = dict(zip(classes, names, strict=True))
        return ShownTask(name="own", kind="classification", classes=classes, labels=labels, title=title)
    return ShownTask(name="own", kind="classification", classes=names, title=title)


def runs_of(folder, task, *, methods=("snn",)):
    """Write runs in which no test sample is of the last class."""
    random, n = np.random.default_rng(0), len(task.classes)
    rows = [(f"S{i}", f"C{i}", COHORT, i % (n - 1), *random.dirichlet(np.ones(n))) for i in range(3 * n)]
    return [write_run(folder, task, rows, method=method) for method in methods]


@pytest.fixture
def drawn_texts(monkeypatch):
    """Collect what is drawn as text, and whether as a formula."""
    texts = {}
    draw = matplotlib.text.Text.draw

    def remember(self, renderer):
        texts[self.get_text()] = texts.get(self.get_text(), False) or self.get_parse_math()
        draw(self, renderer)

    monkeypatch.setattr(matplotlib.text.Text, "draw", remember)
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("as_labels", [False, True], ids=["values", "labels"])
def test_figures_show_names_as_they_are(tmp_path, drawn_texts, as_labels):
    task = task_of(ODD, title="$T_1$ & <100%", as_labels=as_labels)
    runs = runs_of(tmp_path / "runs", task, methods=["snn", "ksfusion-alpha025"])
    settings = DrawFiguresSettings(tasks=[task], methods=["snn", "ksfusion-alpha025"], title=r"A $\study$")
    draw_figures(runs, tmp_path / "figures", settings=settings)
    listed = json.loads((tmp_path / "figures/figures.json").read_text())
    # Files are called by the task's name, which has none of these characters.
    kinds = ["roc", "confusion", "calibration", "training", "alpha"]
    assert [entry["name"] for entry in listed] == [f"{kind}_own" for kind in kinds]
    assert listed[0]["title"] == "$T_1$ & <100%: ROC curves" and listed[0]["title"] in drawn_texts
    assert r"A $\study$" in drawn_texts
    shown = {text.replace("\n", " ") for text in drawn_texts}
    for name in ODD:
        printed = name if as_labels else name.replace("_", " ")
        assert any(text.startswith(f"{printed} (n = ") for text in shown), name
        assert printed.strip() in shown, name
    assert not any(drawn_texts.values())


def test_genes_and_samples_are_drawn_as_they_are_called(tmp_path, drawn_texts):
    symbols = [r"$\gene$", "G_1^2", "<G>", "#~"]
    genes = pd.DataFrame(
        {"symbol": symbols, "rank": range(1, 5), "variance": [300.0, 20.0, 3.0, 0.005], "chosen": True}
    )
    write_tsv(genes.assign(niche="tme", category="a", source="b"), tmp_path / "fold0/ranking.tsv")
    settings = Ranking(rank="pooled", top_fraction=1.0)
    draw_genes(tmp_path / "fold0/ranking.tsv", tmp_path / "genes", settings=settings)
    assert r"Tumour microenvironment: 4 of 4 used, the first $\gene$, G_1^2, <G>, #~" in drawn_texts
    # The powers of ten are raised without a formula.
    assert {"10⁻²", "10⁰", "10²"} <= {text.replace("\N{MINUS SIGN}", "-") for text in drawn_texts}
    slide = SlidePicture(np.full((40, 40, 3), 255, np.uint8), True, np.zeros((1, 2)), 40.0, None)
    lines = ["$T$, KS-Fusion", r"Predicted $\frac$ (probability 0.70); truth a_b^c"]
    data = attention_png(slide, {"tme": np.ones(1)}, np.ones(1), title="S$1$", lines=lines, description="<$>")
    assert data.startswith(b"\x89PNG") and {"S$1$", "\n".join(lines)} <= set(drawn_texts)
    assert not any(drawn_texts.values())


def laid_out(folder, name):
    """Return a layout in whose headings and notes a name stands."""
    task = task_of(["one", "two", name], title=name)
    settings = MakeTablesSettings(tasks=[task], methods=["snn"], names=["table1"], title=name)
    make_tables(runs_of(folder / "runs", task), folder, settings=settings)
    layout = lay_out(read_table(folder / "table1.tsv"), titles={"own": name})
    assert layout.groups[0][0] == name
    assert any(f"no test sample of {name.replace('_', ' ')}: average" in note for note in layout.notes)
    return layout


@pytest.mark.parametrize("name", ODD)
def test_markdown_is_read_as_the_names_are(tmp_path, name):
    markdown_it = pytest.importorskip("markdown_it")
    layout = laid_out(tmp_path, name)
    text = (tmp_path / "table1.md").read_text()
    reader = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(text)
    plain = ["".join(child.content for child in token.children) for token in tokens if token.type == "inline"]
    allowed = {"text", "text_special", "strong_open", "strong_close"}
    kinds = {child.type for token in tokens if token.type == "inline" for child in token.children}
    assert kinds <= allowed and not any(token.type.startswith(("html", "ordered", "code")) for token in tokens)
    assert plain[:2] == ["Methods compared on the test samples", name]
    assert f"{name} AUC" in plain
    assert plain[-len(layout.notes) :] == list(layout.notes)
    # GitHub's formulas begin with a dollar sign that nothing escapes.
    assert not re.search(r"(?<!\\)\$", text)


def test_latex_is_escaped_by_hand(tmp_path):
    expected = {
        "$": r"\$",
        "#": r"\#",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "_": r"\_",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "&": r"\&",
        "%": r"\%",
        r"\input{x}": r"\textbackslash{}input\{x\}",
    }
    for number, (name, escaped) in enumerate(expected.items()):
        laid_out(tmp_path / str(number), name)
        text = (tmp_path / str(number) / "table1.tex").read_text()
        assert rf"\multicolumn{{5}}{{c}}{{{escaped}}}" in text
        assert rf"\caption{{{escaped}. Methods compared on the test samples.}}" in text


@pytest.mark.slow
def test_latex_is_set(tmp_path):
    """The tables of all odd names together, as a document."""
    if not (program := next(filter(None, map(shutil.which, ("pdflatex", "tectonic"))), None)):
        pytest.skip("neither pdflatex nor tectonic is here")
    lines = [r"\documentclass{article}", r"\usepackage[T1]{fontenc}", r"\usepackage{booktabs}", r"\begin{document}"]
    for number, name in enumerate(ODD):
        layout = laid_out(tmp_path / str(number), name)
        lines += [to_latex(layout, title=name, label=f"tab:{number}", note=name, study=name), r"\clearpage"]
    (tmp_path / "all.tex").write_text("\n".join([*lines, r"\end{document}"]), encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if program.endswith("pdflatex") else []
    done = subprocess.run([program, *options, "all.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10_000


def test_a_title_of_a_table_is_escaped_too(tmp_path):
    layout = laid_out(tmp_path, "a")
    assert to_markdown(layout, title="<x>").startswith("# \\<x\\>\n")
    assert r"\caption{\textless{}x\textgreater{}.}" in to_latex(layout, title="<x>", label="tab:x")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"labels": {"c": "x"}}, "tasks.own: labels: 'c' is not among the classes"),
        ({"labels": {"a": "b"}}, "tasks.own: labels: two classes would be called the same"),
        ({"title": "two\nlines"}, "tasks.own.title: must be one line of text"),
        ({"labels": {"a": ""}}, "tasks.own.labels.a: "),
        ({"classes": ["a", "b\tc"]}, "tasks.own.classes.1: must be one line of text"),
    ],
)
def test_texts_that_cannot_be_printed_are_refused(task, words):
    cohort = {"samples": "s", "cases": "c"}
    cohort["expression"] = [{"cohort": "A", "format": "matrix", "unit": "log", "path": "x"}]
    own = {"kind": "classification", "column": "m", "classes": ["a", "b"], **task}
    with pytest.raises(UserError, match=re.escape(words)):
        parse_config({"cohort": cohort, "tasks": {"own": own}})
