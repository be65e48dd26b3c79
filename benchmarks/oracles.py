"""How much of each label of the demo cohort is in slides alone, in genes alone and in both.

    python benchmarks/oracles.py [--cases 6000] [--shared 0.2 ...]

Draws large cohorts from the demo's model, trains the three oracles on one half and scores them on the other: AUC of
diagnosis and grading and C-index of survival, in percent. Nothing is drawn, encoded or trained but these.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from ksfusion.demo import cohort
from ksfusion.demo.oracles import known_latents, predict_classes, predict_risk
from ksfusion.results.metrics import classification_metrics, survival_metrics
from ksfusion.terms.oracles import ORACLES

CLASSES = {"diagnosis": list(cohort.DIAGNOSES), "grade": ["G2", "G3", "G4"]}


def scores(cases: pd.DataFrame, oracle: str) -> list[float]:
    """Train an oracle on the first half of the cases and score it on the second: diagnosis, grading, survival."""
    half = len(cases) // 2
    known = known_latents(cases, oracle)
    found = []
    for column, classes in CLASSES.items():
        y = cases[column].map(classes.index).to_numpy()
        probabilities = predict_classes(known[:half], y[:half], known[half:], len(classes))
        found.append(classification_metrics(y[half:], probabilities)["auc"])
    days, event = cases["survival_days"].to_numpy(), cases["event"].to_numpy()
    risk = predict_risk(known[:half], days[:half], event[:half], known[half:])
    return [*found, survival_metrics(days[half:], event[half:], risk)["c_index"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12000)
    parser.add_argument("--shared", type=float, nargs="+", default=[cohort.SHARED], help="of `SHARED` [the demo's]")
    args = parser.parse_args()
    for shared in args.shared:
        cohort.SHARED = shared
        cases = cohort.draw_cases(1, gdc=args.cases, ivy=0)
        same = {name: 100 * np.mean(cases[name] == cases["diagnosis"]) for name in ("look", "programme")}
        print(
            f"shared {shared:g}: look is the diagnosis in {same['look']:.0f} %, programme in {same['programme']:.0f} %"
        )
        for oracle in ORACLES:
            diagnosis, grading, survival = scores(cases, oracle)
            print(f"  {oracle:14} diagnosis {diagnosis:5.1f}  grading {grading:5.1f}  survival {survival:5.1f}")


if __name__ == "__main__":
    main()
