"""What is estimated of a study, all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksfusion.doctor.findings import Finding
from ksfusion.estimates.forecast import Forecast, Place
from ksfusion.estimates.rates import Rates
from ksfusion.estimates.workload import Workload


@dataclass(frozen=True)
class StudyEstimate:
    """An estimate.

    Attributes
    ----------
    workload, found, place
        What there is to do, what that takes, and where it runs.
    failures
        What will fail, or may.
    rates
        What it was estimated by.
    measured
        Slides of the study on which the stages of slides were run for it.
    """

    workload: Workload
    found: Forecast
    place: Place
    failures: Sequence[Finding]
    rates: Rates
    measured: int = 0

    @property
    def can_measure(self) -> bool:
        """Whether slides are there on which the stages of slides can be run."""
        return self.workload.plan.extracts and len(self.workload.slides.missing) < len(self.workload.slides.sizes)

    def record(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        found, place, slides = self.found, self.place, self.workload.slides
        return {
            "stages": found.record(),
            **{name: round(found.total(name), 1) for name in ("processor", "clock", "gpu", "disk_mb")},
            "dominating": [stage.rule for stage in found.dominating],
            "failing": [finding.record() for finding in self.failures],
            "place": {
                "cores": place.cores,
                "jobs": place.jobs or None,
                "profile": str(place.profile.path),
                "gpus": list(place.gpus),
            },
            "slides": slides.record(),
            "patches": {
                "of_a_slide": round(self.workload.patches, 1),
                "in_all": round(self.workload.patches * len(slides.sizes)),
            },
            "rates": {
                "measured_on": self.rates.sources,
                "slides_measured_here": self.measured,
                "unmeasured": list(found.unmeasured),
            },
        }
