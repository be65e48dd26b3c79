"""A method from a file of one's own: searched, trained, shown where it looks; trained again when its file changes."""

import pytest
from fold_project import CASES, annotate, make_project
from safetensors.numpy import load_file

from ksfusion.methods.template import method_text

FILE = "mine/my_mil.py"
OWN, SHIPPED = (f"results/models/mgmt/{name}/fold0/seed0" for name in ("my_mil", "snn"))
HEATMAPS = "results/heatmaps/mgmt/my_mil/fold0/seed0"
TARGETS = [f"{OWN}/metrics.json", f"{SHIPPED}/metrics.json", "results/localisation.tsv", f"{HEATMAPS}/heatmaps.tsv"]
SCORE = "self.score = nn.Linear(128, 1)"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("own") / "project")
    for case in CASES:
        annotate(project.folder, case, "Tumor")
    (project.folder / "mine").mkdir()
    (project.folder / FILE).write_text(method_text("my_mil"))
    project.configure(
        slides={"patch_px": 100, "regions": "regions"},
        patches={"count": 9},
        splits={"scheme": "holdout", "fractions": [0.4, 0.2, 0.4]},
        methods_from=[FILE],
        methods=["snn", "my_mil"],
        heatmaps={"methods": ["my_mil"], "samples": 2},
        training={"seeds": [0], "search": {"trials": 2}},
        results={"reference": "snn"},
    )
    project.snakemake(*TARGETS)
    return project


def change(project, old, new):
    path = project.folder / FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_its_settings_are_searched(project):
    tried = project.tsv("results/search/mgmt/my_mil/fold0/trials.tsv")
    # The configured settings, and two more.
    assert len(tried) == 3 and tried["lr"].nunique() == 3
    chosen = project.json("results/search/mgmt/my_mil/fold0/chosen.json")
    assert project.json(f"{OWN}/config.json")["settings"]["lr"] == chosen["settings"]["lr"]


def test_where_it_looks_is_measured_and_drawn(project):
    table = project.tsv("results/localisation.tsv")
    own = table[table["method"] == "my_mil"]
    assert set(own["measure"]) == {"attention", "attribution"} and own["auc"].between(0, 100).all()
    assert len(list((project.folder / HEATMAPS).glob("case-*.png"))) == 2


def test_a_remark_in_its_file_redoes_nothing(project):
    change(project, SCORE, f"{SCORE}  # a remark")
    assert project.planned(*TARGETS) == {}
    change(project, f"{SCORE}  # a remark", SCORE)


def test_another_line_in_its_file_trains_it_again_and_no_other(project):
    before = (project.folder / SHIPPED / "model.safetensors").stat().st_mtime_ns
    change(project, SCORE, "self.score = nn.Linear(128, 1, bias=False)")
    once = ["search_settings", "train_model", "draw_heatmaps", "locate_attention", "make_localisation"]
    assert project.planned(*TARGETS) == dict.fromkeys(once, 1)
    project.snakemake(*TARGETS)
    weights = load_file(project.folder / OWN / "model.safetensors")
    assert "score.weight" in weights and "score.bias" not in weights
    assert (project.folder / SHIPPED / "model.safetensors").stat().st_mtime_ns == before
    assert project.planned(*TARGETS) == {}
