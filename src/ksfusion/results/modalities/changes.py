"""What is changed of the modalities of test samples, and the table that says what is then predicted of them."""

from __future__ import annotations

from ksfusion.results.runs import IDENTITY, outcome_columns
from ksfusion.terms.tasks import TaskOutcome

# What a prediction is made of: the sample's own, another's genes, another's patches, or no interaction of the two.
OWN, GENES, PATCHES, ADDITIVE = "own", "genes", "patches", "additive"
CHANGE, PERMUTATION = "changed", "permutation"
SAMPLE = ("sample_id", "case_id", "cohort")
PERMUTATIONS = 20


def audit_columns(task: TaskOutcome) -> list[str]:
    """Return the columns of a table of `ksfusion.stages.audit_modalities`.

    They are task, method, fold and seed, ``changed`` (`OWN`, `GENES`, `PATCHES` or `ADDITIVE`), ``permutation`` (0
    where nothing is permuted), sample_id, case_id, cohort, truth and prediction.
    """
    truth, prediction = outcome_columns(task)
    return [*IDENTITY, CHANGE, PERMUTATION, *SAMPLE, *truth, *prediction]
