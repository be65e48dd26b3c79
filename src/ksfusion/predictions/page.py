"""The page of a patient: one self-contained HTML file that loads nothing, runs nothing and prints on A4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ksfusion.bundles.config import BundleContents
from ksfusion.core.provenance import as_json
from ksfusion.methods.registry import METHODS
from ksfusion.predictions.charts import curve_chart, strip
from ksfusion.predictions.page_scores import score_rows
from ksfusion.predictions.page_text import cautions, figures, how_it_came, member_rows, notes, sentence
from ksfusion.results.report.gallery import HEATMAP_PX, PICTURE_PX, small_picture
from ksfusion.results.report.heatmaps import SHEET_PX
from ksfusion.results.report.page import STYLE as REPORT_STYLE
from ksfusion.results.report.policy import content_policy
from ksfusion.terms.flags import FLAGS
from ksfusion.terms.tasks import probability_column

TEMPLATE, STYLE = (Path(__file__).with_name(f"case.{ending}") for ending in ("html.j2", "css"))
KINDS = {"features": "features of its patches", "expression": "scaled genes", "stain": "stain"}
BAR_PX = 140


@dataclass(frozen=True, eq=False)
class PageFiles:
    """What a page may hold of files.

    Attributes
    ----------
    explanations
        Folder of `ksfusion.stages.explain_cases`, and its list.
    overviews
        slide_id to its picture, and the list that names it.
    metrics : pandas.DataFrame
        ``metrics.tsv`` of the bundle, as text.
    """

    explanations: tuple[Path, Path]
    overviews: Mapping[str, tuple[Path, Path]]
    metrics: pd.DataFrame


def render_case(
    case: Mapping[str, Any],
    explanation: Mapping[str, Any] | None,
    slides: pd.DataFrame,
    contents: BundleContents,
    files: PageFiles,
    made_by: Mapping[str, Any],
) -> str:
    """Return the page of a patient.

    Parameters
    ----------
    case
        What is told of it (`ksfusion.predictions.cases.PredictedCase.record`).
    explanation
        Its slides' pictures and its genes; None where there is no answer.
    slides
        The slides' ledger, by slide_id.
    contents
        What the bundle is.
    files
        Pictures, and how good the models are.
    made_by
        The provenance of the page.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = REPORT_STYLE.read_text(encoding="utf-8") + STYLE.read_text(encoding="utf-8")
    answer, task = case["answer"], contents.task
    own = slides.loc[[slide_id for slide_id in _slides_of(case) if slide_id in slides.index]]
    return environment.get_template(TEMPLATE.name).render(
        policy=content_policy(css),
        css=css,
        case_id=case["case_id"],
        heading=task.heading,
        lead=f"Predicted by {METHODS[contents.method].label}, {_n_models(contents)}{_of_study(contents)}.",
        cautions=cautions(case),
        answer=answer,
        said=sentence(answer, task) if answer else "",
        classes=_class_rows(answer, contents) if answer and task.kind == "classification" else [],
        set_level=bool(answer and answer["conformal"] and not answer["conformal"]["reason"]),
        percentile=_percentile(answer, contents) if answer and answer["percentile"] else None,
        chart=curve_chart(answer) if answer else None,
        notes=notes(answer, task) if answer else [],
        samples=case["samples"],
        how=how_it_came(case) if answer else "",
        **member_rows(answer, task),
        distances=[_distance(entry) for entry in case["distances"]],
        farther=f"{100 * case['distances'][0]['farther']:g} %" if case["distances"] else "",
        **_explained(explanation, files, contents),
        slides=[_slide_row(slide_id, row) for slide_id, row in own.iterrows()],
        flag_names=list(FLAGS),
        overviews=_overviews(list(own.index), files.overviews),
        scores=score_rows(files.metrics, case, task),
        about=_about(contents),
        made_by=as_json(made_by),
    )


def _slides_of(case: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(sample["slide_id"] for sample in case["samples"] if sample["slide_id"]))


def _n_models(contents: BundleContents) -> str:
    count = sum(len(fold.seeds) - len(fold.skipped) for fold in contents.folds)
    return "one model" if count == 1 else f"{count} models"


def _of_study(contents: BundleContents) -> str:
    cases = sum(contents.study.cases.values())
    name = contents.study.title or contents.study.name
    of = f" of the study {name}" if name else ""
    return f"{of} with {cases} cases ({', '.join(sorted(contents.study.cases))})" if cases else of


