"""What is written of an evaluation: tables in the form of a study's, its figures, and a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ksfusion.bundles.evaluation import Evaluated, as_runs, calibration_table
from ksfusion.bundles.evaluation_scores import scores
from ksfusion.bundles.read import Bundle
from ksfusion.core.provenance import as_json
from ksfusion.core.storage import write_text, write_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL, Times
from ksfusion.results.plots.figures import figures_of_task
from ksfusion.results.plots.panels import save_figure
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.runs import Run, external_cohorts
from ksfusion.results.statistics import COVERAGE, RESAMPLES
from ksfusion.results.tables.external import as_text as drops_as_text
from ksfusion.results.tables.external import no_drops
from ksfusion.results.tables.layout import EXTERNAL_NOTES, lay_out
from ksfusion.results.tables.markdown import escape, to_markdown
from ksfusion.results.tables.partial import kinds_in
from ksfusion.results.tables.scores import as_text
from ksfusion.results.tables.supplement import lay_out_supplement


def write_evaluation(
    bundle: Bundle,
    found: Evaluated,
    output: Path,
    made_by: Mapping[str, Any],
    *,
    level: float | None = None,
    resamples: int = RESAMPLES,
) -> list[str]:
    """Write the results of a bundle on labelled cases.

    Parameters
    ----------
    bundle
        The bundle.
    found
        What it is evaluated on.
    output
        Folder that gets ``table.tsv`` and ``table_s1.tsv`` (`ksfusion.results.tables.scores.COLUMNS`), ``drops.tsv``
        (beside the study's own test samples), ``calibration.tsv``, ``left_out.tsv``, ``figures/`` and
        ``evaluation.md``.
    made_by
        Provenance of the files.
    level
        Of the conformal sets; None is that of the bundle.
    resamples
        Draws of the cases for the intervals.

    Returns
    -------
    list of str
        The metrics of cases, a line for each cohort.
    """
    runs = as_runs(bundle, found.tables)
    table, further, drops = scores(bundle, found, runs, resamples)
    calibration = calibration_table(bundle, found.tables, level)
    for name, content in (("table", as_text(table)), ("table_s1", as_text(further)), ("drops", drops_as_text(drops))):
        write_tsv(content, output / f"{name}.tsv", made_by)
    write_tsv(calibration, output / "calibration.tsv", made_by)
    write_tsv(found.left_out, output / "left_out.tsv", made_by)
    figures = _draw(bundle, runs, output / "figures", made_by, resamples=resamples)
    write_text(_page(bundle, found, table, further, drops, calibration, figures), output / "evaluation.md", made_by)
    own = table[(table["level"] == "case") & (table["fold"] == ALL)]
    return [
        f"cohort {cohort}: "
        + ", ".join(f"{row.metric} {row.mean:.1f} ({row.ci_low:.1f} to {row.ci_high:.1f})" for row in rows.itertuples())
        + f", {rows['n'].max()} cases"
        for cohort, rows in own.groupby("cohort", sort=False)
    ]


def _draw(
    bundle: Bundle, runs: Sequence[Run], output: Path, made_by: Mapping[str, Any], *, resamples: int
) -> list[tuple[str, str]]:
    """Draw the figures of each cohort; return the name and the title of each."""
    drawn = []
    with drawing_style():
        for number, cohort in enumerate(external_cohorts(runs), start=1):
            own = [run.on_external(cohort) for run in runs]
            figures = figures_of_task(
                own,
                bundle.task,
                methods=[bundle.method],
                times=Times().times,
                resamples=resamples,
                external=cohort,
            )
            for entry, figure in figures:
                name = f"{entry['name']}_external{number}"
                save_figure(figure, output / name, as_json(made_by))
                drawn.append((name, entry["title"]))
    return drawn


def _page(
    bundle: Bundle,
    found: Evaluated,
    table: pd.DataFrame,
    further: pd.DataFrame,
    drops: pd.DataFrame,
    calibration: pd.DataFrame,
    figures: Sequence[tuple[str, str]],
) -> str:
    """Return the page of an evaluation."""
    label, task = METHODS[bundle.method].label, bundle.task
    without = found.left_out["case_id"].nunique()
    parts = [
        f"# {escape(label)} for {escape(task.heading)}, evaluated\n\nFor research only. Means over members (seeds, and "
        "folds where there are several) with their 95 % intervals by bootstrap over the cases, as in a study's tables. "
        f"A case that took part in training is left out. Left out, for that or another reason: {without} "
        "(`left_out.tsv`)."
    ]
    for cohort in table["cohort"].unique():
        notes = _notes(cohort, bundle)
        titled = [
            ("Samples", lay_out(table, cohort=cohort, drops=drops)),
            ("Cases", lay_out(table, level="case", cohort=cohort, drops=drops)),
        ]
        for about, layout in lay_out_supplement(further, [task], cohort=cohort, drops=drops):
            titled.append((f"Further metrics of samples: {about}", layout))
        for kind in kinds_in(table[table["cohort"] == cohort]):
            layout = lay_out(table, cohort=cohort, drops=no_drops(), modalities=kind)
            titled.append((f"Samples with {kind}", layout))
        for title, layout in titled:
            said = (*(note for note in layout.notes if note not in EXTERNAL_NOTES), *notes)
            parts.append(to_markdown(replace(layout, notes=said), title=f"{title}, cohort {cohort}"))
    if len(calibration):
        parts.append(_calibration_lines(calibration))
    parts.append("# Figures\n\n" + "\n\n".join(f"![{escape(title)}](figures/{name}.png)" for name, title in figures))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _notes(cohort: str, bundle: Bundle) -> tuple[str, str]:
    """Return what stands under the tables of a cohort in the place of a study's notes on external cohorts."""
    from_study = (
        "Other cases of this cohort trained the models, or chose among them: this is no outside cohort."
        if cohort in bundle.contents.study.cases
        else "Nothing was fitted, chosen or trained on this cohort."
    )
    drop = (
        f"Drop: the mean on the study's test samples less that here, with its {COVERAGE} % interval by bootstrap over "
        "the cases of both, drawn independently; without one where cases of the study are among them. Above 0 the "
        "bundle is worse here, where less is good better."
    )
    return from_study, drop


def _calibration_lines(calibration: pd.DataFrame) -> str:
    """Return what is said of temperature and conformal sets."""
    lines = ["# Calibration of the mean of members\n"]
    for row in calibration.to_dict("records"):
        where = f"Cohort {row['cohort']}, fold {row['fold']}, {row['cases']} cases"
        said = f"mean negative log-likelihood {row['loss_raw']:.4g}"
        if not pd.isna(row["loss_calibrated"]):
            said += f", with the temperature ({row['temperature']:.3g}) {row['loss_calibrated']:.4g}"
        if not pd.isna(row["covered"]):
            said += (
                f"; conformal sets of level {row['level']:.0%} hold the class of {row['covered']:.1%} of the cases, "
                f"with {row['classes']:.2g} classes on average (for "
                "other cohorts than the study's no coverage is claimed)"
            )
        said += f"; {row['reason']}" if row["reason"] else ""
        lines.append(escape(f"{where}: {said}."))
    return lines[0] + "\n" + "\n".join(f"- {line}" for line in lines[1:])
