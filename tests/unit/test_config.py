"""The configuration: the paper's defaults, and one readable line for each mistake."""

import json
import re
import subprocess
import sys

import pytest
from snakemake.cli import parse_config as snakemake_config

from ksfusion.config import Config
from ksfusion.core.config_block import Block
from ksfusion.core.errors import UserError
from ksfusion.core.resources import resource
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.core.study import Study
from ksfusion.core.workflow import workflow_command
from ksfusion.plan import Plan
from ksfusion.preflight.parsing import load_config, parse_config

A_STUDY = Study(None, frozenset(["case1"]), (), batches=4)

SOURCE = {"cohort": "TCGA", "format": "matrix", "unit": "log", "path": "expression.tsv"}
MINIMAL = {"cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [SOURCE]}}


def test_defaults_are_the_papers():
    config = parse_config(MINIMAL)
    assert (config.patches.count, config.slides.patch_px, config.slides.mpp) == (2500, 224, 0.5)
    assert config.features.encoder == "resnet50"
    assert config.splits.fractions == (0.8, 0.1, 0.1)
    assert (config.training.lr, config.training.weight_decay, config.training.batch_size) == (1e-3, 0.1, 8)
    assert [config.epochs(task) for task in ("diagnosis", "grading", "survival")] == [20, 20, 10]
    assert config.genes.top_fraction == 0.3
    assert not config.demo


def changed(**blocks):
    return {**MINIMAL, **blocks}


def own_task(**keys):
    """A configuration with a task of two classes of one's own."""
    task = {"kind": "classification", "column": "own", "classes": ["no", "yes"], **keys}
    return changed(tasks={"own": task})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (changed(patch={"count": 100}), ["patch", "unknown key", "patches"]),
        ({"cohort": {**MINIMAL["cohort"], "expression": [{**SOURCE, "cohort": "all"}]}}, ["called all", "rename it"]),
        (changed(patches={"number": 100}), ["patches.number", "unknown key", "count"]),
        (changed(patches={"count": "many"}), ["patches.count", "'many'"]),
        (changed(patches={"count": 150}), ["patches.count", "square", "144"]),
        (changed(patches={"count": 1}, methods=["ksfusion"]), ["patches.count is 1", "at least 4"]),
        (changed(slides={"exclude": ["dust"]}), ["slides.exclude.0", "'pen', 'fold' or 'blur'", "'dust'"]),
        (
            changed(slides={"exclude": ["pen"]}, features={"source": "precomputed", "path": "h5"}),
            ["slides.exclude", "features.source"],
        ),
        (changed(training={"seeds": [1, 1]}), ["training.seeds", "different"]),
        (changed(training={"seeds": [2**32]}), ["training.seeds"]),
        (changed(training={"together": ["sn"]}), ["training.together", "unknown method 'sn'"]),
        (changed(training={"together": ["clinical"]}), ["training.together", "clinical is a regression"]),
        (changed(training={"together": ["ksfusion-student"]}), ["training.together", "waits for ksfusion"]),
        (changed(training={"together": ["snn", "snn"]}), ["training.together", "method snn is listed twice"]),
        (changed(slides={"mpp": float("inf")}), ["slides.mpp"]),
        (changed(tasks=[]), ["tasks"]),
        (changed(stain={"target": "a{b}.json"}), ["a{b}.json", "brace"]),
        (changed(training={"alpha": 1.5}), ["training.alpha", "1.5"]),
        (changed(methods=["ksfusoin"]), ["methods", "ksfusoin", "attmil"]),
        (changed(tasks=["prognosis"]), ["tasks", "prognosis", "survival"]),
        (
            changed(tasks={"mgmt": {"kind": "classification", "column": "mgmt", "classes": ["one"]}}),
            ["tasks.mgmt", "two"],
        ),
        (
            changed(tasks={"os": {"kind": "survival", "time": "t", "event": "e", "unit": "weeks"}}),
            ["tasks.os.unit", "'days', 'months' or 'years'", "'weeks'"],
        ),
        (
            changed(tasks={"mgmt": {"kind": "classification", "column": "m", "classes": ["a", "b"], "unit": "months"}}),
            ["tasks.mgmt", "unit is for survival tasks"],
        ),
        (
            changed(tasks={"os": {"kind": "survival", "time": "survival_days", "event": "e", "unit": "months"}}),
            ["tasks.os", "survival_days is in days"],
        ),
        (changed(tasks={"../x": {"kind": "survival", "time": "t", "event": "e"}}), ["tasks"]),
        (
            {"cohort": {**MINIMAL["cohort"], "expression": [{**SOURCE, "format": "gdc-star"}]}},
            ["cohort.expression.0", "format gdc-star has no unit log; use counts or tpm or fpkm"],
        ),
        (
            {"cohort": {**MINIMAL["cohort"], "expression": [{**SOURCE, "format": "ivygap", "unit": "tpm"}]}},
            ["cohort.expression.0", "format ivygap has no unit tpm; use fpkm"],
        ),
        (changed(genes={"sets": "my.gmt"}), ["genes.sets", "a GMT file does not say its niche", "{tme: my.gmt}"]),
        (changed(splits={"fractions": [0.5, 0.5, 0.5]}), ["splits.fractions", "sum to 1"]),
        (changed(splits={"fractions": [0.8, 0.2]}), ["splits.fractions: must be three (training, validation, test)"]),
        (
            changed(splits={"scheme": "kfold", "fractions": [0.8, 0.1]}),
            ["splits.fractions: must be two (training, validation) or three positive numbers that sum to 1"],
        ),
        (
            {"cohort": {**MINIMAL["cohort"], "expression": [{**SOURCE, "sample_sheet": "sheet.tsv"}]}},
            ["cohort.expression.0", "sample_sheet belongs to format gdc-star", "matrix"],
        ),
        (changed(genes={"rank": "variance"}), ["genes.rank", "within_cohort", "cell_ranger"]),
        (changed(genes={"rank": "seurat_v3"}), ["genes.rank", "raw counts", "TCGA (log)", "use within_cohort"]),
        (changed(genes={"fit_on": "val"}), ["genes.fit_on", "'train' or 'all'", "'val'"]),
        (changed(genes={"harmonise": "quantile"}), ["genes.harmonise", "'none' or 'combat'", "'quantile'"]),
        (changed(genes={"harmonise": "combat"}), ["genes", "fit_on: all"]),
        (changed(genes={"harmonise": "none", "clip": 10}), ["genes", "clip counts standard deviations"]),
        (changed(genes={"clip": 0}), ["genes.clip", "greater than or equal to 0.1"]),
        (changed(genes={"harmonise": "combat", "fit_on": "all"}), ["combat needs expression of two cohorts"]),
        (changed(genes={"sets": {"stroma": "a.gmt"}}), ["genes.sets", "'stroma'", "tumour and tme"]),
        (changed(genes={"sets": {"tme": ["a.gmt"]}}), ["genes.sets", "mapping such as"]),
        (changed(genes={"sets": {}}), ["genes.sets", "mapping such as"]),
        (changed(genes={"sets": "builtin-0.0.9"}), ["genes.sets", "is not among the shipped", "builtin-0.1.0"]),
        (changed(genes={"sets": {"tme": "builtin-9"}}), ["genes.sets", "builtin-9 is not among the shipped"]),
        ({}, ["cohort", "missing"]),
        (changed(splits={"scheme": "file"}), ["splits", "go together"]),
        (changed(splits={"file": "mine.tsv"}), ["splits", "go together"]),
        (changed(splits={"scheme": "kfold", "k": 1}), ["splits.k"]),
        (
            changed(heatmaps={"methods": ["snn"]}),
            ["heatmaps.methods", "'snn' is no network that reads patches", "cmta"],
        ),
        (changed(heatmaps={"seeds": [7]}), ["heatmaps.seeds: 7", "training.seeds"]),
        (changed(heatmaps={"samples": 0}), ["heatmaps.samples: must be a number of samples, at least 1, or all"]),
        (changed(heatmaps={"samples": "some"}), ["heatmaps.samples: must be", "given: 'some'"]),
        (
            changed(tasks={"mgmt": {"kind": "classification", "column": "mgmt", "classes": [False, True]}}),
            ["tasks.mgmt", "quotes"],
        ),
        (own_task(positive="maybe"), ["tasks.own: positive: 'maybe' is not among the classes (no, yes)"]),
        (own_task(positive=True), ["tasks.own.positive", "quotes"]),
        (own_task(classes=["a", "b", "c"], positive="a"), ["tasks.own: positive is for two classes"]),
        (
            changed(tasks={"own": {"kind": "survival", "time": "t", "event": "e", "ordered": True}}),
            ["tasks.own: ordered is for classification"],
        ),
        (own_task(survival={"intervals": 4}), ["tasks.own: survival is for tasks of kind survival"]),
        (
            changed(
                tasks={"os": {"kind": "survival", "time": "t", "event": "e", "survival": {"cuts": [9], "intervals": 4}}}
            ),
            ["tasks.os.survival: 1 cuts make 2 intervals, not 4"],
        ),
        (changed(tasks={"age": {"kind": "regression"}}), ["tasks.age: a regression task needs column"]),
        (changed(results={"times": [730, 365]}), ["results.times: must be ascending"]),
        (changed(results={"times": [0]}), ["results.times"]),
        (
            changed(slides={"batches": 0}),
            ["slides.batches: Input should be greater than or equal to 1, or 'auto' (given: 0)"],
        ),
        (changed(slides={"batches": "many"}), ["slides.batches: ", "as an integer, or 'auto' (given: 'many')"]),
        (
            changed(tasks={"os": {"kind": "survival", "time": "t", "event": "e", "survival": {"cuts": "days"}}}),
            ["tasks.os.survival.cuts: Input should be a valid list, or 'quartiles' (given: 'days')"],
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_key(values, words):
    with pytest.raises(UserError) as caught:
        parse_config(values, source="my.yaml")
    lines = str(caught.value).splitlines()
    assert any(all(word in line for word in ["my.yaml", *words]) for line in lines), lines


def test_all_mistakes_are_listed_at_once():
    with pytest.raises(UserError) as caught:
        parse_config(changed(patches={"count": 150}, slides={"mpp": -1}, stian={}))
    assert len(str(caught.value).splitlines()) == 3


def test_scanpys_flavours_refuse_zscores():
    source = {"cohort": "TCGA", "format": "matrix", "unit": "zscore", "path": "expression.tsv"}
    cohort = {**MINIMAL["cohort"], "expression": [source]}
    with pytest.raises(UserError, match="seurat cannot rank the z-scores of cohort TCGA"):
        parse_config({"cohort": cohort, "genes": {"rank": "seurat"}})


def test_rankings_of_counts_name_the_cohorts_that_have_another_unit():
    sources = [{**SOURCE, "cohort": name, "unit": unit} for name, unit in dict(A="counts", B="tpm", C="zscore").items()]
    for rank in ("seurat_v3", "seurat_v3_paper"):
        values = {"cohort": {**MINIMAL["cohort"], "expression": sources}, "genes": {"rank": rank}}
        with pytest.raises(UserError) as caught:
            parse_config(values, source="my.yaml")
        (line,) = str(caught.value).splitlines()
        assert f"genes.rank: {rank}" in line and "do not give: B (tpm), C (zscore); give their counts" in line
        values["cohort"]["expression"] = sources[:1]
        assert parse_config(values).genes.rank == rank


def test_what_sees_test_samples_is_said():
    assert parse_config(MINIMAL).caveats() == []
    sources = [{**MINIMAL["cohort"]["expression"][0], "cohort": name} for name in ("TCGA", "IvyGAP")]
    cohort = {**MINIMAL["cohort"], "expression": sources}
    config = parse_config({"cohort": cohort, "genes": {"harmonise": "combat", "fit_on": "all"}})
    chosen, adjusted = config.caveats()
    assert "fit_on: all" in chosen
    assert "ComBat" in adjusted


def test_files_of_gene_sets():
    assert parse_config(MINIMAL).set_files() == {}
    assert parse_config(changed(genes={"sets": "my.tsv"})).set_files() == {"genes.sets": "my.tsv"}
    assert parse_config(changed(genes={"sets": "builtin-0.1.0"})).set_files() == {}
    mixed = {"tme": "GeneList.txt", "tumour": "builtin"}
    assert parse_config(changed(genes={"sets": mixed})).set_files() == {"genes.sets.tme": "GeneList.txt"}


def test_a_task_of_ones_own_needs_no_code():
    task = {"kind": "classification", "column": "mgmt", "classes": ["no", "yes"], "epochs": 7}
    config = parse_config(changed(tasks={"mgmt": task}))
    assert config.epochs("mgmt") == 7


def test_of_two_classes_one_counts_and_that_is_said():
    for given, counts in (({}, "yes"), ({"positive": "no"}, "no")):
        config = parse_config(own_task(**given, title="Own", labels={"no": "None"}))
        assert config.tasks["own"].shown("own").positive == counts
        (said,) = config.caveats()
        assert (
            said
            == f"Own: AUC, sensitivity, specificity, precision and F1 are about {dict(no='None').get(counts, counts)}."
        )
    assert parse_config(MINIMAL).tasks["grading"].shown("grading").positive is None
    assert parse_config(MINIMAL).tasks["grading"].ordered


def test_kfold_takes_two_fractions():
    assert parse_config(changed(splits={"scheme": "kfold", "fractions": [0.8, 0.2]})).splits.fractions == (0.8, 0.2)


def test_classes_that_are_numbers_are_text():
    task = {"kind": "classification", "column": "stage", "classes": [1, 2]}
    assert parse_config(changed(tasks={"stage": task})).tasks["stage"].classes == ["1", "2"]


def test_a_key_that_stands_twice_is_named_and_a_merged_one_is_not(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a {x: 1}\nb:\n  <<: *a\n  y: 2\n")
    assert read_yaml(path)["b"] == {"x": 1, "y": 2}
    path.write_text("a:\n  x: 1\n  y: 2\n  x: 3\n")
    with pytest.raises(UserError, match=r"config\.yaml: row 4: key 'x' stands in row 2 already"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "row", "remedy"),
    [
        ("cohort:\n  samples: s\n expression: []\n", 3, "look at the indents, brackets and quotes up to there"),
        ("cohort:\n\tsamples: s\n", 2, "indent with blanks, not with tabs"),
        ("a: 1\nb: c: d\n", 2, "look at the indents"),
        ("methods: [snn\ntraining: {}\n", 2, "look at the indents, brackets"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_row(tmp_path, text, row, remedy):
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"my\.yaml: row {row}: is not valid YAML \(.*\); {remedy}"):
        load_config(tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ({"training.alpha": 0.7}, "training={alpha: 0.7}"),
        ({"training.search.trials": 5}, "training={search: {trials: 5}}"),
        ({"training": {"search.trials": 5}}, "training={search: {trials: 5}}"),
        ({"splits.fractions": [0.6, 0.2, 0.2]}, "splits={fractions: [0.6, 0.2, 0.2]}"),
    ],
)
def test_a_key_with_dots_has_its_right_form_told(written, form):
    with pytest.raises(UserError) as told:
        parse_config(changed(**written))
    block, _, value = form.partition("=")
    assert f"unknown key; write {block}: {value} in the file, or give Snakemake --config '{form}'" in str(told.value)
    # What is told is what Snakemake takes.
    assert parse_config(changed(**snakemake_config([form]))) != parse_config(MINIMAL)


def test_a_key_with_dots_for_snakemake_has_its_right_form_told(tmp_path):
    (tmp_path / "my.yaml").write_text("cohort: {}\n")
    with pytest.raises(UserError, match=re.escape("write --set training.alpha=0.7 before the --, or --config 'train")):
        workflow_command(tmp_path / "my.yaml", passed_on=["--config", "demo=false", "training.alpha=0.7"])
    command = workflow_command(
        tmp_path / "my.yaml", passed_on=["--config", "training={alpha: 0.7}", "--until", "a.b=c"]
    )
    assert command[-1] == "a.b=c"


@pytest.mark.parametrize(("text", "word"), [(None, "cannot be read"), ("a: [", "not valid YAML"), ("- 1", "mapping")])
def test_a_file_that_is_no_configuration(tmp_path, text, word):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=word):
        load_config(path)


def test_the_papers_cohort_is_a_valid_configuration():
    config = load_config(resource("cohorts/glioma.yaml"))
    assert config.patches.count == 2500
    assert not config.demo


def test_planning_imports_nothing_heavy():
    code = "import sys, ksfusion.plan, ksfusion.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "timm", "pandas", "numpy", "h5py"} & set(done.stdout.split()) == set()


def test_heatmaps_are_of_the_first_seed_and_shown_where_the_method_is_trained():
    def lists(**blocks):
        plan = Plan(parse_config(changed(tasks=["grading"], **blocks)), tables=None, study=A_STUDY)
        return plan.heatmaps(), plan.heatmaps_shown()

    listed = ["results/heatmaps/grading/ksfusion/fold0/seed5/heatmaps.tsv"]
    assert lists(training={"seeds": [5, 6]}) == (listed, listed)
    assert lists(training={"seeds": [5, 6]}, methods=["snn"]) == (listed, [])
    drawn, shown = lists(methods=["mcat"], heatmaps={"methods": ["ksfusion", "mcat"], "seeds": [2, 1]})
    assert [name.split("/")[3:6] for name in drawn] == [
        [method, "fold0", seed] for method in ("ksfusion", "mcat") for seed in ("seed2", "seed1")
    ]
    assert shown == drawn[2:]
    # At the configured alpha of 0.5 this is ksfusion, whose runs and pictures serve both.
    listed = ["results/heatmaps/grading/ksfusion/fold0/seed0/heatmaps.tsv"]
    same = ["ksfusion", "ksfusion-alpha050"]
    assert lists(methods=same, heatmaps={"methods": same}) == (listed, listed)
    assert lists(heatmaps={"methods": []}) == ([], [])


def test_the_demos_configuration_names_every_key_of_a_block():
    config, known = read_yaml(resource("demo").parents[1] / "config.yaml"), Config.model_fields
    assert set(config) == set(known)
    blocks = {name: field.default for name, field in known.items() if isinstance(field.default, Block)}
    assert {"slides", "training", "heatmaps"} <= set(blocks)
    for name, block in blocks.items():
        assert set(config[name]) == set(type(block).model_fields), name


def test_choosing_genes_waits_for_the_files_of_their_sets():
    def files(sets):
        named = Plan(parse_config(changed(genes={"sets": sets})), tables=None, study=None).gene_sets()
        return [file.partition("gene_sets/")[2] or file for file in named]

    assert files("builtin-0.1.0") == ["tumour.tsv", "tme.tsv"]
    assert files("builtin-0.2.0") == files("builtin") == ["tumour.tsv", "tme.tsv", "0.2.0/tme.tsv"]
    assert files("my.tsv") == ["my.tsv"]
    assert files({"tme": "GeneList.txt"}) == ["tumour.tsv", "GeneList.txt"]
    assert files({"tme": "builtin-0.1.0", "tumour": "my.gmt"}) == ["my.gmt", "tme.tsv"]


@pytest.mark.parametrize(
    ("sets", "began_with", "named_by"),
    [
        ("builtin", "builtin-0.2.0", ["aliases.tsv", "0.2.0/aliases.tsv", "tumour.tsv", "tme.tsv", "0.2.0/tme.tsv"]),
        ("builtin", "builtin-0.1.0", ["aliases.tsv", "tumour.tsv", "tme.tsv"]),
        ("builtin-0.1.0", "builtin-0.2.0", ["aliases.tsv", "tumour.tsv", "tme.tsv"]),
        ("my.tsv", "builtin-0.1.0", ["aliases.tsv", "tumour.tsv", "tme.tsv"]),
    ],
)
def test_reading_expression_waits_for_the_names_of_the_version_of_the_study(sets, began_with, named_by):
    study = Study(None, frozenset(), (), 1, began_with)
    plan = Plan(parse_config(changed(genes={"sets": sets})), tables=None, study=study)
    assert [file.partition("gene_sets/")[2] for file in plan.gene_names()] == named_by


def test_null_in_braces_of_the_command_line_is_none():
    """What `--config training={search: null}` holds is text for Snakemake."""
    config = parse_config(changed(training={"search": "null", "lr": "1e-3"}, slides={"batches": "4"}))
    assert config.training.search is None
    assert (config.training.lr, config.slides.batches) == (0.001, 4)


IDH = {"kind": "classification", "column": "idh", "classes": ["WT", "Mutant"]}


@pytest.mark.parametrize(
    "tasks", [["grading", {"idh": IDH}], {"grading": None, "idh": IDH}, {"grading": {}, "idh": IDH}]
)
def test_builtin_tasks_stand_beside_ones_own(tasks):
    config = parse_config(changed(tasks=tasks))
    assert list(config.tasks) == ["grading", "idh"]
    assert config.tasks["grading"] == parse_config(changed(tasks=["grading"])).tasks["grading"]
    assert config.tasks["idh"].classes == ["WT", "Mutant"]


def test_a_builtin_task_is_changed_in_part():
    config = parse_config(changed(tasks={"grading": {"epochs": 3, "title": "WHO grade"}}))
    assert (config.tasks["grading"].column, config.epochs("grading")) == ("grade", 3)
    assert config.tasks["grading"].classes == ["G2", "G3", "G4"]


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        (["idh"], "'idh' is not a built-in task (diagnosis, grading, survival); define it, such as idh: {kind:"),
        ({"idh": None}, "'idh' is not a built-in task"),
        (["grading", {"grading": IDH}], "task grading is listed twice"),
        ([3], "3 is neither the name of a built-in task nor a mapping"),
        ([["grading"]], "is neither the name of a built-in task nor a mapping"),
        ({"idh": {"column": "idh"}}, "tasks.idh.kind: missing; add it"),
    ],
)
def test_what_is_no_task_is_told(tasks, told):
    with pytest.raises(UserError) as refused:
        parse_config(changed(tasks=tasks))
    assert told in str(refused.value)


@pytest.mark.parametrize("form", [["--default-storage-provider", "s9"], ["--default-storage-provider=s9"]])
def test_a_storage_of_which_no_plugin_is_installed(tmp_path, form):
    (tmp_path / "my.yaml").write_text(json.dumps(MINIMAL))
    with pytest.raises(UserError, match=r"--default-storage-provider s9: no such plugin .*snakemake-storage-plugin-s9"):
        workflow_command(tmp_path / "my.yaml", passed_on=form)
    known = ["--default-storage-provider", "fs"]
    assert workflow_command(tmp_path / "my.yaml", passed_on=known)[-2:] == known
    assert "--default-storage-provider" not in workflow_command(tmp_path / "my.yaml")
