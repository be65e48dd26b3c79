"""How Snakemake schedules: what of it would slow down a run of thousands of jobs."""

from __future__ import annotations

from typing import Any

# Jobs, and seconds: what Snakemake takes where its user says nothing.
DEFAULT_LIMIT = (100, 1)


def lift_rate_limit(scheduler: Any) -> None:
    """Take away Snakemake's own limit of jobs started in a second; one that the user gives stays.

    By that limit Snakemake looks for jobs anew a second after each time that it has looked, and also whenever one ends:
    once more in each second for each job that has ended. After some hundred it would do little else.

    Parameters
    ----------
    scheduler
        Snakemake's (``workflow.scheduler``), before its first job.
    """
    limit = getattr(scheduler, "job_rate_limiter", None)
    if limit and (limit.max_jobs, limit.timespan) == DEFAULT_LIMIT:
        scheduler.job_rate_limiter = None
