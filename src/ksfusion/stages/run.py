"""Run the workflow on a user's configuration, from wherever it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.workflow import become, workflow_command


def run(
    config: Path,
    targets: Sequence[str] = (),
    *,
    set: Sequence[str] = (),
    cores: str | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    verbose: bool = False,
    passed_on: Sequence[str] = (),
) -> None:
    """Run the workflow on a configuration; it becomes the Snakemake command that it prints.

    Parameters
    ----------
    config
        The configuration, such as my.yaml. Relative paths in it start at its folder, and results lie beside it (or in
        the folder that it names under ``folder``).
    targets
        What to make: all (without any), slides, tables, alpha, modalities, heatmaps, report, or files such as
        results/slides.tsv.
    set
        A setting to change for this run, such as training.alpha=0.7; may be given many times.
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
        If there is no such file, or an option is not of the right form.
    """
    command = workflow_command(
        config,
        targets,
        settings=set,
        cores=cores,
        profile=profile,
        dry_run=dry_run,
        logger=not verbose,
        passed_on=passed_on,
    )
    become(command)
