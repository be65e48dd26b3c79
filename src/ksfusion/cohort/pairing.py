"""How close a slide and its expression profile were taken: from one specimen, block, tumour, or only one case."""

from __future__ import annotations

import pandas as pd

from ksfusion.terms.findings import Finding

# From the closest to the loosest. Specimens and blocks have a column for the slide and one for the profile; a sample
# has one tumour.
LEVELS = ("specimen", "block", "tumour", "case")


def pairing_levels(samples: pd.DataFrame) -> pd.Series:
    """Return the closest level that slide and profile of each sample are known to share; empty without both."""
    levels = pd.Series("case", index=samples.index).where(samples["tumour_id"] == "", "tumour")
    for level in ("block", "specimen"):
        of_slide, of_profile = _ids(samples, level)
        levels = levels.where((of_slide == "") | (of_slide != of_profile), level)
    return levels.where((samples["slide_id"] != "") & (samples["expression_id"] != ""), "")


def pairing_findings(samples: pd.DataFrame) -> list[Finding]:
    """Return how close each slide and its profile are, and where their ids are known to differ."""
    findings: list[Finding] = []
    for row, level in zip(samples.to_dict("records"), pairing_levels(samples), strict=True):
        if not level:
            continue
        details = [f"slide {row['slide_id']} and profile {row['expression_id']} share the {level}"]
        for other in ("block", "specimen"):
            pair = row[f"slide_{other}_id"], row[f"expression_{other}_id"]
            if all(pair) and pair[0] != pair[1]:
                details.append(f"slide from {other} {pair[0]}, profile from {pair[1]}")
        subject, detail = row["sample_id"], "; ".join(details)
        findings.append(Finding(check=f"pairing_same_{level}", subject=subject, detail=detail))
    return findings


def is_closest(samples: pd.DataFrame, usable: pd.Series) -> pd.Series:
    """Return which samples pair their slide as closely as any usable sample of that slide does.

    Parameters
    ----------
    samples : pandas.DataFrame
        With ``slide_id`` and ``pairing``, the level.
    usable : pandas.Series of bool
        Samples that have slide, profile and label: others do not count.
    """
    rank = samples["pairing"].map({level: number for number, level in enumerate(LEVELS)})
    return rank <= rank.where(usable).groupby(samples["slide_id"]).transform("min")


def _ids(samples: pd.DataFrame, level: str) -> tuple[pd.Series, pd.Series]:
    return samples[f"slide_{level}_id"], samples[f"expression_{level}_id"]
