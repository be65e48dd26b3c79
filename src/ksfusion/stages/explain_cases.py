"""Why the answers for new patients are what they are: pictures of where models look, and the genes that move them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ksfusion.bundles import read_bundle
from ksfusion.core.atomic import atomic
from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import read_json, write_json
from ksfusion.predictions.config import ExplainCasesSettings
from ksfusion.predictions.explainer import Explainer
from ksfusion.predictions.files import NewFiles, read_new
from ksfusion.results.attention.drawing import Drawing
from ksfusion.results.attention.patch_gallery import read_slide_and_patches
from ksfusion.results.attention.slide_picture import read_patches
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls

log = logging.getLogger(__name__)

LIST = "explanations.json"


def explain_cases(
    files: NewFiles,
    *,
    answers: Path,
    manifest: Path,
    output: Path,
    settings: ExplainCasesSettings,
    features: Sequence[Path] = (),
) -> None:
    """Draw where the models look on the slides of new patients, and tell which genes move their answers.

    Parameters
    ----------
    files
        The bundle, and what the stages before have made of the samples.
    answers
        What is told of each patient, of `predict-cases`.
    manifest
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    output
        Folder of the pictures; ``explanations.json`` says which are whose, and has the genes.
    settings
        Which bundle it is, and how slides are read.
    features
        ``features/{batch}.h5`` of all batches.
    """
    bundle = read_bundle(files.bundle)
    new = read_new(files, bundle)
    made_by = provenance(__name__, settings.record())
    explainer = Explainer(bundle, new)
    patches = read_patches(features, set(new.usable["slide_id"]) - {""}) if explainer.has_attention else {}
    sources = slide_sources(manifest) if explainer.has_attention else {}
    told, reading = {}, settings.slides if explainer.has_attention else None
    with atomic(output) as temporary, contextlib.ExitStack() as stack:
        temporary.mkdir()
        # One process for all slides.
        read = stack.enter_context(IsolatedCalls(read_slide_and_patches, reading.timeout)) if reading else None
        drawing = Drawing(patches, sources, temporary, read, reading, as_json(made_by))
        for case in read_json(answers)["cases"]:
            if not case["answer"]:
                continue
            drawn = explainer.draw(case, drawing)
            told[case["case_id"]] = {"slides": [asdict(one) for one in drawn], "genes": explainer.genes(case)}
            log.info("%s: %d slides drawn", case["case_id"], len(drawn))
        write_json({"cases": told, "provenance": made_by}, temporary / LIST)
