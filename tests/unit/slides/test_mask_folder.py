"""The folder of masks and the slides' paths, looked at before any job."""

import pytest

from ksfusion.cohort.samples import CohortTables
from ksfusion.core.errors import UserError
from ksfusion.core.study import Study
from ksfusion.plan import Plan
from ksfusion.preflight.parsing import parse_config
from ksfusion.slides.reading.slide_files import is_readable
from ksfusion.slides.tiles.mask_files import mask_names, mask_problems, mask_warnings

EXPRESSION = {"cohort": "C", "format": "matrix", "unit": "log", "path": "x.tsv"}
COHORT = {"samples": "s.tsv", "cases": "c.tsv", "expression": [EXPRESSION]}


def config_of(folder):
    return parse_config({"cohort": COHORT, "slides": {"masks": str(folder)}})


def plan_of(folder, *slide_ids):
    rows = [{"slide_id": slide_id, "slide": "", "mpp": "", "case_id": slide_id} for slide_id in slide_ids]
    return Plan(config_of(folder), CohortTables(rows, [], ()), Study(None, frozenset(), (), batches=1))


def warnings_of(folder, *slide_ids):
    return mask_warnings(str(folder), mask_names(str(folder)), slide_ids)


class TestStrayMasks:
    def test_are_told_in_one_line(self, tmp_path):
        for name in ("a.geojson", "b.png", "a.svs.geojson", "B.png", "notes.txt"):
            (tmp_path / name).touch()
        (line,) = warnings_of(tmp_path, "a", "b", "c")
        assert line == (
            f"slides.masks: 2 of 4 masks in {tmp_path} match no slide, such as B.png; name each after its slide_id"
        )
        assert plan_of(tmp_path, "a", "b", "c").masks("0") == [str(tmp_path / name) for name in ("a.geojson", "b.png")]

    def test_a_slide_id_with_dots(self, tmp_path):
        (tmp_path / "a.01.DX1.geojson").touch()
        assert warnings_of(tmp_path, "a.01.DX1") == []

    def test_no_folder_no_warning(self):
        assert mask_warnings(None, mask_names(None), ["a"]) == []


class TestRegions:
    def plan_of(self, folder, *slide_ids, **more):
        rows = [{"slide_id": slide_id, "slide": "", "mpp": "", "case_id": slide_id} for slide_id in slide_ids]
        rows = [row | {"sample_id": row["slide_id"], "cohort": "c", "expression_id": "e"} for row in rows]
        config = parse_config({"cohort": COHORT, "slides": {"regions": folder and str(folder)}, **more})
        return Plan(config, CohortTables(rows, [], ()), Study(None, frozenset(), (), batches=1))

    def test_those_of_slides_are_read_and_strays_are_told(self, tmp_path):
        for name in ("a.geojson", "b.png", "c.geojson", "stray.geojson"):
            (tmp_path / name).touch()
        plan = self.plan_of(tmp_path, "a", "b", "c")
        assert plan.regions() == [str(tmp_path / name) for name in ("a.geojson", "c.geojson")]
        told = [line for line in plan.warnings() if line.startswith("slides.regions: ")]
        assert len(told) == 1 and "match no slide, such as stray.geojson" in told[0]
        assert self.plan_of(None, "a").regions() == []

    def test_they_need_the_slides(self, tmp_path):
        with pytest.raises(UserError, match=r"slides\.regions need the slides"):
            self.plan_of(tmp_path, "a", features={"source": "precomputed", "path": "features"})

    def test_what_is_no_folder(self):
        (line,) = mask_problems("gone", "mine.yaml", key="slides.regions")
        assert line.startswith("mine.yaml: slides.regions: gone is not a folder that can be read")


class TestOddPaths:
    @pytest.mark.parametrize("make", ["folder", "device", "lost"])
    def test_what_is_no_mask_in_the_folder(self, tmp_path, make):
        path = tmp_path / "a.geojson"
        if make == "folder":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero" if make == "device" else "nowhere")
        (tmp_path / "b.png").touch()
        (line,) = mask_problems(str(tmp_path), "mine.yaml")
        assert line.startswith(
            f"mine.yaml: slides.masks: {path} is a folder, a device, or a link that leads nowhere; put"
        )

    @pytest.mark.parametrize("folder", ["/dev/zero", "/dev/null", "gone"])
    def test_what_is_no_folder(self, folder):
        (line,) = mask_problems(folder, "mine.yaml")
        assert line.startswith(f"mine.yaml: slides.masks: {folder} is not a folder that can be read")

    @pytest.mark.parametrize("folder", ["a\0b", "x" * 300, "y/" * 3000])
    def test_what_no_system_has(self, folder):
        """Refused with the configuration, or as no folder."""
        try:
            config = config_of(folder)
        except UserError as error:
            assert "slides.masks" in str(error) and "\n" not in str(error)
        else:
            (line,) = mask_problems(config.slides.masks, "mine.yaml")
            assert "slides.masks" in line

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "a\0b", "x" * 300, "", "gone"])
    def test_nothing_that_has_no_end_is_an_input(self, path):
        assert not is_readable(path)
