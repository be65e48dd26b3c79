"""Where a run ends because too much has failed."""

import pandas as pd
import pytest

from ksfusion.cohort.failures import check_failures
from ksfusion.core.errors import UserError


class TestFailures:
    def check(self, folder, slides, samples, limit=0.5):
        for name, reasons in (("slides", slides), ("samples", samples)):
            table = pd.DataFrame({"status": ["failed" if reason else "ok" for reason in reasons], "reason": reasons})
            table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        check_failures(folder / "slides.tsv", folder / "samples.tsv", max_failed_fraction=limit)

    def test_as_many_as_may_fail(self, tmp_path):
        self.check(tmp_path, ["", "", "timeout", "truncated"], ["", "timeout"])

    def test_one_more(self, tmp_path):
        message = r"3 of 4 slides failed \(timeout 2, truncated 1\), more than .* = 0.5; .*/slides.tsv says which"
        with pytest.raises(UserError, match=message):
            self.check(tmp_path, ["", "timeout", "timeout", "truncated"], [""])

    def test_features_that_are_not_finite_have_a_remedy_of_their_own(self, tmp_path):
        with pytest.raises(UserError, match=r"\(not_finite 2\).*or raise that limit; .*see features.precision"):
            self.check(tmp_path, ["not_finite", "not_finite"], [""])

    def test_no_sample_is_complete(self, tmp_path):
        with pytest.raises(UserError, match=r"no sample has .* \(missing_label 2\); .*/samples.tsv says"):
            self.check(tmp_path, ["", ""], ["missing_label", "missing_label"])
