"""What looks wrong in survival: deaths without a time, events that seem flipped, times in another unit than days."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ksfusion.terms.findings import Finding
from ksfusion.terms.units import TimeUnit

# One-sided 5 %, and where the normal distribution has it: how sure a comparison must be to be told.
SIGNIFICANCE = 0.05
CRITICAL_Z = 1.645
FEWEST_CASES = 10
FEWEST_DEATHS = 5
# Shares of a grade that die.
FEW_DIE, MANY_DIE = 0.2, 0.5
# Glioma is followed for years: of ten cases and more some pass 400 days, and hardly any 400 months or 40 years. The
# longest times are not asked, since a single wrong one would hide a whole column.
NEARLY_LONGEST = 0.95
LONGEST: dict[TimeUnit, float] = {"months": 400, "years": 40}
TYPICAL_MONTHS = 60


def survival_findings(
    cases: pd.DataFrame, time: str, event: str, *, cohorts: pd.Series | None = None, unit: TimeUnit
) -> Iterator[Finding]:
    """Yield what looks wrong in a column of times and its column of events, in each cohort by itself.

    Parameters
    ----------
    cases : pandas.DataFrame, one row per case
        Text columns as the user gave them; ``grade`` where there is one.
    time, event
        Names of the columns, the event being 1 for a death.
    cohorts
        The cohort of each case, on the index of ``cases``; one cohort when None.
    unit
        Unit of the times, as the configuration declares it.
    """
    empty = pd.Series("", index=cases.index)
    times, events = cases.get(time, empty), cases.get(event, empty)
    for case_id in cases.loc[(times == "") & (events == "1"), "case_id"]:
        yield _finding("dead_without_time", case_id, f"{event} is 1 and {time} is empty")
    for case_id in cases.loc[(times != "") & (events == ""), "case_id"]:
        yield _finding("time_without_event", case_id, f"{time} is given and {event} is empty")
    grades = cases.get("grade", empty)
    for cohort, rows in cases.groupby(empty if cohorts is None else cohorts).groups.items():
        where = f"cohort {cohort}: " if cohort else ""
        known = rows[(times[rows] != "") & (events[rows] != "")]
        yield from _events(times[known].astype(float), events[known] == "1", grades[known], event, where)
        given = times[rows][times[rows] != ""].astype(float)
        yield from _unit(given, time, unit, where)


def _events(days: pd.Series, died: pd.Series, grades: pd.Series, event: str, where: str) -> Iterator[Finding]:
    """Compare grades 2 and 4 where both are there; else say only whether deaths come late.

    Grade 4 dies faster; or, since a flipped column says little of the times of deaths, it dies more often: fewer deaths
    are the evidence there, unless the times speak against it (grade 2 followed for longer). A few early deaths do not,
    where nearly all of grade 4 live and most of grade 2 die: so short is no follow-up.
    """
    by_grade = excess_deaths(days, died, grades)
    died_of = {grade: died[grades == grade] for grade in ("G4", "G2")}
    nearly_all_live = died_of["G4"].mean() < FEW_DIE and died_of["G2"].mean() > MANY_DIE
    times_speak_against = by_grade > CRITICAL_Z and not nearly_all_live
    fewer_die = not times_speak_against and fewer_deaths(died, grades) < SIGNIFICANCE
    if looks_flipped := by_grade < -CRITICAL_Z or fewer_die:
        deaths = ", ".join(
            f"{int(dead.sum())} of {len(dead)} cases of {grade} have {event} 1" for grade, dead in died_of.items()
        )
        how = "more slowly" if by_grade <= CRITICAL_Z else "less often"
        detail = f"{where}{deaths} (log-rank z of grade 4 {by_grade:.1f}): it dies {how}; 1 must mean died"
        yield _finding("event_looks_flipped", event, detail)
    # A column that the grades bear out is right, whenever its deaths come.
    if (looks_flipped or by_grade <= CRITICAL_Z) and (share := _later_deaths(days, died)):
        detail = (
            f"{where}{share:.0%} of the pairs of a death (1) and a censoring (0) have the death later; that is natural "
            f"where nearly all or few die ({died.mean():.0%} here), else see whether 1 means died"
        )
        yield _finding("deaths_after_censorings", event, detail)


def excess_deaths(days: pd.Series, died: pd.Series, grades: pd.Series) -> float:
    """Return how many more grade 4 cases die than if they died as grade 2 does: the z of the log-rank test.

    Returns
    -------
    float
        Above 0 where grade 4 dies faster; 0 where there are too few cases or deaths to tell.
    """
    compared = grades.isin(["G2", "G4"])
    days, died, is_high = (column[compared].to_numpy() for column in (days, died, grades == "G4"))
    if min(is_high.sum(), (~is_high).sum()) < FEWEST_CASES or died.sum() < FEWEST_DEATHS:
        return 0.0
    moments = np.unique(days[died])[:, None]
    at_risk, high_at_risk = (days >= moments).sum(axis=1), ((days >= moments) & is_high).sum(axis=1)
    deaths = ((days == moments) & died).sum(axis=1)
    share = high_at_risk / at_risk
    variance = (deaths * share * (1 - share) * (at_risk - deaths) / np.maximum(at_risk - 1, 1)).sum()
    excess = (died & is_high).sum() - (deaths * share).sum()
    return float(excess / math.sqrt(variance)) if variance > 0 else 0.0


def fewer_deaths(died: pd.Series, grades: pd.Series) -> float:
    """Return the chance that so few of the deaths fall on grade 4 rather than on grade 2: Fisher's exact test.

    Returns
    -------
    float
        One-sided; 1 where there are too few cases to tell.
    """
    high, low = int((grades == "G4").sum()), int((grades == "G2").sum())
    high_deaths, deaths = int(died[grades == "G4"].sum()), int(died[grades.isin(["G2", "G4"])].sum())
    if min(high, low) < FEWEST_CASES:
        return 1.0
    ways = (math.comb(high, number) * math.comb(low, deaths - number) for number in range(high_deaths + 1))
    return sum(ways) / math.comb(high + low, deaths)


def _later_deaths(days: pd.Series, died: pd.Series) -> float:
    """Return the share of pairs whose death is the later one, 0 where that is no more than half (Mann-Whitney)."""
    deaths, censored = int(died.sum()), int((~died).sum())
    if min(deaths, censored) < FEWEST_CASES:
        return 0.0
    later = (days.rank()[died].sum() - deaths * (deaths + 1) / 2) / (deaths * censored)
    spread = math.sqrt((deaths + censored + 1) / (12 * deaths * censored))
    return later if (later - 0.5) / spread > CRITICAL_Z else 0.0


def _unit(times: pd.Series, time: str, unit: TimeUnit, where: str) -> Iterator[Finding]:
    if len(times) < FEWEST_CASES:
        return
    long, middle = times.quantile(NEARLY_LONGEST), times.median()
    numbers = f"{where}{NEARLY_LONGEST:.0%} are at most {long:g}, the median is {middle:g}"
    if unit != "days":
        if long >= LONGEST[unit]:
            yield _finding("time_reads_as_days", time, f"{numbers}; the task declares them as {unit}")
    elif long < LONGEST["months"] and ((times % 1 != 0).any() or middle < TYPICAL_MONTHS):
        detail = f"{numbers}; if these are months or years, give the survival task that unit"
        yield _finding("time_reads_as_months", time, detail)


def _finding(check: str, subject: str, detail: str) -> Finding:
    return Finding(check=check, subject=subject, detail=detail)
