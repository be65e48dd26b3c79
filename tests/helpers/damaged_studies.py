"""Finished runs of every kind, whose files are damaged and put back."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from fold_project import make_project
from project import Project, copy_project

# What the shell of a job puts in the place of variables: nothing, in these studies.
VARIABLES = r"\$TENSORBOARD|\$\{STAGE:[^}]*\}"

# The studies that have a rule, and what is asked of Snakemake for them.
RULES = {
    "folds": [
        "attribute_genes",
        "audit_modalities",
        "build_store",
        "check_cohort",
        "check_expression",
        "check_leakage",
        "check_tiles",
        "draw_alpha",
        "draw_attributions",
        "draw_embeddings",
        "draw_figures",
        "draw_genes",
        "draw_heatmaps",
        "draw_overviews",
        "extract_features",
        "fit_baseline",
        "fit_stain",
        "locate_attention",
        "make_alpha_table",
        "make_comparisons",
        "make_localisation",
        "make_modalities",
        "make_reproduction",
        "make_subgroups",
        "make_tables",
        "read_expression",
        "read_regions",
        "sample_patches",
        "search_settings",
        "select_genes",
        "split_cases",
        "tile_slides",
        "train_model",
        "train_together",
        "write_ledger",
        "write_report",
    ],
    "demo": ["draw_demo_expression", "draw_demo_slides", "locate_attention", "make_localisation", "score_oracles"],
    "precomputed": ["import_features", "import_tiles"],
    "patients": ["check_patients", "explain_cases", "predict_cases", "write_pages"],
}
TARGETS = {
    "folds": [],
    "demo": ["results/localisation.tsv", "results/tables/oracles.tsv"],
    "precomputed": ["results/features/0.h5"],
    "patients": [],
}
# What the rules of a study write, but for the demo's slides and expression: they stand for a user's, which carry no
# checksum.
WRITTEN = ("results", "truth", "predictions.tsv", "new.html")
# An annotation of the left half of a slide.
HALF = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [150, 0], [150, 300], [0, 300], [0, 0]]]},
    "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
}


@dataclass
class Study:
    """A finished run: its folder, and of the first job of each rule what Snakemake knows.

    Attributes
    ----------
    folder
        Where it ran.
    commands
        The arguments of each rule's job.
    inputs
        The paths of its inputs.
    outputs
        By rule the paths of all its jobs' outputs; what a job writes beside these, such as pictures, no rule names.
    """

    folder: Path
    commands: dict[str, list[str]]
    inputs: dict[str, list[str]]
    outputs: dict[str, set[str]]


def finished(name, folder, project, *options):
    """Keep what a finished run wrote, and ask Snakemake for its commands."""
    for part in filter(lambda part: (folder / part).exists(), WRITTEN):
        copy(folder / part, folder / "whole" / part)
    printed = project.snakemake(*TARGETS[name], *options, "--forceall", "--dry-run", "--printshellcmds")
    text, commands, inputs, outputs = printed.stdout + printed.stderr, {}, {}, {}
    shown = r"^rule (\w+):\n(?:    input: (.*?)\n)?    output: (.*?)\n.*?^Shell command: ksfusion (.*?)$"
    for rule, read, made, command in re.findall(shown, text, re.MULTILINE | re.DOTALL):
        outputs.setdefault(rule, set()).update(made.replace(" (update)", "").split(", "))
        commands.setdefault(rule, shlex.split(re.sub(VARIABLES, "", command.partition(" 2> ")[0])))
        inputs.setdefault(rule, read.split(", ") if read else [])
    assert commands.keys() >= set(RULES[name])
    return Study(folder, commands, inputs, outputs)


def run(name, project):
    """Run a project to its targets."""
    project.snakemake(*TARGETS[name])
    return finished(name, project.folder, project)


def call_here(folder, *arguments):
    """Call a verb as a user does."""
    command = [sys.executable, "-m", "ksfusion", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, (done.stdout + done.stderr)[-3000:]


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)


def copy_inputs(study, rule, folder):
    """Copy what a rule's job may read, and make the folders of its outputs.

    It may read its inputs, what no rule names, and the user's slides: of these only tiling is to be redone when they
    change, so that they are inputs of no other rule.
    """
    for name in study.inputs[rule]:
        if not Path(name).is_absolute():
            copy(study.folder / name, folder / name)
    named = set().union(*study.outputs.values())
    for path in written(study.folder):
        name = path.relative_to(study.folder)
        if named.isdisjoint(map(str, (name, *name.parents))) and not (folder / name).exists():
            copy(path, folder / name)
    for name in study.outputs[rule]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    for name in ("slides", "../slides"):
        if (study.folder / name).is_dir() and not any(Path(made).is_relative_to(name) for made in named):
            shutil.copytree(study.folder / name, folder / name, dirs_exist_ok=True)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def restore(folder):
    """Put back what was kept, where it is not as it was."""
    kept = {path.relative_to(folder / "whole"): path.stat() for path in written(folder / "whole")}
    now = {path.relative_to(folder): path.stat() for path in written(folder)}
    for name in now.keys() - kept.keys():
        (folder / name).unlink()
    for name, stat in kept.items():
        here = now.get(name)
        # Two names of one file would be damaged together.
        if not here or here.st_nlink > 1 or (here.st_mtime_ns, here.st_size) != (stat.st_mtime_ns, stat.st_size):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).unlink(missing_ok=True)
            shutil.copy2(folder / "whole" / name, folder / name)


def written(folder):
    """Return the files that rules write."""
    paths = [path for part in WRITTEN for path in (folder / part, *(folder / part).rglob("*"))]
    return [path for path in paths if path.is_file()]


def make_folds(folder):
    """Return a finished run that has a file of every kind, but for those of the others."""
    project = make_project(folder)
    (folder / "regions").mkdir()
    for case in ("case-03", "case-04"):
        (folder / f"regions/{case}.geojson").write_text(json.dumps(HALF))
    project.configure(
        slides={"regions": "regions"},
        splits={"k": 2},
        methods=["ksfusion", "ksfusion-alpha025", "logistic-genes"],
        heatmaps={"samples": 1},
        results={"published": "paper"},
        training={"seeds": [0], "epochs": {"mgmt": 3}, "search": {"trials": 1}, "together": ["ksfusion-alpha025"]},
    )
    tasks = {"mgmt": {"kind": "classification", "column": "mgmt", "classes": ["unmethylated", "methylated"]}}
    project.configure(tasks={**tasks, "mgmt": tasks["mgmt"] | {"epochs": 3}})
    return run("folds", project)


def make_demo(folder):
    """Return a part of the demo, run until it is known where a model looks."""
    copy_project(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    samples = pd.read_csv(folder / "resources/demo/samples.tsv", sep="\t", dtype=str, keep_default_na=False)
    complete = samples[samples["slide"].ne("") & samples["expression_id"].ne("")].drop_duplicates("case_id")
    complete.groupby("cohort").head(6).to_csv(folder / "samples.tsv", sep="\t", index=False)
    config["cohort"]["samples"] = "samples.tsv"
    config |= {"folder": ".", "tasks": ["diagnosis"], "methods": ["attmil"]}
    config["slides"] |= {"batches": 1}
    config["patches"]["count"] = 16
    config["features"] |= {"encoder": "seeded-conv", "input_px": 32}
    config["training"] |= {"seeds": [0], "epochs": {"diagnosis": 1}}
    (folder / "few.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return run("demo", Project(folder, "few.yaml"))


def make_precomputed(folder, folds):
    """Return a run on the features of the first, exported."""
    project = make_project(folder)
    restore(folds.folder)
    call_here(folds.folder, "export", "--format", "trident", "--output", project.folder / "given")
    project.configure(features={"source": "precomputed", "path": "given"})
    return run("precomputed", project)


def make_patients(folder, folds):
    """Return what a bundle of the first run says of a new patient."""
    project = make_project(folder)
    restore(folds.folder)
    bundle = ("bundle", "--task", "mgmt", "--method", "ksfusion", "--output", project.folder / "bundle")
    call_here(folds.folder, *bundle)
    header = "sample_id\tcase_id\tcohort\tslide\texpression_id\tmpp"
    (project.folder / "new.tsv").write_text(f"{header}\nnew\tnew\tX\tslides/case-03.png\tcase-90\t0.5\n")
    asked = ("--bundle", "bundle", "--samples", "new.tsv", "--expression", "expression.tsv", "--cores", "2")
    call_here(project.folder, "predict", *asked, "--output", "out")
    project.configfile = "out/predict.yaml"
    return finished("patients", project.folder / "out", project, "--snakefile", "workflow/predict.smk")
