# New patients: from raw slides and expression to predictions by a bundle, through the pipeline's own stages.
# `ksfusion predict` writes the configuration, predict.yaml, and calls this; nothing of config.yaml is read.
import gc
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.6")
# What is imported stays: going through it for garbage again and again would take a fifth of a dry run.
gc.freeze()

# The rules find the package without an install step: in a checkout, or around this file in a wheel.
PROJECT = Path(workflow.basedir).parent
IN_CHECKOUT = (PROJECT / "src").is_dir()
SOURCE = str(PROJECT / "src" if IN_CHECKOUT else PROJECT.parents[1])
sys.path.insert(0, SOURCE)
from ksfusion.core.errors import UserError
from ksfusion.core.job_shell import job_prefix
from ksfusion.core.object_storage import as_they_are
from ksfusion.core.resources import shipped_with_code
from ksfusion.core.scheduling import lift_rate_limit
from ksfusion.core.study import usable_folder
from ksfusion.predictions.plan import make_prediction_plan
from ksfusion.preflight import named_files

# Where the command was given; results are written beside the configuration.
STARTED_IN = Path.cwd()
FILES = [Path(file).resolve() for file in workflow.configfiles]
if not FILES:
    raise WorkflowError("no configuration is given; call ksfusion predict, or name predict.yaml with --configfile")
SOURCE_NAME = os.path.relpath(FILES[-1])


try:
    FOLDER = usable_folder(FILES[-1].parent, SOURCE_NAME)
except UserError as error:
    raise WorkflowError(str(error)) from None


workdir: FOLDER


try:
    plan = make_prediction_plan(config, source=SOURCE_NAME, files=FILES, started_in=STARTED_IN)
except UserError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process:
    for line in plan.warnings():
        print(f"warning: {line}", file=sys.stderr)


# Not in a dry run, nor in the jobs of a cluster.
onstart:
    lift_rate_limit(workflow.scheduler)
    try:
        plan.begin({job.rule.name for job in workflow.dag.needrun_jobs()}, elsewhere=OWN_PYTHON)
    except UserError as error:
        raise WorkflowError(str(error)) from None


# Of a study some files may be in object storage, of new patients none is.
given = as_they_are
MANIFEST = str(named_files.MANIFEST)
DEPLOYMENT = {str(method) for method in workflow.deployment_settings.deployment_method}
OWN_PYTHON = bool(DEPLOYMENT & {"conda", "apptainer"})
OWN_METHODS = plan.prediction.methods_from
shell.prefix(job_prefix(SOURCE, in_checkout=IN_CHECKOUT, conda=OWN_PYTHON, methods_from=OWN_METHODS))
if "apptainer" in DEPLOYMENT:

    container: os.environ.get("KSFUSION_IMAGE", str(Path(workflow.basedir).parent / "ksfusion.sif"))


BATCHES = list(plan.batches)


# One for each patient.
PAGES = expand("{case_id}.html", case_id=plan.cases)


wildcard_constraints:
    batch=r"\d+",


if not plan.extracts:

    include: "rules/precomputed.smk"

else:

    include: "rules/slides.smk"


include: "rules/ledger.smk"
include: "rules/patches.smk"
include: "rules/expression.smk"
include: "rules/patients.smk"


rule all:
    default_target: True
    input:
        "predictions.tsv",
        PAGES,
