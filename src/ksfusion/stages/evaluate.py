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
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_parquet, read_tsv
from ksfusion.core.workflow import PREDICTION, workflow_command
from ksfusion.predictions.request import NewExpression, write_request
from ksfusion.terms.units import ExpressionFormat, ExpressionUnit

log = logging.getLogger(__name__)

# Of the prediction, in its folder.
MEMBERS, SAMPLES, TILES = "results/predictions/members.parquet", "results/samples.tsv", "results/tiles"
FOLDER = "evaluation"


def evaluate(
    bundle: Path,
    samples: Path,
    cases: Path,
    output: Path,
    *,
    expression: Path | None = None,
    format: ExpressionFormat | None = None,
    unit: ExpressionUnit | None = None,
    weights: Path | None = None,
    features: Path | None = None,
    masks: Path | None = None,
    cores: str | None = None,
    profile: str | None = None,
    verbose: bool = False,
    passed_on: Sequence[str] = (),
) -> None:
    """Evaluate a bundle on a cohort whose truth is known.

    The samples are predicted as ksfusion predict does it, in the same folder: what is there is not done again. Metrics,
    intervals, calibration and figures are those of a study's tables, one cohort after the other. A case that took part
    in training is left out, and so is one without a label.

    Parameters
    ----------
    bundle
        The folder that ksfusion bundle made.
    samples
        Table of the samples: sample_id, case_id, cohort, slide and expression_id, as of a study.
    cases
        Table of their cases with the truth, in the columns that the study had it in.
    output
        The folder of the prediction; evaluation/ in it gets table.tsv, table_s1.tsv, drops.tsv, calibration.tsv,
        left_out.tsv, figures/ and evaluation.md.
    expression
        Where the profiles are; see ksfusion predict.
    format
        Layout of the files; that of the cohort in training, where it is left out.
    unit
        Unit of the values; that of the cohort in training, where it is left out.
    weights
        Local weight file of the encoder.
    features
        Folder of the files of another tool, where the bundle was trained on its features.
    masks
        Folder of masks of tissue to take in place of the tissue found.
    cores
        Number of processor cores that may be used at once; all without it.
    profile
        Where jobs run: slurm, or the folder of a profile of your own.
    verbose
        Print all that Snakemake says; it is in .snakemake/log in any case.
    passed_on
        Options after ``--``, which go to Snakemake.

    Raises
    ------
    UserError
        If the bundle is none, a table is not valid, the prediction does not finish, or no case is left to score.
    """
    read = read_bundle(bundle)
    # Before hours of prediction.
    labels = read_labels(cases, read.task, read.contents.labelling)
    asked = NewExpression(expression, format, unit)
    config = write_request(bundle, samples, output, asked, weights=weights, features=features, masks=masks)
    command = workflow_command(
        config,
        [MEMBERS],
        cores=cores,
        profile=profile or "default",
        logger=not verbose,
        passed_on=passed_on,
        snakefile=PREDICTION,
    )
    sys.stderr.write(f"{shlex.join(command)}\n")
    sys.stderr.flush()
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"{output}: the prediction did not finish; what is wrong stands above")
    found = evaluated(read, read_parquet(output / MEMBERS), labels, _asked(output))
    if not any(len(table) for table in found.tables.values()):
        reasons = "; ".join(found.left_out["reason"].value_counts().index[:3])
        raise UserError(f"{samples}: no case is left to score ({reasons})")
    settings = {"bundle": digest_of(bundle / MANIFEST), "cases": digest_of(cases)}
    lines = write_evaluation(read, found, output / FOLDER, provenance(__name__, settings))
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
