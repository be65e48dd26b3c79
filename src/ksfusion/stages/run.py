"""Run the workflow on a user's configuration, from wherever it is called."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.errors import UserError
from ksfusion.core.resources import PROJECT
from ksfusion.core.strict_yaml import read_yaml

log = logging.getLogger(__name__)


def run(
    config: Path,
    targets: Sequence[str] = (),
    *,
    cores: str = "all",
    dry_run: bool = False,
    passed_on: Sequence[str] = (),
) -> None:
    """Run the workflow on a configuration; it becomes the Snakemake command that it prints.

    Parameters
    ----------
    config
        The configuration, such as my.yaml. Its folder is the working directory: relative paths in it and in the tables
        start there, and results lie beside it.
    targets
        Files or rules to make, such as results/slides.tsv or alpha; all results without any.
    cores
        How many processor cores may be used at once.
    dry_run
        Show what would be done.
    passed_on
        What follows ``--``: any further options of Snakemake.

    Raises
    ------
    UserError
        If there is no such file, or it is no YAML that can be used.
    """
    if not config.is_file():
        raise UserError(f"{config}: is not a file; name the configuration, such as my.yaml")
    # Snakemake reads it before the Snakefile can, and says less of a mistake.
    read_yaml(config)
    path = config.resolve()
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(PROJECT / "Snakefile")]
    command += ["--directory", str(path.parent), "--configfile", str(path), "--cores", cores]
    command += [*(["--dry-run"] if dry_run else []), *passed_on]
    log.info("%s", shlex.join(command))
    sys.stderr.flush()
    # Not a child of this process: what ends this one, such as Ctrl-C, must reach Snakemake, which ends its jobs.
    os.execv(command[0], command)
