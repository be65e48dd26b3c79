"""A page for each new patient."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ksfusion.bundles.contents import METRICS, read_contents
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_json, read_tsv, write_text
from ksfusion.predictions.config import WritePagesSettings
from ksfusion.predictions.page import PageFiles, render_case
from ksfusion.results.report.gallery import overview_lists

log = logging.getLogger(__name__)


def write_pages(
    bundle: Path,
    answers: Path,
    explanations: Path,
    slides: Path,
    output: Path,
    *,
    settings: WritePagesSettings,
    overviews: Sequence[Path] = (),
) -> None:
    """Write a self-contained page for each new patient.

    Parameters
    ----------
    bundle
        The bundle's folder.
    answers
        What is told of each patient, of `predict-cases`.
    explanations
        ``explanations.json`` of `explain-cases`, beside its pictures.
    slides
        Table of slides, of `write-ledger`.
    output
        Folder that gets ``{case_id}.html``.
    settings
        Which bundle it is.
    overviews
        Lists of the slides' pictures of all batches, of `draw-overviews`.
    """
    contents, _ = read_contents(bundle)
    made_by = provenance(__name__, settings.record())
    told = read_json(explanations)["cases"]
    ledger = read_tsv(slides, dtype={"slide_id": str, "reason": str, "stain": str}).set_index("slide_id")
    metrics = read_tsv(bundle / METRICS, dtype=str).fillna("")
    files = PageFiles((explanations.parent, explanations), overview_lists(overviews), metrics)
    for case in read_json(answers)["cases"]:
        page = render_case(case, told.get(case["case_id"]), ledger, contents, files, made_by)
        write_text(page, output / f"{case['case_id']}.html", made_by)
