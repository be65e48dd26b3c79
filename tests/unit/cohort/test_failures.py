"""Where a run ends because too much has failed."""

import pandas as pd
import pytest

from ksfusion.cohort.failures import check_failures
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.slides.config import CheckTilesSettings
from ksfusion.stages.check_tiles import check_tiles
from ksfusion.terms.failures import most_failed


class TestFailures:
    def check(self, folder, slides, samples, limit=0.5):
        for name, reasons in (("slides", slides), ("samples", samples)):
            table = pd.DataFrame({"status": ["failed" if reason else "ok" for reason in reasons], "reason": reasons})
            table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
        check_failures(folder / "slides.tsv", folder / "samples.tsv", max_failed_fraction=limit)

    def test_as_many_as_may_fail(self, tmp_path):
        self.check(tmp_path, ["", "", "timeout", "truncated"], ["", "timeout"])

    def test_one_more(self, tmp_path):
        message = (
            r"3 of 4 slides failed \(timeout 2, truncated 1\), more than the 2 that .* = 0.5 allows; .*/slides.tsv says"
        )
        with pytest.raises(UserError, match=message):
            self.check(tmp_path, ["", "timeout", "timeout", "truncated"], [""])

    @pytest.mark.parametrize(
        ("n_slides", "fraction", "most"),
        # Of few slides two, but never all; of many the share; none where none may.
        [(34, 0.05, 2), (40, 0.05, 2), (100, 0.05, 5), (100, 0.29, 29), (100, 0, 0), (2, 0.05, 1), (1, 0.05, 0)],
    )
    def test_how_many_may_fail(self, n_slides, fraction, most):
        assert most_failed(n_slides, fraction) == most

    def test_after_tiling(self, tmp_path, caplog):
        def tile(name, reasons):
            slides = [
                (slide, "failed" if reason else "ok", reason) for slide, reason in reasons.items() for _ in range(2)
            ]
            table = pd.DataFrame(slides, columns=["slide_id", "status", "reason"])
            write_parquet(table, tmp_path / f"{name}.parquet", {})
            return tmp_path / f"{name}.parquet"

        tables = [tile(0, {"a": "", "b": "missing_mpp"}), tile(1, {"c": "", "d": "", "e": "unreadable"})]
        settings = CheckTilesSettings()
        check_tiles(tables, tmp_path / "failed.tsv", settings=settings)
        assert (tmp_path / "failed.tsv").read_text().splitlines() == [
            "slide_id\tstatus\treason", "b\tfailed\tmissing_mpp", "e\tfailed\tunreadable",
        ]  # fmt: skip
        tables.append(tile(2, {"f": "unreadable"}))
        message = (
            r"^3 of 6 slides failed \(unreadable 2, missing_mpp 1\), more than the 2 that .* the lines above say which"
        )
        with pytest.raises(UserError, match=message):
            check_tiles(tables, tmp_path / "failed.tsv", settings=settings)
        assert "slide f: unreadable" in caplog.text

    def test_features_that_are_not_finite_have_a_remedy_of_their_own(self, tmp_path):
        with pytest.raises(UserError, match=r"\(not_finite 2\).*or raise that limit; .*see features.precision"):
            self.check(tmp_path, ["not_finite", "not_finite"], [""])

    def test_no_sample_is_complete(self, tmp_path):
        with pytest.raises(UserError, match=r"no sample has .* \(missing_label 2\); .*/samples.tsv says"):
            self.check(tmp_path, ["", ""], ["missing_label", "missing_label"])
