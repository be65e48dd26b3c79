"""Annotated regions of a study of one's own: the table of where models look, and what a further file redoes."""

import pytest
from fold_project import CASES, annotate, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("regions") / "project")
    for case in CASES[:-2]:
        annotate(project.folder, case, "Tumor", "Necrosis")
    project.configure(
        slides={"batches": 1, "min_tiles": 1, "patch_px": 100, "regions": "regions"},
        patches={"count": 9},
        splits={"scheme": "holdout", "fractions": [0.4, 0.1, 0.5]},
        methods=["attmil"],
        heatmaps={"methods": ["attmil"], "samples": 2},
        training={"seeds": [0], "epochs": {"mgmt": 2}},
    )
    project.snakemake()
    return project


def test_the_table_has_every_class_and_the_annotated_slides_alone(project):
    listed = project.tsv("results/regions.tsv")
    assert sorted(listed["slide_id"]) == CASES[:-2] and set(listed["classes"]) == {"Necrosis, Tumor"}
    assert listed["reason"].isna().all()
    side = project.tsv("results/cohort/splits.tsv").set_index("case_id")["split"]
    tested = sum(side[case] == "test" for case in CASES[:-2])
    table = project.tsv("results/localisation.tsv")
    assert set(table["method"]) == {"attmil", "chance", "oracle"}
    assert set(table["target"]) == {"Necrosis", "Tumor"} and set(table["n_slides"]) == {tested}
    assert table["auc"].between(0, 100).all()
    page = (project.folder / "results/report.html").read_text()
    assert "Does it find the annotated regions?" in page and "<th>Necrosis</th>" in page


def test_a_further_file_redoes_what_reads_it(project):
    assert project.planned() == {}
    annotate(project.folder, CASES[-1], "Tumor")
    assert project.planned() == {"read_regions": 1, "locate_attention": 1, "make_localisation": 1, "write_report": 1}
