# From raw whole-slide images and gene expression to result tables.
import gc
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.6")
# What is imported stays: going through it for garbage again and again would take a fifth of a dry run.
gc.freeze()

# The rules find the package without an install step: beside this file in a checkout, around it in a wheel.
IN_CHECKOUT = Path(workflow.basedir, "src").is_dir()
SOURCE = str(Path(workflow.basedir, "src") if IN_CHECKOUT else Path(workflow.basedir).parents[1])
sys.path.insert(0, SOURCE)
from ksfusion.core.errors import UserError
from ksfusion.core.job_shell import job_prefix
from ksfusion.core.object_storage import ObjectStorage, as_they_are, tracked_files
from ksfusion.core.resources import shipped, shipped_with_code
from ksfusion.core.scheduling import lift_rate_limit
from ksfusion.core.study import study_folder, usable_folder
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.methods import registry
from ksfusion.plan import make_plan
from ksfusion.preflight import named_files

# A user's own configuration inherits nothing of the demo's.
if not workflow.overwrite_configfiles:
    try:
        # Snakemake names neither file nor line of what is no YAML.
        read_yaml(Path(workflow.basedir, "config.yaml"))
    except UserError as error:
        raise WorkflowError(str(error)) from None

    configfile: Path(workflow.basedir, "config.yaml")


# Where the command was given; results are written to the study's folder.
STARTED_IN = Path.cwd()
FILES = [Path(file).resolve() for file in workflow.configfiles]
SOURCE_NAME = os.path.relpath(FILES[-1])


try:
    FOLDER = usable_folder(study_folder(config), SOURCE_NAME)
except UserError as error:
    raise WorkflowError(str(error)) from None


workdir: FOLDER


try:
    # Where results are, with Snakemake's --default-storage-provider.
    STORAGE = ObjectStorage.of(workflow)
    if STORAGE:
        STORAGE.begin()
    plan = make_plan(config, source=SOURCE_NAME, files=FILES, started_in=STARTED_IN, storage=STORAGE)
except UserError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process:
    for line in plan.warnings():
        print(f"warning: {line}", file=sys.stderr)


# Not in a dry run, nor in the jobs of a cluster.
onstart:
    lift_rate_limit(workflow.scheduler)
    due = {job.rule.name for job in workflow.dag.needrun_jobs()}
    try:
        if STORAGE:
            # The one output that its job reads.
            STORAGE.bring(["results/cohort/splits.tsv"] if "split_cases" in due else [])
        plan.begin(due, elsewhere=OWN_PYTHON)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if STORAGE:
        STORAGE.keep(tracked_files(workflow.dag.jobs))


onsuccess:
    if STORAGE:
        STORAGE.keep(tracked_files(workflow.dag.jobs))


onerror:
    if STORAGE:
        STORAGE.keep(tracked_files(workflow.dag.jobs))


# Files that are here whatever is in object storage: the user's that were found or fetched, and shipped ones.
given = local if STORAGE else as_they_are
MANIFEST = str(named_files.MANIFEST)
DEPLOYMENT = {str(method) for method in workflow.deployment_settings.deployment_method}
# Whether jobs have a Python of their own: of an environment of conda, or of the image of apptainer.def.
OWN_PYTHON = bool(DEPLOYMENT & {"conda", "apptainer"})
# No settings of a run: to watch a training, or where slides are copied to, changes nothing in its result.
TENSORBOARD = "--tensorboard" if plan.config.training.tensorboard else ""
STAGE = shlex.quote(plan.config.slides.stage or "")
SHELL = {"variables": f"TENSORBOARD='{TENSORBOARD}'; STAGE={STAGE};", "methods_from": plan.config.methods_from}
shell.prefix(job_prefix(SOURCE, in_checkout=IN_CHECKOUT, conda=OWN_PYTHON, **SHELL))

BATCHES = list(plan.batches)
TASKS = list(plan.config.tasks)
METHODS = plan.trained(plan.config.methods)
SEEDS = plan.config.training.seeds
FOLDS = plan.folds


if "apptainer" in DEPLOYMENT:

    container: os.environ.get("KSFUSION_IMAGE", str(Path(workflow.basedir, "ksfusion.sif")))


wildcard_constraints:
    batch=r"\d+",
    task="|".join(re.escape(task) for task in TASKS),
    method="|".join(map(re.escape, registry.METHODS)),
    fold=r"\d+",
    seed=r"\d+",


if plan.config.demo:

    include: "workflow/rules/demo.smk"


if not plan.extracts:

    include: "workflow/rules/precomputed.smk"

else:

    include: "workflow/rules/slides.smk"


include: "workflow/rules/cohort.smk"
include: "workflow/rules/ledger.smk"
include: "workflow/rules/patches.smk"
include: "workflow/rules/expression.smk"
include: "workflow/rules/genes.smk"
include: "workflow/rules/methods.smk"
include: "workflow/rules/modalities.smk"
include: "workflow/rules/attributions.smk"


LOCALISATION = []
if plan.config.demo or plan.regions():

    include: "workflow/rules/localisation.smk"


include: "workflow/rules/results.smk"


# A study without slides has none.
STORE = ["results/features/store"] if plan.has_slides else []
# Who trains stops where too many slides have no tiles, before any is encoded; `slides` goes on to the ledger.
CHECKED = ["results/tiles/failed.tsv"] if BATCHES else []
REPORT = "results/report.html"
LEDGERS = ["results/slides.tsv", "results/samples.tsv", *plan.overviews()]
TABLES = expand(
    "results/tables/{table}.{ending}", table=["table1", "table2", "table_s1"], ending=["tsv", "md", "tex", "docx"]
)
TABLES += ["results/tables/comparisons.tsv", "results/tables/subgroups.tsv"]
TABLES += ALPHA_RESULTS if plan.alpha_listed else []
TABLES += REPRODUCTION


rule all:
    default_target: True
    input:
        CHECKED,
        REPORT,
        LEDGERS,
        TABLES,
        MODALITIES,
        LOCALISATION,
        ATTRIBUTIONS,
        STORE,
        expand("results/features/{batch}.h5", batch=BATCHES),
        "results/figures/figures.json",
        plan.heatmaps_shown(),
        expand("results/genes/fold{fold}/selected.tsv", fold=FOLDS),
        expand("{run}/model.safetensors", run=RUNS),


# `snakemake slides`: what becomes of every slide and sample, before anything is trained.
rule slides:
    input:
        LEDGERS,


# `snakemake tables`: all methods, trained and compared.
rule tables:
    input:
        CHECKED,
        TABLES,


# `snakemake report`
rule report:
    input:
        CHECKED,
        REPORT,


# `snakemake alpha`: the sweep of alpha, whose runs `all` does not need.
rule alpha:
    input:
        CHECKED,
        ALPHA_RESULTS,


# `snakemake modalities`: whether the methods use both modalities.
rule modalities:
    input:
        CHECKED,
        MODALITIES,


# `snakemake attributions`: which genes the methods rest on.
rule attributions:
    input:
        CHECKED,
        ATTRIBUTIONS,
        ATTRIBUTION_FIGURES,


# `snakemake heatmaps`: all that the configuration names; `all` needs those of its own methods.
rule heatmaps:
    input:
        CHECKED,
        plan.heatmaps() if plan.has_slides else [],