def _class_rows(answer: Mapping[str, Any], contents: BundleContents) -> list[dict[str, Any]]:
    """Return a row for each class, the most likely first."""
    task, rows = contents.task, []
    inside = set((answer["conformal"] or {}).get("classes", ()))
    order = sorted(task.classes, key=lambda name: -answer["values"][probability_column(name)]["mean"])
    for number, name in enumerate(order):
        column = probability_column(name)
        spread, calibrated = answer["values"][column], answer["calibrated"].get(column)
        models = [member["values"][column] for member in answer["members"]]
        rows.append(
            {
                "label": task.class_labels()[task.classes.index(name)],
                "first": number == 0,
                "strip": strip(spread["mean"], models, calibrated),
                "mean": figures(spread["mean"]),
                "sd": figures(spread["sd"]),
                "calibrated": figures(calibrated),
                "in_set": name in inside,
            }
        )
    return rows


def _percentile(answer: Mapping[str, Any], contents: BundleContents) -> dict[str, Any]:
    spread = answer["percentile"]
    models = [member["percentile"] / 100 for member in answer["members"] if member["percentile"] is not None]
    return {
        "label": "Risk" if contents.task.kind == "survival" else contents.task.heading,
        "strip": strip((spread["mean"] or 0) / 100, models),
        "mean": figures(spread["mean"], 0),
        "sd": figures(spread["sd"], 0),
    }


def _distance(entry: Mapping[str, Any]) -> dict[str, Any]:
    far = not entry["distance"] <= entry["limit"]
    numbers = {name: f"{entry[name]:.3g}" for name in ("distance", "limit")}
    return {"sample_id": entry["sample_id"], "of": KINDS[entry["kind"]], "far": far, **numbers}


def _explained(explanation: Mapping[str, Any] | None, files: PageFiles, contents: BundleContents) -> dict[str, Any]:
    """Return the pictures and genes of a case as the template takes them."""
    folder, listed = files.explanations
    pictures = []
    for drawn in (explanation or {}).get("slides", ()):
        picture = {"image": small_picture(folder / drawn["heatmap"], listed, HEATMAP_PX), "sheet": ""}
        if drawn["patches"]:
            picture["sheet"] = small_picture(folder / drawn["patches"], listed, SHEET_PX)
        pictures.append({**drawn, **picture})
    genes = _gene_rows((explanation or {}).get("genes", ()))
    kind = contents.task.kind
    of = {"classification": "the predicted class", "survival": "the risk", "regression": "the number"}[kind]
    said = (
        f"Attribution of {of} to each gene (integrated gradients, baseline: the training mean), averaged over models; "
        "the largest first. Values are scaled as in training. Right of the middle: it speaks for "
        f"{of}, left of it: against."
    )
    return {"pictures": pictures, "genes": genes, "genes_said": said}


def _gene_rows(genes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    largest = max((abs(row["mean"]) for row in genes), default=0) or 1
    rows = []
    for row in genes:
        width = round(BAR_PX / 2 * abs(row["mean"]) / largest, 1)
        sign = "plus" if row["mean"] >= 0 else "minus"
        rows.append(
            {
                "symbol": row["symbol"],
                "niche": "TME" if row["niche"] == "tme" else row["niche"],
                "value": f"{row['value']:+.2f}",
                "mean": f"{row['mean']:+.3f}",
                "sd": figures(row["sd"], 3),
                "width": width,
                "sign": sign,
                "x": BAR_PX / 2 if sign == "plus" else round(BAR_PX / 2 - width, 1),
            }
        )
    return rows


def _slide_row(slide_id: Any, row: pd.Series) -> dict[str, Any]:
    amounts = [figures(row["mpp"], 3), figures(row["tissue_mm2"], 1), f"{row['tiles']:.0f}"]
    amounts.append(f"{row['unique_patches']:.0f}")
    flags = ["" if pd.isna(row[flag]) else f"{row[flag]:.0%}" for flag in FLAGS]
    status = "used" if row["status"] == "ok" else f"failed: {row['reason']}"
    stain = "" if pd.isna(row["stain"]) else str(row["stain"])
    return {"slide_id": slide_id, "status": status, "numbers": [*amounts, *flags], "stain": stain}


def _overviews(slide_ids: Sequence[str], known: Mapping[str, tuple[Path, Path]]) -> list[dict[str, str]]:
    return [
        {"slide_id": slide_id, "image": small_picture(*known[slide_id], PICTURE_PX)}
        for slide_id in slide_ids
        if slide_id in known
    ]


def _about(contents: BundleContents) -> list[tuple[str, str]]:
    """Return what is said of the bundle."""
    folds = len(contents.folds)
    said = [
        ("Task", contents.task.heading),
        ("Method", METHODS[contents.method].label),
        ("Models", f"{_n_models(contents)}, {folds} fold{'s' if folds > 1 else ''}"),
    ]
    if contents.encoder:
        said.append(("Encoder", contents.encoder.name or "features of another tool"))
    if contents.expression:
        units = ", ".join(f"{entry.cohort} ({entry.unit})" for entry in contents.expression)
        said.append(("Expression of training", units))
    return said
