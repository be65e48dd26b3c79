"""How often the models are right, on a patient's page: the study's test cases, and those that lack what it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics.names import METRICS, metric_label, printed_value
from ksfusion.terms.modalities import MODALITIES, PAIRED, STANDS_IN
from ksfusion.terms.splits import EXTERNAL

# Of a kind of task, as many metrics are shown.
SHOWN = 2
OF = {"": "all", ALL: "all", PAIRED: "with slide and profile"}


def score_rows(metrics: pd.DataFrame, case: Mapping[str, Any], task: ShownTask) -> list[dict[str, str]]:
    """Return how good the models are, a row for each metric and kind of test cases.

    Parameters
    ----------
    metrics : pandas.DataFrame
        ``metrics.tsv`` of the bundle, as text.
    case
        What is told of the patient: where its sample lacks a slide or a profile, test samples that do are shown too.
    task
        What is predicted.

    Returns
    -------
    list of dict
        metric, of, value, interval and n.
    """
    flags = {flag["code"] for flag in case["flags"]}
    alone = [kind for kind, code in STANDS_IN.items() if code in flags]
    rows = metrics.reindex(columns=[*metrics.columns, *{"split", MODALITIES} - set(metrics.columns)], fill_value="")
    rows = rows[(rows["fold"] == ALL) & (rows["cohort"] == ALL) & (rows["split"] != EXTERNAL)]
    shown = []
    for metric in METRICS[task.kind][:SHOWN]:
        for row in rows[(rows["metric"] == metric) & (rows["mean"] != "")].to_dict("records"):
            kind = row[MODALITIES]
            # Who has both is counted by case; who has one, by sample.
            if row["level"] != ("sample" if kind in alone else "case") or not (kind in OF or kind in alone):
                continue
            shown.append({"metric": metric_label(metric), "of": OF.get(kind, kind), "n": row["n"], **_numbers(row)})
    return shown


def _numbers(row: Mapping[str, str]) -> dict[str, str]:
    value, low, high = (
        printed_value(row["metric"], float(row[name])) if row[name] else "" for name in ("mean", "ci_low", "ci_high")
    )
    return {"value": value, "interval": f"{low} to {high}" if low else ""}
