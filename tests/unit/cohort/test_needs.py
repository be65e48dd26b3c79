"""What methods need of the two tables, told before any job."""

import pytest

from ksfusion.cohort.config import Labelling
from ksfusion.cohort.needs import clinical_problems, label_sources, slide_problems, stand_in_warnings
from ksfusion.cohort.samples import CohortTables


def tables(*slide_ids, cases=({"case_id": "A", "age": "50", "sex": ""},)):
    columns = tuple(cases[0])
    return CohortTables([{"sample_id": str(n), "slide_id": name} for n, name in enumerate(slide_ids)], cases, columns)


def test_a_clinical_column_that_is_not_there_is_a_line_with_those_that_are():
    problems = clinical_problems(["age", "grade", "sex"], tables("x"), "cases.tsv")
    assert problems == [
        "cases.tsv: row 1: column grade is missing, cohort.clinical names it; add it or correct the name in the "
        "configuration; it has age, sex",
        "cases.tsv: column sex is empty, and cohort.clinical names it; fill it in, or leave it out there",
    ]


@pytest.mark.parametrize(
    ("require", "slides", "methods", "said"),
    [
        ("paired", ["a", ""], ["attmil"], None),
        ("any", ["a", "b"], ["attmil"], None),
        ("any", ["", ""], [], None),
        ("any", ["a", "", ""], ["attmil"], None),
        ("paired", ["", ""], [], "samples.tsv: no sample has a slide; give their files in the column slide, or set"),
        ("any", ["", ""], ["attmil", "mean-patch"], "my.yaml: methods: attmil, mean-patch read patches, and no sample"),
    ],
)
def test_slides_that_are_needed(require, slides, methods, said):
    found = slide_problems(require, tables(*slides), "samples.tsv", reading_patches=methods, source="my.yaml")
    assert [line[: len(said)] for line in found] == [said] if said else found == []


@pytest.mark.parametrize(
    ("task", "made_of"),
    [
        ({"kind": "survival", "time": "months", "event": "died"}, {"months", "died"}),
        ({"kind": "classification", "column": "grade", "classes": ["G2", "G3"]}, {"grade"}),
        (
            {"kind": "classification", "column": "diagnosis", "classes": ["a", "b"]},
            {"diagnosis", "idh", "codel_1p19q", "cdkn2a", "grade"},
        ),
    ],
)
def test_what_a_label_is_made_of(task, made_of):
    assert label_sources(Labelling(**task)) == made_of


@pytest.mark.parametrize(
    ("require", "samples", "methods", "dropout", "said"),
    [
        ("any", ["both", "both"], ["ksfusion"], 0, None),
        ("any", ["both", "slide"], ["ksfusion"], 0.3, None),
        ("any", ["both", "slide"], [], 0, None),
        ("any", ["profile", "profile"], ["concat"], 0, None),
        ("paired", ["both", "slide"], ["ksfusion"], 0, None),
        ("paired", ["both"], [], 0.3, "training.modality_dropout changes nothing: no method has a stand-in"),
        (
            "any",
            ["both", "slide", "profile", ""],
            ["ksfusion", "concat"],
            0,
            "samples.tsv: 2 of 4 samples have a slide or a profile alone, and ksfusion, concat are trained",
        ),
    ],
)
def test_samples_that_methods_could_serve(require, samples, methods, dropout, said):
    rows = [
        {"slide_id": "x" * (has in ("both", "slide")), "expression_id": "y" * (has in ("both", "profile"))}
        for has in samples
    ]
    found = stand_in_warnings(
        require, CohortTables(rows, [], ()), "samples.tsv", with_stand_in=methods, dropout=dropout
    )
    assert [line[: len(said)] for line in found] == [said] if said else found == []
