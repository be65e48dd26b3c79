"""What a study will take, by sums done by hand, and what of it will fail."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from fold_project import CASES, write_study
from PIL import Image

from ksfusion.cli import main
from ksfusion.config import PAPER_METHODS
from ksfusion.core.errors import UserError
from ksfusion.core.workflow import PlannedJob
from ksfusion.doctor.cluster import Partition
from ksfusion.doctor.gpus import usable_gpus
from ksfusion.doctor.profiles import Profile, read_profile, shipped_requests
from ksfusion.doctor.studies import planned_study
from ksfusion.estimates import failing, measuring
from ksfusion.estimates.forecast import Forecast, Place, Stage, forecast, place_of
from ksfusion.estimates.measuring import Run, rates_of
from ksfusion.estimates.rates import Cost, Rate, Rates
from ksfusion.estimates.running import Used, used_by, verb
from ksfusion.estimates.slide_sizes import Header, SlideSizes, look_at_slides, spread
from ksfusion.estimates.slurm_profile import as_yaml, slurm_profile
from ksfusion.estimates.text import size, span
from ksfusion.estimates.workload import Workload
from ksfusion.slides.config import Reading
from ksfusion.slides.encoders.names import LITE0, RESNET50
from ksfusion.slides.encoders.presets import built_here
from ksfusion.stages import estimate


def rate(rule, kind, per, seconds=0.0, mb=0.0, disk_mb=0.0):
    return Rate(rule, kind, per, seconds, mb, disk_mb, "by hand")


RATES = Rates(
    [
        rate("*", "", "job", 1, 250),
        rate("tile_slides", "", "job", 2, 300),
        rate("tile_slides", "", "slide", 0.5, 0, 0.1),
        rate("tile_slides", "", "gigapixel", 100),
        rate("extract_features", "", "job", 3, 900),
        rate("extract_features", "", "patch", 0.01),
        rate("extract_features", "a", "patch", 0.1, 0, 0.002),
        rate("extract_features", "b", "patch", 0.2, 0, 0.004),
        rate("train_model", "", "job", 2, 600, 10),
        rate("train_model", "snn", "sample", 0.001),
        rate("train_model", "add", "sample", 0.002),
        rate("train_model", "add", "sample_patch", 0.0001),
        rate("train_model", "add", "map_patch", 0, 2),
    ]
)


def test_what_a_job_takes_by_hand():
    units = {"slide": 10.0, "gigapixel": 0.5, "patch": 1000.0}
    # 2 s of start, 10 x 0.5, half a gigapixel of 100.
    assert RATES.cost("tile_slides", ("a",), units) == Cost(57.0, 300.0, 1.0)
    assert RATES.cost("extract_features", ("a",), units) == Cost(3 + 10 + 100, 900.0, 2.0)
    # One that was not measured is taken for the dearest.
    assert RATES.cost("extract_features", ("c",), units) == RATES.cost("extract_features", ("b",), units)
    assert RATES.unmeasured("extract_features", ("a", "c")) == ["c"]
    assert RATES.cost("check_cohort", (), units) == Cost(1.0, 250.0, 0.0)
    # Two methods in a job: each takes its time, the larger its memory.
    cost = RATES.cost("train_model", ("snn", "add"), {"sample": 1000.0, "sample_patch": 16000.0, "map_patch": 16.0})
    assert cost == Cost(2 + 1 + 2 + 1.6, 632.0, 10.0)


def test_a_forward_of_more_patches_takes_more_memory():
    rates = Rates(
        [rate("e", "", "job", 0, 600), rate("e", "", "reader", 0, 100), rate("e", "", "queued", 0, 0.1),
         rate("e", "a", "job", 0, 30), rate("e", "a", "encoded", 0, 20)]
    )  # fmt: skip
    units = {"reader": 2.0, "queued": 7.0 * 64, "encoded": 32.0}
    assert rates.cost("e", ("a",), units).mb == pytest.approx(600 + 200 + 44.8 + 30 + 640)


def test_what_was_measured_takes_the_place_of_what_stands_in_the_table():
    ours = RATES.replaced([rate("extract_features", "a", "patch", 0.5), rate("tile_slides", "", "slide", 4)])
    units = {"slide": 10.0, "gigapixel": 0.5, "patch": 1000.0}
    assert ours.cost("extract_features", ("a",), units).seconds == 503
    assert ours.cost("tile_slides", (), units).seconds == 42
    assert ours.cost("train_model", ("snn",), {"sample": 1000.0}).seconds == 3


def test_memory_and_disk_stay_those_of_the_table():
    units = {"slide": 10.0, "gigapixel": 0.5, "patch": 1000.0}
    measured = [
        rate("tile_slides", "", "job", 7), rate("tile_slides", "", "slide", 4),
        rate("extract_features", "a", "patch", 5),
        rate("extract_features", "new", "patch", 6),
    ]  # fmt: skip
    ours = RATES.replaced(measured)
    assert ours.cost("tile_slides", (), units) == Cost(7 + 40, 300.0, 1.0)
    # A start that was not measured is that of the table.
    assert ours.cost("extract_features", ("a",), units) == Cost(3 + 5000, 900.0, 2.0)
    # Of one that the table does not have, the dearest stands in for what was not measured.
    assert ours.cost("extract_features", ("new",), units) == Cost(3 + 6000, 900.0, 4.0)


def test_a_measurement_finds_the_start_and_the_rate_whatever_the_number_of_slides():
    start, each = 40.0, 0.5

    def run(amount, clock=0.0):
        return Run(amount, Used(start + each * amount, clock, 0))

    for slides in (1, 5):
        first, second = rates_of("extract_features", "a", "patch", [run(slides), run(75 * slides)])
        assert (first.per, first.seconds, second.per) == ("job", pytest.approx(start), "patch")
        assert second.seconds == pytest.approx(each)
    # Beside a GPU the processor is idle: 2 s of start and 0.1 s a patch on the clock, for which three cores are held.
    idle = [Run(n, Used(0.5, 2 + 0.1 * n, 0)) for n in (10, 110)]
    first, second = rates_of("extract_features", "a", "patch", idle, 3.0)
    assert (first.seconds, second.seconds) == (pytest.approx(6), pytest.approx(0.3))


class StandIn:
    """Stages of slides that take what they are planted to take, and write nothing."""

    start, of_slide, of_patch = 30.0, 0.25, 0.02

    def __init__(self, plan, folder, slides):
        self.number = len(slides)

    def _slides(self):
        return Used(self.start + self.of_slide * self.number, 1, 0)

    tile_slides = fit_stain = draw_overviews = _slides

    def extract_features(self, count, threads):
        patches = self.number * min(count, 50)
        # So slow that one step is enough.
        return Used(self.start + self.of_patch * patches, 1 + patches, 0)

    def tiles(self):
        return {}, {f"s{number}": 50 for number in range(self.number)}


def test_one_slide_measures_what_five_do(study, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "SlideStages", StandIn)
    found = {}
    for options in ([], ["--measure", "1"], ["--measure", "5"]):
        said = json.loads(told(capsys, study, "--format", "json", "--cores", "1", *options))
        found[options[-1] if options else "table"] = {stage["rule"]: stage for stage in said["stages"]}
        assert said["rates"]["slides_measured_here"] == (int(options[-1]) if options else 0)
    # 24 slides of 16 patches, one job of each stage.
    for measured in (found["1"], found["5"]):
        assert measured["tile_slides"]["processor"] == pytest.approx(30 + 24 * 0.25)
        assert measured["extract_features"]["processor"] == pytest.approx(30 + 24 * 16 * 0.02, abs=0.1)
        for rule in ("tile_slides", "draw_overviews", "extract_features"):
            assert measured[rule]["disk_mb"] == found["table"][rule]["disk_mb"]
            assert measured[rule]["mb"] == found["table"][rule]["mb"]
    # That of an overview, in the table.
    assert found["5"]["draw_overviews"]["disk_mb"] == pytest.approx(24 * 2.147)


def test_a_stage_that_fails_is_one_line(tmp_path):
    script = "import sys; print('in a line before'); raise ValueError('a\\nb' if len(sys.argv) > 1 else 'x ' * 400)"
    with pytest.raises(UserError) as error:
        used_by([sys.executable, "-c", script, "x"])
    assert str(error.value) == f"--measure: {sys.executable} failed (b); mend that, or leave --measure out"
    with pytest.raises(UserError, match=r"failed \(ValueError: x x x[ x]*\); mend that"):
        used_by([sys.executable, "-c", script])
    with pytest.raises(UserError) as error:
        used_by([*verb("tile-slides"), "--settings", "{", "--output", "x", "--batch", "0", "--samples", "x"])
    assert "tile-slides failed (--settings: " in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="ended by signal 9"):
        used_by([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_the_shipped_rates_are_of_the_papers_methods_and_every_named_encoder():
    rates = Rates.read()
    assert rates.unmeasured("train_model", PAPER_METHODS) == []
    assert rates.unmeasured("extract_features", [LITE0, RESNET50, *built_here()]) == []
    assert all("cores of an" in entry.measured for entry in rates.rates)
    # A patch through a giant transformer takes longer than through the smallest network, and its features more room.
    few, many = (rates.cost("extract_features", (name,), {"patch": 1e5}) for name in (LITE0, "uni2-h"))
    assert many.seconds > 10 * few.seconds
    assert many.disk_mb / few.disk_mb == pytest.approx(1536 / 1280, rel=0.02)


def test_a_table_that_is_none(tmp_path):
    path = tmp_path / "rates.tsv"
    path.write_text("rule\tkind\tper\tseconds\tmb\tdisk_mb\tmeasured\nx\t\tmile\t1\t1\t1\there\n")
    with pytest.raises(UserError, match="is no table of rates"):
        Rates.read(path)


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path)
    return tmp_path / "folds.yaml"


def job(rule, outputs=(), **wildcards):
    return PlannedJob(rule, wildcards, "", list(outputs), [], False)


def workload(plan, patches=16.0):
    return Workload(plan, look_at_slides(plan.tables.slides(), Reading.of(plan.config.slides)), patches)


def test_the_work_of_a_small_cohort_by_hand(study):
    with planned_study(study) as plan:
        work = workload(plan)
        tiling = work.of(job("tile_slides", batch="0"))
        runs = [f"results/models/mgmt/snn/fold1/seed{seed}/metrics.json" for seed in (0, 1)]
        training = work.of(job("train_model", runs, task="mgmt", method="snn", fold="1"))
        seeds = len(plan.config.training.seeds)
    # 24 slides of 300 x 300 px.
    assert tiling.units["slide"] == 24
    assert tiling.units["gigapixel"] == pytest.approx(24 * 300 * 300 / 1e9)
    assert tiling.units["patch"] == 24 * 16
    # Of three folds two thirds are left, eight ninths of them for training: 30 epochs of 16/27, in each a third of the
    # work on 2/27 for validation, and once a third of the work on all.
    passes = 24 * (30 * (16 / 27 + 2 / 27 / 3) + 1 / 3)
    assert (training.rule, training.kinds) == ("train_model", ("snn",))
    assert training.units["sample"] == pytest.approx(seeds * passes)
    assert training.units["sample_patch"] == pytest.approx(seeds * passes * 16)


def with_settings(study, *settings):
    with planned_study(study, settings) as plan:
        # A large slide has all of the patches that are asked for.
        work = Workload(plan, look_at_slides({}, Reading.of(plan.config.slides)), float(plan.config.patches.count), 4)
        runs = ["results/models/mgmt/snn/fold1/seed0/metrics.json"]
        training = work.of(job("train_model", runs, task="mgmt", method="snn", fold="1"))
        return {**work._encoding(), "map_patch": training.units["map_patch"]}


def test_memory_follows_the_batch_sizes_by_hand(study):
    many = ["patches.count=2500", "features.batch_size=256"]
    # Four threads encode 16 patches each; four groups are being read, three ready, one handed on and one encoded.
    assert with_settings(study, *many) == {"reader": 4, "queued": 9 * 256, "encoded": 64, "map_patch": 2500}
    few = with_settings(study, "patches.count=2500", "features.batch_size=1", "training.batch_size=2")
    assert few == {"reader": 4, "queued": 9, "encoded": 1, "map_patch": 625}
    # A quarter of the pixels, and no more samples than the cohort has: three times the eight that were measured.
    shrunk = with_settings(study, *many, "features.input_px=112", "training.batch_size=64")
    assert (shrunk["encoded"], shrunk["queued"], shrunk["map_patch"]) == (16, 9 * 256, 3 * 2500)
    of_slide = with_settings(study, "patches.count=16", "features.batch_size=2048")
    assert (of_slide["encoded"], of_slide["queued"]) == (16, 9 * 16)


def test_the_memory_that_is_too_much_can_be_lowered(study, monkeypatch, capsys):
    monkeypatch.setattr(failing, "memory_limit", lambda: 3 * 10**9)
    settings = [
        "--set",
        "patches.count=2500",
        "--set",
        "features.batch_size=4096",
        "--set",
        "features.encoder=efficientnet-lite0",
    ]
    with pytest.raises(SystemExit):
        told(capsys, study, *settings)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("will fail   extract_features")]
    assert "and this machine has 3.0; lower features.batch_size or the processes that read" in line
    settings[3] = "features.batch_size=16"
    assert "will fail" not in told(capsys, study, *settings)


def sizes_of(n, bad):
    """Return so many slides, of which the first 40 were looked at; of these so many are of no use."""
    names = [f"s{number}" for number in range(n)]
    headers = {name: Header(0.1, "image", "no_mpp" if number < bad else "") for number, name in enumerate(names[:40])}
    return SlideSizes(dict.fromkeys(names, 1), dict.fromkeys(names, ".svs"), headers)


@pytest.mark.parametrize(
    ("bad", "fraction", "level", "said"),
    [
        # One in twenty of 106 are 5; of 66 that were not looked at 3 are guessed, 2 of 40.
        (2, 0.05, None, ""),
        (3, 0.05, "note", "if as many of the other 66 fail, 8 of 106 slides do, and more than 5 stop the run"),
        (6, 0.05, "problem", "6 of 106 slides will fail, and more than 5 stop the run"),
        (1, 0, "problem", "1 of 106 slides will fail, and more than 0 stop the run"),
        (0, 0, None, ""),
    ],
)
def test_only_slides_that_were_seen_stop_a_run(study, bad, fraction, level, said):
    with planned_study(study, [f"slides.max_failed_fraction={fraction}"]) as plan:
        found = list(failing._slides(plan, sizes_of(106, bad), {}))
    assert [finding.said for finding in found[:1]] == (
        [f"of 40 slides looked at {bad} will fail: no_mpp {bad}, such as s0"] if bad else []
    )
    told_of = [(finding.level, finding.said) for finding in found[1:]]
    assert told_of == ([(level, f"{said} (slides.max_failed_fraction: {fraction:g})")] if level else [])
    assert all(finding.remedy for finding in found)


def test_a_slide_that_is_not_there_is_no_work(study):
    (study.parent / "slides/case-03.png").unlink()
    with planned_study(study) as plan:
        units = workload(plan).of(job("tile_slides", batch="0")).units
        missing = workload(plan).slides.missing
    assert (units["slide"], missing) == (23, ["case-03"])


def place(cores, jobs=0, **values):
    return Place(cores, jobs, Profile("config.yaml", values))


def test_time_on_the_clock_by_hand():
    here = place(2)
    assert here.clock("a", [10] * 5) == 30
    assert here.clock("a", [20, 5, 5, 5, 5]) == 20
    # A job of four threads has both cores, which it keeps busy by 85 %.
    wide = place(2, **{"set-threads": {"extract_features": 4}})
    assert wide.seconds("extract_features", Cost(17, 0, 0)) == pytest.approx(10)
    assert wide.clock("extract_features", [10, 10]) == 20
    # Each job of a cluster takes 5 s to be placed, and the last 40 s to be noticed.
    cluster = place(None, 2, **{"set-resources": {"a": {"gpu": 1}}})
    assert cluster.clock("a", [10] * 5) == 3 * 15 + 40
    assert (cluster.uses_gpu("a"), cluster.uses_gpu("b"), here.uses_gpu("a")) == (True, False, False)
    # A workstation of which the profile asks for one: where there is one.
    assert not replace(cluster, cores=2).uses_gpu("a")
    assert replace(cluster, cores=2, gpus=("H200",)).uses_gpu("a")


def test_where_jobs_run(tmp_path):
    here = len(os.sched_getaffinity(0))

    def found(values, cores=None, on_cluster=True):
        return place_of(Profile(tmp_path / "config.yaml", values), cores, on_cluster=on_cluster)

    assert (found({}).cores, found({}).jobs) == (None, 100)
    assert (found({"executor": "slurm", "jobs": 7}).cores, found({"executor": "slurm", "jobs": 7}).jobs) == (None, 7)
    assert found({"executor": "slurm", "jobs": "unlimited"}).clock("a", [10.0] * 3) == 10 + 5 + 40
    # Without an executor jobs run here, on the cores that the profile has.
    assert (found({"cores": 1}).cores, found({"cores": "all"}).cores) == (1, here)
    assert found({}, cores=1, on_cluster=False).cores == 1
    with pytest.raises(UserError, match=r"config.yaml: jobs: many is no number of 1 or more; correct it"):
        found({"executor": "slurm", "jobs": "many"})


def test_a_forecast_by_hand(study):
    runs = "results/models/mgmt/{}/fold0/seed0/metrics.json"
    jobs = [
        job("tile_slides", batch="0"),
        job("train_model", [runs.format("snn")], method="snn"),
        job("train_model", [runs.format("unheard-of")], method="unheard-of"),
        job("all")._replace(gathers=True),
    ]
    with planned_study(study) as plan:
        seeds = len(plan.config.training.seeds)
        found = forecast(jobs, workload(plan), RATES, place(2))
    tiling, training = found.stages
    assert tiling.processor == pytest.approx(2 + 24 * 0.5 + 100 * 24 * 9e-5)
    passes = seeds * 24 * (30 * (16 / 27 + 2 / 81) + 1 / 3)
    assert training.jobs == 2
    assert training.processor == pytest.approx(2 + 0.001 * passes + 2 + (0.002 + 0.0001 * 16) * passes)
    assert training.clock == pytest.approx(training.longest)
    assert training.mb == 600 + 2 * 16
    assert found.unmeasured == ["unheard-of"]
    assert found.total("disk_mb") == pytest.approx(24 * 0.1 + 2 * 10)


def test_slides_of_all_sizes_are_looked_at():
    sizes = {f"s{number:02d}": 100 - number for number in range(10)} | {"gone": None, "empty": 0}
    assert spread(sizes, 20) == [f"s{number:02d}" for number in range(9, -1, -1)]
    # The middle of each half by size.
    assert spread(sizes, 2) == ["s07", "s02"]


def told(capsys, *argv):
    main(["estimate", *map(str, argv)])
    return capsys.readouterr().out


def test_what_will_fail_is_told(study, capsys):
    for number in range(4):
        (study.parent / f"slides/case-0{number}.png").unlink()
    samples = study.parent / "samples.tsv"
    lines = [
        line.removesuffix("\t0.5") + "\t" if line.startswith("case-05") else line
        for line in samples.read_text().splitlines()
    ]
    samples.write_text("\n".join(lines) + "\n")
    Image.new("RGB", (50, 50)).save(study.parent / "slides/case-05.png")
    with pytest.raises(SystemExit) as ended:
        told(capsys, study, "--format", "json")
    assert ended.value.code == 1
    said = json.loads(capsys.readouterr().out)
    failing = [finding["said"] for finding in said["failing"]]
    assert any("slides/case-00.png" in line for line in failing)
    assert "of 20 slides looked at 1 will fail: missing_mpp 1, such as case-05" in failing
    (stop,) = [finding for finding in said["failing"] if finding["level"] == "problem"]
    # 4 of 24 are not there, and one of the rest is of no use; two of so few may always fail.
    assert stop["said"] == "5 of 24 slides will fail, and more than 2 stop the run (slides.max_failed_fraction: 0.05)"
    assert stop["remedy"] == "correct the table of samples, or raise the limit"
    assert (said["slides"]["number"], said["slides"]["missing"], said["slides"]["looked_at"]) == (24, 4, 20)
    assert said["slides"]["unusable"] == {"case-05": "missing_mpp"}
    assert {stage["rule"] for stage in said["stages"]} >= {
        "tile_slides",
        "extract_features",
        "train_model",
        "make_tables",
    }
    assert not (study.parent / "results").exists()


def test_an_estimate_in_words(study, capsys):
    said = told(capsys, study, "--cores", "1")
    assert "24 .png (image): " in said
    assert "patches     16 of a slide, 384 in all" in said
    assert ", 1 core\n" in said
    assert "resources/rates.tsv" not in said.splitlines()[-1]
    (rates,) = [line for line in said.splitlines() if line.startswith("rates ")]
    assert rates == (
        "rates       2 cores of an AMD EPYC, 2026-11-25 to 2026-11-29, most likely another machine than that of this "
        "study; --measure 5 runs the stages of slides on five of yours first"
    )
    assert (span(42), span(600), span(7200), size(12), size(2500), size(3e6)) == (
        "42 s", "10 min", "2.0 h", "12 MB", "2.5 GB", "3.0 TB",
    )  # fmt: skip


def test_notes_have_their_remedies(study, capsys):
    lines = (study.parent / "samples.tsv").read_text().replace("case-05\t0.5", "case-05\t")
    (study.parent / "samples.tsv").write_text(lines)
    Image.new("RGB", (50, 50)).save(study.parent / "slides/case-05.png")
    notes = [line for line in told(capsys, study).splitlines() if line.startswith("note ")]
    said = "of 24 slides looked at 1 will fail: missing_mpp 1, such as case-05"
    assert f"note        {said}; docs/slides.md says what each reason means and what to do" in notes


def test_a_gpu_of_this_machine_is_told_of(study, capsys, monkeypatch):
    monkeypatch.setattr(estimate, "usable_gpus", lambda: ("NVIDIA H200",))
    (line,) = [line for line in told(capsys, study, "--cores", "1").splitlines() if line.startswith("GPUs")]
    assert line.startswith("GPUs        of this machine (NVIDIA H200) are held for ")
    assert line.endswith(" at most, by the rates of a processor: none was measured on a GPU")
    monkeypatch.setattr(estimate, "usable_gpus", tuple)
    assert "GPUs" not in told(capsys, study, "--cores", "1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cores", "-1"], "--cores -1: must be 1 or more"),
        (["--cores", "0"], "--cores 0: must be 1 or more"),
        (["--measure", "-1"], "--measure -1: must be a number of slides"),
        (["--profile", "default"], "names no executor"),
        (["--output", "{study}"], "is a folder; name a file, such as "),
        (["--output", "{study}/folds.yaml/x"], "folds.yaml is no folder"),
    ],
)
def test_options_that_mean_nothing_are_refused(study, capsys, options, said):
    with pytest.raises(SystemExit) as ended:
        told(capsys, study, *(option.format(study=study.parent) for option in options))
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert said in line


@pytest.mark.slow
def test_slides_of_ones_own_are_measured(study, capsys):
    said = told(capsys, study, "--measure", "2")
    assert "rates       measured here on 2 slides; of all else: " in said
    # Slides of 300 px at 0.5 um/px have one tile of 224 px, not the 16 patches that are asked for.
    assert "patches     1 of a slide, 24 in all" in said
    with pytest.raises(SystemExit) as ended:
        main(["estimate", str(study), "--measure", "2", "--set", "slides.min_tiles=500"])
    assert ended.value.code == 2
    assert "none of the slides measured can be used (case-" in capsys.readouterr().err


def stage(rule, jobs=1, longest=60.0, mb=400.0):
    return Stage(rule, jobs, longest * jobs, longest, longest, 0.0, mb, 0.0)


FOUND = Forecast(
    [stage("tile_slides", 4, 700, 900), stage("extract_features", 4, 4000, 3000), stage("make_tables")], []
)


SHIPPED = shipped_requests()


def test_rules_of_which_nothing_is_due_ask_for_what_any_study_does():
    found = Forecast([stage("make_tables"), stage("extract_features", 4, 60, 20_000)], [])
    own = Profile(Path("config.yaml"), {"set-resources": {"train_model": {"mem_mb": 9}}})
    asked = slurm_profile(found, own, SHIPPED)["set-resources"]
    # More than the shipped 16 GB, where that is what it takes.
    assert asked["extract_features"] == {"mem_mb": "30000 * attempt", "runtime": "10 * attempt", "gpu": 1}
    assert asked["search_settings"] == {"mem_mb": "24000 * attempt", "runtime": "720 * attempt", "gpu": 1}
    assert asked["read_expression"] == {"mem_mb": "16000 * attempt", "runtime": "120 * attempt"}
    assert asked["tile_slides"] == {"mem_mb": "4000 * attempt", "runtime": "120 * attempt"}
    assert asked["train_model"] == {"mem_mb": 9}
    # Of a finished study nothing is known but that.
    profile = slurm_profile(Forecast([], []), None, SHIPPED)
    assert profile["default-resources"] == ["mem_mb=4000 * attempt", "disk_mb=1000", "runtime=120 * attempt", "gpu=0"]
    assert profile["set-resources"]["extract_features"] == SHIPPED.values["set-resources"]["extract_features"]


def test_what_is_shipped_is_what_the_profile_asks_for():
    of_file, profile = SHIPPED.values, read_profile("slurm").values
    assert of_file == {key: profile[key] for key in ("default-resources", "set-resources")}


def test_a_profile_asks_for_what_is_estimated():
    profile = slurm_profile(FOUND, None, SHIPPED)
    # 1.5 times the memory, to the next 500 MB; three times the time, to the next ten minutes.
    assert profile["set-resources"]["tile_slides"] == {"mem_mb": "1500 * attempt", "runtime": "40 * attempt"}
    assert profile["set-resources"]["extract_features"] == {
        "mem_mb": "16000 * attempt", "runtime": "200 * attempt", "gpu": 1,
    }  # fmt: skip
    assert profile["default-resources"] == ["mem_mb=1000 * attempt", "disk_mb=1000", "runtime=10 * attempt", "gpu=0"]
    assert profile["slurm-array-jobs"] == "tile_slides,extract_features"
    assert (profile["executor"], profile["retries"], profile["jobs"]) == ("slurm", 2, 100)
    text = as_yaml(profile, ["a line", ""])
    assert text.startswith("# a line\n#\n")
    assert yaml.safe_load(text) == profile


def test_a_profile_keeps_what_is_its_owners_and_knows_the_cluster(tmp_path):
    own = Profile(
        tmp_path / "config.yaml",
        {
            "jobs": 7,
            "default-resources": ["mem_mb=9", "slurm_account=lab", "slurm_partition=main"],
            "set-resources": {"extract_features": {"gpu": 2, "mem_mb": 9}, "other": {"runtime": 5}},
        },
    )
    partitions = [Partition("main", True, 60, 1000, 4, False), Partition("fast", False, 60, 1000, 4, True)]
    profile = slurm_profile(FOUND, own, SHIPPED, partitions, keeps_accounts=False)
    assert profile["jobs"] == 7
    assert "slurm_account=lab" in profile["default-resources"]
    assert "mem_mb=1000 * attempt" in profile["default-resources"]
    assert profile["set-resources"]["extract_features"] == {
        "mem_mb": "16000 * attempt", "runtime": "200 * attempt", "gpu": 2, "slurm_partition": "fast",
    }  # fmt: skip
    assert profile["set-resources"]["other"] == {"runtime": 5}
    assert profile["slurm-status-command"] == "squeue"


def test_a_profile_is_printed_under_its_estimate(study, capsys, caplog):
    text = told(capsys, study, "--profile", "slurm")
    profile = yaml.safe_load(text)
    assert profile["executor"] == "slurm"
    assert "# GPUs        are held for" in text
    # A redirection has emptied the file before it is read.
    (study.parent / "mine").mkdir()
    (study.parent / "mine/config.yaml").write_text("")
    again = yaml.safe_load(told(capsys, study, "--profile", study.parent / "mine"))
    assert again["set-resources"] == profile["set-resources"]
    assert "is empty, so that no account or partition is kept; --output writes it" in caplog.text
    # Written anew by the command itself, it keeps what is the user's.
    mine = study.parent / "mine/config.yaml"
    mine.write_text("executor: slurm\njobs: 7\ndefault-resources:\n- slurm_account=lab\n")
    assert told(capsys, study, "--profile", study.parent / "mine", "--output", mine) == ""
    kept = yaml.safe_load(mine.read_text())
    assert kept["jobs"] == 7 and "slurm_account=lab" in kept["default-resources"]
    assert kept["set-resources"] == profile["set-resources"]
    assert len(CASES) == 24


def test_gpus_that_torch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    names = {0: "H200", 1: "A100"}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(name=names[number]))
    assert usable_gpus() == ("H200", "A100")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usable_gpus() == ()
