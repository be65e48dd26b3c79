"""The demo's model: two views of each axis, and how much of each label oracles find in one and in both."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from ksfusion.demo.appearance import appearance_of, planted_appearances, seed_of
from ksfusion.demo.cohort import (
    DIAGNOSES,
    GDC_CASES,
    GENE_LATENTS,
    IVY_CASES,
    SHARED,
    SLIDE_LATENTS,
    View,
    draw_cases,
    planted_profiles,
    planted_samples,
)
from ksfusion.demo.oracles import known_latents, predict_classes, predict_risk
from ksfusion.results.metrics import classification_metrics, survival_metrics
from ksfusion.terms.oracles import ORACLES
from ksfusion.terms.ties import TIED_RISK

CLASSES = {"diagnosis": list(DIAGNOSES), "grade": ["G2", "G3", "G4"]}


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    return draw_cases(3, gdc=8000, ivy=0)


def test_a_view_is_the_cell_of_the_table_in_which_it_lies():
    # Borders: 48 % of a standard normal lie below -0.0502; 34 of 52 below 0.3957.
    assert norm.ppf([0.48, 34 / 52]) == pytest.approx([-0.0502, 0.3957], abs=1e-4)
    expected = {
        (-0.04, 0.39): "glioblastoma",
        (-0.04, 0.40): "astrocytoma_g4",
        (-0.06, -0.01): "astrocytoma",
        (-0.06, 0.01): "oligodendroglioma",
    }
    assert {axes: View(*axes, 0.0).diagnosis for axes in expected} == expected
    assert View(1.0, 0.0, -1.0).amounts() == (0.76, 0.28)
    assert View(-9.0, 0.0, 9.0).amounts() == (0.02, 0.98)


@pytest.mark.parametrize("kind", ["diagnosis", "look", "programme"])
def test_the_case_and_both_views_have_the_stated_frequencies(cases, kind):
    found = cases[kind].value_counts(normalize=True)
    for name, diagnosis in DIAGNOSES.items():
        assert found[name] == pytest.approx(diagnosis.frequency, abs=0.02)


def test_the_views_correlate_as_stated_and_the_case_is_their_mean(cases):
    for amount in ("tumour", "tme"):
        table = cases[[amount, f"slide_{amount}", f"gene_{amount}"]].corr().to_numpy()
        assert table[1, 2] == pytest.approx(SHARED, abs=0.04)
        # Of two standard normals with correlation r, each has sqrt((1 + r) / 2) with their mean.
        assert table[0, 1:] == pytest.approx(np.sqrt((1 + SHARED) / 2), abs=0.02)
    assert cases["slide_tumour"].corr(cases["slide_tme"]) == pytest.approx(0.5, abs=0.03)
    assert cases["slide_tumour"].corr(cases["gene_tme"]) == pytest.approx(0.5 * SHARED, abs=0.04)


def test_grade_and_markers_follow_from_the_case(cases):
    grades = cases.groupby("diagnosis")["grade"].value_counts(normalize=True).unstack(fill_value=0.0)
    assert (grades.loc["glioblastoma", "G4"], grades.loc["astrocytoma_g4", "G2"]) == (1, 0)
    assert grades.loc["astrocytoma_g4", "G3"] == pytest.approx(0.25, abs=0.04)
    low = cases[cases["diagnosis"].isin(["astrocytoma", "oligodendroglioma"])]
    assert (low["grade"] == "G3").mean() == pytest.approx(0.5, abs=0.03)
    assert low.loc[low["grade"] == "G2", "tumour"].max() < low.loc[low["grade"] == "G3", "tumour"].min() + 1e-3
    assert set(cases.loc[cases["diagnosis"] == "glioblastoma", "idh"]) == {"WT"}


def test_slides_and_genes_are_drawn_from_their_own_view():
    planted = planted_samples().set_index("sample_id", drop=False)
    cases = draw_cases().set_index("case_id")
    differing = planted[planted["look"] != planted["programme"]]
    sample = differing.iloc[0]
    shown = planted_appearances([sample["sample_id"]])[sample["sample_id"]]
    assert shown.diagnosis == sample["look"] and shown == appearance_of(sample, seed_of(sample["sample_id"]))
    assert shown.tumour == pytest.approx(sample["slide_tumour"], abs=0.25)
    profile = planted_profiles([sample["expression_id"]]).iloc[0]
    assert profile[["diagnosis", "tumour", "tme"]].tolist() == sample[list(GENE_LATENTS)].tolist()
    for latents in (SLIDE_LATENTS, GENE_LATENTS):
        assert sample[list(latents)].tolist() == cases.loc[sample["case_id"], list(latents)].tolist()
    other = sample.to_dict() | dict.fromkeys(GENE_LATENTS, "nothing")
    assert appearance_of(pd.Series(other), 1) == appearance_of(sample, 1)


def test_all_of_the_atlas_are_glioblastomas():
    cases = draw_cases()
    assert len(cases) == GDC_CASES + IVY_CASES == 100
    atlas = cases[cases["cohort"] == "demo-ivygap"]
    assert len(atlas) == 12 and set(atlas["diagnosis"]) == {"glioblastoma"}


class TestOracles:
    @pytest.fixture
    def score(self, cases):
        half = len(cases) // 2

        def score(oracle):
            known, found = known_latents(cases, oracle), {}
            for column, classes in CLASSES.items():
                y = cases[column].map(classes.index).to_numpy()
                probabilities = predict_classes(known[:half], y[:half], known[half:], len(classes))
                found[column] = classification_metrics(y[half:], probabilities)["auc"]
            days, event = cases["survival_days"].to_numpy(), cases["event"].to_numpy()
            risk = predict_risk(known[:half], days[:half], event[:half], known[half:])
            found["survival"] = survival_metrics(days[half:], event[half:], risk)["c_index"]
            return found

        return score

    def test_neither_modality_alone_suffices_and_both_do(self, score):
        found = pd.DataFrame({oracle: score(oracle) for oracle in ORACLES})
        alone = found[["oracle-slides", "oracle-genes"]]
        # Neither carries more than the other.
        assert (alone["oracle-slides"] - alone["oracle-genes"]).abs().max() < 3
        assert alone.loc[["diagnosis", "grade"]].max().max() < 87 and alone.loc["survival"].max() < 74
        assert alone.min().min() > 65
        assert (found.loc[["diagnosis", "grade"], "oracle-both"] > 95).all()
        assert (found["oracle-both"] - alone.max(axis=1) > [10, 10, 5]).all()

    @pytest.mark.parametrize("view", ["slide", "gene"])
    def test_what_one_view_tells_of_the_malignant_half_is_what_two_normals_have(self, cases, view):
        # P(score of a malignant case > score of another): both pairs (axis, view) are normal with correlation r.
        r = np.sqrt((1 + SHARED) / 2)
        border = norm.ppf(0.48)
        grid = np.linspace(-5, 5, 801)
        joint = multivariate_normal([0, 0], [[1, r], [r, 1]])
        below = norm.cdf((border - r * grid) / np.sqrt(1 - r**2)) * norm.pdf(grid)
        above = norm.pdf(grid) - below
        expected = np.sum(above * (np.cumsum(below) - below / 2)) / below.sum() / above.sum()
        assert joint.cdf([border, 0]) == pytest.approx(below[grid < 1e-9].sum() * (grid[1] - grid[0]), abs=0.005)
        malignant = cases["diagnosis"].isin(["glioblastoma", "astrocytoma_g4"]).to_numpy()
        score = cases[f"{view}_tumour"].rank().to_numpy()
        n = malignant.sum()
        found = (score[malignant].sum() - n * (n + 1) / 2) / (n * (len(cases) - n))
        assert found == pytest.approx(expected, abs=0.015)

    def test_a_class_that_is_not_learned_has_no_probability(self):
        known, y = np.array([[0.0], [1], [2], [3]]), np.array([0, 0, 2, 2])
        probabilities = predict_classes(known, y, np.array([[0.0], [3]]), 4)
        assert probabilities.shape == (2, 4) and (probabilities[:, [1, 3]] == 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert probabilities[0, 0] > 0.5 > probabilities[1, 0]

    def test_risk_is_higher_for_those_that_die_earlier(self):
        known = np.arange(20.0)[:, None]
        risk = predict_risk(known, np.arange(100.0, 80, -1), np.ones(20), np.array([[0.0], [19]]))
        assert risk[1] > risk[0] + TIED_RISK
