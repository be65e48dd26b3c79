"""Predict new patients by a bundle, from their slides and expression, from wherever it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.workflow import PREDICTION, become, workflow_command
from ksfusion.predictions.request import NewExpression, write_request
from ksfusion.terms.units import ExpressionFormat, ExpressionUnit


def predict(
    bundle: Path,
    samples: Path,
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
    dry_run: bool = False,
    verbose: bool = False,
    passed_on: Sequence[str] = (),
) -> None:
    """Predict new patients by a bundle, from their slides and expression.

    What is asked is written to predict.yaml in the output's folder, and becomes the Snakemake command that is printed.

    Parameters
    ----------
    bundle
        The folder that ksfusion bundle made.
    samples
        Table of the new samples: sample_id, case_id, cohort, slide and expression_id, as of a study.
    output
        The folder that gets predictions.tsv, a page for each patient, and the files of the stages.
    expression
        Where the profiles are: a folder or file, with --format and --unit; or, where cohorts differ in these, a YAML
        file with the list that a study has under cohort.expression.
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
    dry_run
        Show what would be done.
    verbose
        Print all that Snakemake says; it is in .snakemake/log in any case.
    passed_on
        Options after ``--``, which go to Snakemake.

    Raises
    ------
    UserError
        If the bundle is none, a file is not there, or an option is not of the right form.
    """
    asked = NewExpression(expression, format, unit)
    config = write_request(bundle, samples, output, asked, weights=weights, features=features, masks=masks)
    command = workflow_command(
        config,
        cores=cores,
        # The workstation's lies beside the Snakefile of studies, where Snakemake finds it by itself.
        profile=profile or "default",
        dry_run=dry_run,
        logger=not verbose,
        passed_on=passed_on,
        snakefile=PREDICTION,
    )
    become(command)
