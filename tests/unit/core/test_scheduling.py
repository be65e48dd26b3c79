"""Snakemake's limit of jobs started in a second: its own is lifted, a user's stays."""

from types import SimpleNamespace

import pytest
from snakemake.cli import get_argument_parser
from snakemake.scheduling.job_scheduler import JobRateLimiter
from snakemake.settings.types import MaxJobsPerTimespan

from ksfusion.core.scheduling import lift_rate_limit

BY_DEFAULT = get_argument_parser().get_default("max_jobs_per_timespan")


@pytest.mark.parametrize(("limit", "stays"), [(BY_DEFAULT, False), ("100/1m", True), ("2/1s", True)])
def test_a_limit_stays_where_the_user_gives_it(limit, stays):
    scheduler = SimpleNamespace(job_rate_limiter=JobRateLimiter(MaxJobsPerTimespan.parse_choice(limit)))
    lift_rate_limit(scheduler)
    assert (scheduler.job_rate_limiter is not None) is stays


def test_a_scheduler_without_a_limit_is_left_as_it_is():
    for scheduler in (SimpleNamespace(job_rate_limiter=None), SimpleNamespace()):
        before = dict(vars(scheduler))
        lift_rate_limit(scheduler)
        assert vars(scheduler) == before
