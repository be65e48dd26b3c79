"""External validation of a bundle: predicted, and scored, on a cohort whose truth is known."""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.bundles import read_bundle
from ksfusion.bundles.evaluation import evaluated, read_labels
from ksfusion.bundles.evaluation_files import write_evaluation
from ksfusion.bundles.manifest import MANIFEST, digest_of
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv
from ksfusion.core.workflow import environment
from ksfusion.methods.registry import use_methods
from ksfusion.predictions.request import NewPatients, prediction_command

log = logging.getLogger(__name__)

# Of the prediction, in its folder.
MEMBERS, SAMPLES, TILES = "results/predictions/members.parquet", "results/samples.tsv", "results/tiles"
FOLDER = "evaluation"


def evaluate(asked: NewPatients, *, cases: Path, passed_on: Sequence[str] = ()) -> None:
    """Evaluate a bundle on a cohort whose truth is known.

    The samples are predicted as ksfusion predict does it, in the same folder: what is there is not done again. Metrics,
    intervals, calibration and figures are those of a study's tables, one cohort after the other. A case that took part
    in training is left out, and so is one without a label. The folder of the output gets evaluation/: table.tsv,
    table_s1.tsv, drops.tsv, calibration.tsv, left_out.tsv, figures/ and evaluation.md.

    Parameters
    ----------
    asked
        Whom to predict, and how.
    cases
        Table of their cases with the truth, in the columns that the study had it in, or in those that --columns names.
    passed_on
        Options after ``--``, which go to Snakemake.

    Raises
    ------
    UserError
        If the bundle is none, a table is not valid, the prediction does not finish, or no case is left to score.
    """
    use_methods([asked.methods_from] if asked.methods_from else [])
    bundle, output = read_bundle(asked.bundle), asked.output
    # Before hours of prediction.
    labels = read_labels(cases, bundle.task, bundle.contents.labelling, asked.meanings(), samples=asked.samples)
    command = prediction_command(asked, [MEMBERS], passed_on=passed_on)
    sys.stderr.write(f"{shlex.join(command)}\n")
    sys.stderr.flush()
    if subprocess.run(command, check=False, env=environment(command)).returncode:
        raise UserError(f"{output}: the prediction did not finish; what is wrong stands above")
    found = evaluated(bundle, read_parquet(output / MEMBERS), labels, _asked(output))
    if not any(len(table) for table in found.tables.values()):
        reasons = "; ".join(found.left_out["reason"].value_counts().index[:3])
        raise UserError(f"{asked.samples}: no case is left to score ({reasons})")
    settings = {"bundle": digest_of(asked.bundle / MANIFEST), "cases": digest_of(cases), "level": asked.level}
    lines = write_evaluation(bundle, found, output / FOLDER, provenance(__name__, settings), level=asked.level)
    for line in lines:
        log.info("%s", line)
    log.info("%s: the tables, the figures, and evaluation.md", output / FOLDER)


def _asked(output: Path) -> dict[str, list[str]]:
    """Return each case of the table of samples, and the digests of the files of its slides."""
    parts = [read_parquet(path, columns=["slide_id", "digest"]) for path in sorted((output / TILES).glob("*.parquet"))]
    digests = dict(pd.concat(parts).drop_duplicates("slide_id").to_numpy()) if parts else {}
    samples = read_tsv(output / SAMPLES, dtype={"case_id": str, "slide_id": str}).fillna({"slide_id": ""})
    slides = samples.groupby("case_id")["slide_id"].agg(set)
    return {case: sorted(filter(None, (digests.get(slide) for slide in own))) for case, own in slides.items()}
