"""How far genes follow what tasks predict: the stated correlation is that of profiles drawn again and again."""

import numpy as np
import pytest

from ksfusion.demo.cohort import SEED, draw_cases
from ksfusion.demo.expression import draw_genes, draw_levels
from ksfusion.demo.planted_genes import planted_effects, planted_outcomes

CASES = draw_cases(SEED)


def test_outcomes_are_those_of_the_cases():
    outcomes = planted_outcomes(CASES)
    assert len(outcomes) == 4 + 3 + 1
    assert sum(outcomes["grading", grade] for grade in ("G2", "G3", "G4")).tolist() == [1] * len(CASES)
    assert np.array_equal(outcomes["diagnosis", "glioblastoma"] == 1, CASES["diagnosis"] == "glioblastoma")
    # A high log hazard means an early death.
    died = CASES["event"] == 1
    early = np.corrcoef(outcomes["survival", "risk"][died], np.log(CASES.loc[died, "survival_days"]))[0, 1]
    assert early < -0.4


@pytest.mark.slow
def test_the_correlations_are_those_of_drawn_profiles():
    genes = draw_genes(SEED)
    profiles = CASES.assign(
        diagnosis=CASES["programme"], tumour=CASES["gene_tumour"], tme=CASES["gene_tme"], library=0.0
    )
    outcomes, repeats = planted_outcomes(CASES), 25
    levels = np.stack(
        [
            draw_levels(profile, genes, np.random.default_rng([number, repeat]))
            for number, (_, profile) in enumerate(profiles.iterrows())
            for repeat in range(repeats)
        ]
    )
    expected = planted_effects(genes, CASES).set_index(["task", "class", "symbol"])["correlation"].sort_index()
    for (task, name), outcome in outcomes.items():
        of_each = np.repeat(outcome, repeats)
        centred = levels - levels.mean(axis=0)
        found = centred.T @ (of_each - of_each.mean()) / len(levels) / levels.std(axis=0) / of_each.std()
        known = expected[task, name]
        drawn = dict(zip(genes["symbol"], found, strict=True))
        off = np.array([drawn[symbol] - value for symbol, value in known.items()])
        # 400 profiles tell a correlation to 0.05.
        assert np.abs(off).max() < 0.22 and np.sqrt(np.mean(off**2)) < 0.07, (task, name)
        assert known.abs().max() > 0.15
