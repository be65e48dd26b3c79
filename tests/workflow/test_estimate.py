"""What an estimate says beside what a finished run has noted."""

import csv
import os
import subprocess
import sys

from ksfusion.core.workflow import due_jobs, workflow_command
from ksfusion.doctor.profiles import read_profile
from ksfusion.doctor.studies import planned_study
from ksfusion.estimates.forecast import Place, forecast
from ksfusion.estimates.rates import Rates
from ksfusion.estimates.slide_sizes import look_at_slides
from ksfusion.estimates.workload import Workload
from ksfusion.slides.config import Reading

# Rates are of another machine, or of another hour of this one; of a few seconds' job half is its start.
WITHIN, OF_A_RULE = 2.5, 5


def noted(path):
    """Return the processor seconds and the memory in MB of a finished job.

    The processor time that Snakemake notes is that of its last look at the process; the mean load is of the whole.
    """
    with path.open(encoding="utf-8") as file:
        row = next(csv.DictReader(file, delimiter="\t"))
    return float(row["s"]) * float(row["mean_load"]) / 100, float(row["max_rss"])


def test_an_estimate_is_near_what_a_run_took(demo, monkeypatch):
    monkeypatch.chdir(demo.folder)
    config = demo.folder / demo.configfile
    jobs = due_jobs(workflow_command(config), "--forceall")
    with planned_study(config) as plan:
        slides = look_at_slides(plan.tables.slides(), Reading.of(plan.config.slides))
        place = Place(2, 0, read_profile(None))
        work = Workload(plan, slides, plan.config.patches.count, place.threads("extract_features"))
        found = forecast(jobs, work, Rates.read(), place)
    compared = {}
    for stage in found.stages:
        folder = demo.folder / "results/benchmarks"
        files = [*(folder / stage.rule).rglob("*.tsv"), *folder.glob(f"{stage.rule}.tsv")]
        if files:
            taken = [noted(path) for path in files]
            compared[stage.rule] = (stage, sum(seconds for seconds, _ in taken), max(memory for _, memory in taken))
    assert {"tile_slides", "fit_stain", "extract_features", "train_model", "make_tables"} <= set(compared)
    predicted = sum(stage.processor for stage, _, _ in compared.values())
    taken = sum(seconds for _, seconds, _ in compared.values())
    assert taken / WITHIN < predicted < WITHIN * taken
    for rule, (stage, seconds, memory) in compared.items():
        # Of shorter ones Snakemake notes too little.
        if seconds > 10:
            assert seconds / OF_A_RULE < stage.processor < OF_A_RULE * seconds, rule
            assert memory / 2 < stage.mb < 3 * memory, rule


def test_nothing_is_left_of_a_finished_study(demo):
    command = [sys.executable, "-m", "ksfusion", "estimate", str(demo.folder / demo.configfile)]
    # The code of the project that ran, to whose files the versions belong.
    environment = {**os.environ, "PYTHONPATH": str(demo.folder / "src")}
    done = subprocess.run(command, cwd=demo.folder, capture_output=True, text=True, check=True, env=environment)
    assert "dominating  nothing is left to do" in done.stdout
