"""What looks wrong in the labels: deaths without a time, columns that seem flipped or in months, confounded cohorts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

# One-sided 5 % of the normal distribution: how sure a comparison must be to be told.
SURE = 1.645
FEW = 10
# Glioma is followed for years: among ten cases and more one passes 400 days, and hardly any 400 months.
MOST_MONTHS = 400
TYPICAL_MONTHS = 60
# A cohort nearly all of one class, which the other cohorts are not.
NEARLY_ALL = 0.95

Finding = dict[str, str]


def survival_findings(cases: pd.DataFrame, time: str, event: str) -> Iterator[Finding]:
    """Yield what looks wrong in a column of times and its column of events.

    Parameters
    ----------
    cases : pandas.DataFrame, one row per case
        Text columns as the user gave them; ``grade`` where there is one.
    time, event
        Names of the columns: days, and 1 for a death.
    """
    empty = pd.Series("", index=cases.index)
    times, events = cases.get(time, empty), cases.get(event, empty)
    for case_id in cases.loc[(times == "") & (events == "1"), "case_id"]:
        yield _finding("dead_without_time", case_id, f"{event} is 1 and {time} is empty")
    for case_id in cases.loc[(times != "") & (events == ""), "case_id"]:
        yield _finding("time_without_event", case_id, f"{time} is given and {event} is empty")
    known = (times != "") & (events != "")
    days, died = times[known].astype(float), events[known] == "1"
    yield from _flipped_by_time(days, died, time, event)
    if "grade" in cases:
        yield from _flipped_by_grade(days, died, cases.loc[known, "grade"], event)
    yield from _in_months(times[times != ""].astype(float), time)


def _flipped_by_time(days: pd.Series, died: pd.Series, time: str, event: str) -> Iterator[Finding]:
    """Deaths that come later than censorings: the Mann-Whitney test."""
    deaths, censored = int(died.sum()), int((~died).sum())
    if min(deaths, censored) < FEW:
        return
    later = (days.rank()[died].sum() - deaths * (deaths + 1) / 2) / (deaths * censored)
    spread = math.sqrt((deaths + censored + 1) / (12 * deaths * censored))
    if (later - 0.5) / spread > SURE:
        detail = f"{later:.0%} of the pairs have the death (1) after the censoring (0) in {time}; 1 must mean died"
        yield _finding("event_looks_flipped", event, detail)


def _flipped_by_grade(days: pd.Series, died: pd.Series, grade: pd.Series, event: str) -> Iterator[Finding]:
    """Grade 4 that dies more slowly than grade 2: their deaths per year of follow-up."""
    deaths = {name: int(died[grade == name].sum()) for name in ("G2", "G4")}
    years = {name: days[grade == name].sum() / 365.25 for name in deaths}
    if min((grade == name).sum() for name in deaths) < FEW or min(deaths.values()) == 0:
        return
    rates = {name: deaths[name] / years[name] for name in deaths}
    spread = math.sqrt(sum(1 / count for count in deaths.values()))
    if math.log(rates["G2"] / rates["G4"]) / spread > SURE:
        detail = f"grade 4 lives longer: {rates['G4']:.2f} deaths a year, grade 2 {rates['G2']:.2f}; 1 must mean died"
        yield _finding("event_looks_flipped", event, detail)


def _in_months(times: pd.Series, time: str) -> Iterator[Finding]:
    if len(times) < FEW or times.max() >= MOST_MONTHS:
        return
    if (times % 1 != 0).any() or times.median() < TYPICAL_MONTHS:
        detail = f"the longest is {times.max():g}, the median {times.median():g}; a time is in days: multiply by 30.44"
        yield _finding("time_reads_as_months", time, detail)


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
                yield _finding("cohort_confounded_with_label", cohort, detail)


def _finding(check: str, subject: str, detail: str) -> Finding:
    return {"check": check, "subject": subject, "detail": detail}
