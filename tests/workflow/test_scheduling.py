"""Thousands of jobs: how Snakemake looks for the next one."""

import re
import sys

import pytest
from fold_project import make_project

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_snakemake_does_not_look_for_jobs_again_each_second(tmp_path):
    project = make_project(tmp_path / "project")
    told = project.snakemake("results/cohort/splits.tsv", "--verbose")
    # What Snakemake may start at once, as it says before each job: without a limit as many as there are numbers.
    free = re.findall(r"'_job_count': (\d+)", told.stdout + told.stderr)
    assert set(map(int, free)) == {sys.maxsize}
    told = project.snakemake("results/cohort/splits.tsv", "--forceall", "--verbose", "--max-jobs-per-timespan", "7/1s")
    free = set(map(int, re.findall(r"'_job_count': (\d+)", told.stdout + told.stderr)))
    assert free & {5, 6, 7} != set()
