"""Which case a file belongs to by its name, worked out by hand."""

from pathlib import PurePath

import pytest

from ksfusion.cohort.placing import CaseIndex, best_column, closest_profiles, name_of, valid_id


def cases(*ids):
    return CaseIndex({name: name for name in ids})


@pytest.mark.parametrize(
    ("ids", "name", "case"),
    [
        # The whole name; whatever separates its parts, and in any letters.
        (["P-007", "P-008"], "p007", "P-007"),
        # A TCGA barcode, of cases and of samples.
        (["TCGA-02-0001", "TCGA-02-0003"], "TCGA-02-0003-01Z-00-DX1.4A5B", "TCGA-02-0003"),
        (["TCGA-02-0001-01A", "TCGA-02-0003-01A"], "TCGA-02-0003-01Z-00-DX1", "TCGA-02-0003-01A"),
        # Between separators; the longest; no part of a longer number.
        (["case1", "case12"], "case12_HE", "case12"),
        (["case1", "case2"], "case12_HE", None),
        (["case-1", "case-1-b"], "scan case-1-b HE", "case-1-b"),
        (["17", "4"], "slide_17_3", "17"),
        (["P 17"], "P_17_HE", "P 17"),
        # Where letters and digits meet, for ids of three characters and more.
        (["case01"], "case01HE", "case01"),
        (["7"], "P7", None),
        # The only case that has the name in its id.
        (["Klinik-0815-A", "Klinik-0816-A"], "0815", "Klinik-0815-A"),
        (["Klinik-0815-A", "Klinik-0815-B"], "0815", None),
        # Two of one length.
        (["11", "12"], "11_12", None),
    ],
)
def test_the_case_of_a_name(ids, name, case):
    assert cases(*ids).of(name).case == case


def test_a_name_without_a_case_has_a_reason():
    assert cases("11", "12").of("11_12").reason == "may be of 11 or 12"
    assert "no case has an id" in cases("11").of("control").reason


def test_profiles_that_begin_like_the_slide():
    profiles = ["TCGA-02-0001-01C", "TCGA-02-0001-02A"]
    assert closest_profiles("TCGA-02-0001-02Z-00-DX1", profiles) == ["TCGA-02-0001-02A"]
    assert closest_profiles("anything", profiles) == profiles
    assert closest_profiles("anything", []) == []


def test_the_column_that_places_most():
    columns = {
        "Patient": {"A": "A", "B": "B"},
        "Block": {"H-1": "A", "H-2": "B"},
    }
    assert best_column(["H-1", "H-2"], columns) == "Block"
    assert best_column(["A_1", "B_1"], columns) == "Patient"
    assert best_column(["x"], columns) is None


def test_ids_from_any_text():
    assert valid_id("Müller, K. (2)") == "M_ller_K._2"
    assert valid_id("-_x") == "x"
    assert valid_id("???") == "unnamed"
    assert name_of(PurePath("a/s.ome.tif")) == "s" and name_of(PurePath("a/s.svs")) == "s"
