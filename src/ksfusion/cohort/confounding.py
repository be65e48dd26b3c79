"""Cohorts that give the label away: nearly all of one class, which the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ksfusion.terms.findings import Finding

# A cohort nearly all of one class, which the other cohorts are not.
NEARLY_ALL = 0.95


def confounding_findings(samples: pd.DataFrame, labels: Mapping[str, pd.Series]) -> Iterator[Finding]:
    """Yield cohorts that are nearly all of one class, which a model may tell by their stain or sequencing alone.

    Parameters
    ----------
    samples : pandas.DataFrame
        case_id, cohort.
    labels
        Task to the class of each case, by case_id; missing where unknown.
    """
    pairs = samples[["case_id", "cohort"]].drop_duplicates()
    for task, classes in labels.items():
        table = pairs.assign(label=pairs["case_id"].map(classes)).dropna()
        for cohort, own in table.groupby("cohort"):
            others = table.loc[table["cohort"] != cohort, "label"]
            label, share = own["label"].mode()[0], own["label"].value_counts(normalize=True).iloc[0]
            if len(others) and share >= NEARLY_ALL > np.mean(others == label):
                detail = (
                    f"{task}: {share:.0%} of its {len(own)} labelled cases are {label}, of the others "
                    f"{np.mean(others == label):.0%}; a model may tell the cohort and not the disease, so read the "
                    "results by cohort"
                )
                yield Finding(check="cohort_confounded_with_label", subject=cohort, detail=detail)
