"""Predict new patients by a bundle, from their slides and expression, from wherever it is called."""

from __future__ import annotations

from collections.abc import Sequence

from ksfusion.core.workflow import become
from ksfusion.predictions.request import NewPatients, prediction_command


def predict(asked: NewPatients, *, dry_run: bool = False, passed_on: Sequence[str] = ()) -> None:
    """Predict new patients by a bundle, from their slides and expression.

    What is asked is written to predict.yaml in the output's folder, and becomes the Snakemake command that is printed.

    Parameters
    ----------
    asked
        Whom to predict, and how.
    dry_run
        Show what would be done.
    passed_on
        Options after ``--``, which go to Snakemake.

    Raises
    ------
    UserError
        If the bundle is none, a file is not there, or an option is not of the right form.
    """
    become(prediction_command(asked, dry_run=dry_run, passed_on=passed_on))
