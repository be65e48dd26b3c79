"""The model card of a bundle: what it is for, what it was made from, how good it is, and where that ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ksfusion.bundles.config import BundleContents, BundleFold, FoldCalibration, FoldTraining
from ksfusion.bundles.conformal import fewest_cases
from ksfusion.bundles.contents import METRICS, SUBGROUPS, read_block, read_calibration, training_file
from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.config import ALL, ShownTask
from ksfusion.results.metrics.names import METRICS as METRICS_OF
from ksfusion.results.metrics.names import metric_label, printed_value
from ksfusion.results.tables.markdown import escape
from ksfusion.terms.modalities import MODALITIES
from ksfusion.terms.splits import EXTERNAL

CARD = "model_card.md"
INTENDED_USE = (
    "For research only. It is no medical device, no authority has seen it, and it must not be used for decisions about "
    "patients. It may be used to study the method, to compare it with others, and to test it on cohorts of your own."
)
READS = {"p": "patches of the slide", "g": "gene expression", "pg": "patches of the slide and gene expression"}


def model_card(folder: Path, contents: BundleContents, caveats: Sequence[str]) -> str:
    """Return the model card of a bundle as Markdown.

    Parameters
    ----------
    folder
        The bundle, with all its other files.
    contents
        What it is.
    caveats
        The sentences that stand wherever the study's results do.
    """
    task, label = contents.task, METHODS[contents.method].label
    calibrations = {part.fold: read_calibration(folder, part.fold) for part in contents.folds}
    training = {part.fold: read_block(training_file(folder, part.fold), FoldTraining) for part in contents.folds}
    parts = [
        f"# Model card: {escape(label)} for {escape(task.heading.lower() if not task.title else task.title)}",
        f"## Intended use\n\n{INTENDED_USE}",
        f"## Model\n\n{_bullets(_model(contents, label))}",
        f"## Data\n\n{_bullets(_data(folder, contents))}",
        f"## Metrics\n\n{_metrics(folder, task)}",
        f"## Subgroups\n\n{_subgroups(folder)}",
        f"## Calibration and sets\n\n{_bullets(_calibration(calibrations, contents.level))}",
        f"## What is flagged\n\n{_bullets(_distances(training))}",
        f"## Limits\n\n{_bullets([*_limits(folder, contents), *caveats])}",
    ]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)


def _model(contents: BundleContents, label: str) -> Iterable[str]:
    task = contents.task
    yield f"{label} (method {contents.method}), which reads {READS[contents.modalities]}."
    if task.kind == "classification":
        yield f"It predicts the probability of each class: {', '.join(task.class_labels())}."
    elif task.kind == "survival":
        yield "It predicts a risk and a survival curve in days; a higher risk means an earlier death."
    else:
        yield "It predicts a number."
    if contents.partial:
        yield "A sample may lack its slide or its profile: learned numbers stand in for it, and less is known of it."
    for part in contents.folds:
        yield f"Fold {part.fold}: seeds {', '.join(map(str, part.seeds))}{_skipped(part)}."
    if (encoder := contents.encoder) is not None:
        known = encoder.weights_sha256 or "not known, the encoder was not at hand"
        made = f"encoder {encoder.name}, SHA-256 of its weights: {known}"
        made = made if encoder.source == "extract" else "features of another tool"
        yield f"Features: {made}; {encoder.n_features} numbers a patch, {contents.n_patches} patches a slide."
    said = ", ".join(f"{name} {number}" for name, number in contents.versions.items())
    yield f"Made with {said}."


def _skipped(part: BundleFold) -> str:
    return "".join(f"; seed {seed} has no model ({reason})" for seed, reason in part.skipped.items())


def _data(folder: Path, contents: BundleContents) -> Iterable[str]:
    study = contents.study
    yield f"Study: {study.title or study.name or 'without a name'}."
    for cohort, cases in study.cases.items():
        yield f"Cohort {cohort}: {cases} cases, {study.samples[cohort]} samples in use."
    splits = read_tsv(folder / "cases.tsv", dtype={"case": str}).groupby(["fold", "split"]).size()
    for fold, counts in splits.groupby(level="fold"):
        yield f"Fold {fold}: {', '.join(f'{count} cases {split}' for (_, split), count in counts.items())}."
    yield f"Labels come from the columns {', '.join(contents.labelling.columns)} of the table of cases."
    for source in contents.expression:
        yield f"Expression of cohort {source.cohort}: {source.format}, unit {source.unit}."
    yield "Neither case ids nor slides nor profiles stand in the bundle; of case ids their SHA-256."


def _metrics(folder: Path, task: ShownTask) -> str:
    rows = _rows(folder / METRICS)
    rows = rows[(rows["fold"] == ALL) & rows["metric"].isin(METRICS_OF[task.kind])]
    if rows.empty:
        return "The study has no table of results."
    # Earlier tables have no such columns: all their rows are of test samples, which have the same.
    outside = rows["split"] == EXTERNAL if "split" in rows else pd.Series(False, rows.index)
    about = rows["cohort"].mask(outside, rows["cohort"] + " (external)")
    if MODALITIES in rows:
        about = about.mask(~rows[MODALITIES].isin(["", ALL]), about + ", " + rows[MODALITIES])
    table = _score_table("Cohort", rows.assign(about=about))
    return f"{table}\n\nAll metrics, by class and fold too, stand in `{METRICS}`."


def _subgroups(folder: Path) -> str:
    rows = _rows(folder / SUBGROUPS)
    if rows.empty:
        return "The study has no table of subgroups."
    return _score_table("Subgroup", rows.assign(about=rows["subgroup"] + " " + rows["value"]))


def _rows(path: Path) -> pd.DataFrame:
    return read_tsv(path, dtype=str).fillna("")


def _score_table(about: str, rows: pd.DataFrame) -> str:
    """Return rows of a result table as a table of Markdown; ``about`` is what their column of that name is called."""
    lines = [["Metric", "Of", about, "Mean over seeds", "95 % interval", "n", "Remark"], ["---"] * 7]
    for row in rows.to_dict("records"):
        mean, low, high = (
            printed_value(row["metric"], float(row[name])) if row[name] else ""
            for name in ("mean", "ci_low", "ci_high")
        )
        interval = f"{low} to {high}" if low else ""
        texts = [metric_label(row["metric"]), f"{row['level']}s", row["about"], row["reason"]]
        metric, of, which, remark = (escape(text) for text in texts)
        lines.append([metric, of, which, mean, interval, row["n"], remark])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _calibration(folds: Mapping[int, FoldCalibration], level: float) -> Iterable[str]:
    for fold, known in folds.items():
        if (found := known.temperature) is None:
            yield f"Fold {fold}: no temperature: {known.no_temperature}."
        else:
            yield (
                f"Fold {fold}: temperature {found.value:.3g}, fitted on {found.cases} validation cases, whose mean "
                f"negative log-likelihood it brings from {found.loss_raw:.4g} to {found.loss_calibrated:.4g}."
            )
        if known.no_scores:
            yield f"Fold {fold}: no conformal sets: {known.no_scores}."
        else:
            few = len(known.scores) < fewest_cases(1 - level)
            said = f"too few for a level of {level:.0%}" if few else f"enough for a level of {level:.0%}"
            yield (
                f"Fold {fold}: conformal sets by {len(known.scores)} cases that were held out of the choice of the "
                f"epoch and of the temperature, {said}."
            )
    if len(folds) > 1 and not all(known.no_scores for known in folds.values()):
        yield f"Of the folds together a set's level is {2 * level - 1:.0%}: a class is in it where most folds have it."
    yield (
        "The level of conformal sets is an average over cases like those of the study; for other cohorts no coverage "
        "is claimed."
    )


def _distances(folds: Mapping[int, FoldTraining]) -> Iterable[str]:
    for fold, known in folds.items():
        share = f"{1 - known.quantile:.1%}"
        for kind, limit in known.limits.items():
            yield (
                f"Fold {fold}, {kind}: Mahalanobis distance above {limit.limit:.4g} from {limit.samples} training "
                f"samples; {share} of the samples of left-out cases ({limit.cases} cases) are as far."
            )
        for name, reason in known.no_limits.items():
            yield f"Fold {fold}, {name}: nothing is flagged: {reason}."
        if known.mpp:
            scales = f"{known.mpp[0]:g}" if len(known.mpp) == 1 else f"{known.mpp[0]:g} to {known.mpp[-1]:g}"
            yield (
                f"Fold {fold}: slides of another scale than those of training ({scales} um per pixel, told by "
                f"{', '.join(known.mpp_sources)})."
            )
        if known.least_tissue_mm2 is not None:
            yield f"Fold {fold}: slides with less than {known.least_tissue_mm2:.3g} mm2 of tissue."
    yield "A sample that is not flagged may still be unlike those of training."


def _limits(folder: Path, contents: BundleContents) -> Iterable[str]:
    tested = _rows(folder / METRICS)
    if EXTERNAL not in set(tested.get("split", ())):
        yield "The metrics are of cases of the same cohorts that it was trained on; expect less elsewhere."
    yield "Intervals are over test cases; they do not hold for another hospital, scanner, stain or unit of expression."
    if len(contents.folds) > 1:
        yield (
            "The members of several folds are averaged for a new patient: each fold's metrics are of its own members, "
            "and no case is left on which the average of all was tested."
        )
    if contents.expression:
        yield "Profiles of a cohort that is not named here are scaled by the mean and spread of all training samples."
    if contents.encoder and contents.encoder.weights_sha256 is None:
        yield "The weights of the encoder are not pinned: another version of it would go unnoticed."
