"""Only what changed is redone: dry runs after a complete run of the demo, each on the same finished project."""

import contextlib
import shutil

import pytest

SLIDE_RULES = {"tile_slides", "fit_stain", "sample_patches", "draw_overviews", "extract_features"}
AUDIT = {"audit_modalities", "make_modalities"}
RESULTS = {"make_comparisons", "make_subgroups", "make_tables", "draw_figures", "draw_heatmaps", "write_report"} | AUDIT
ONCE = dict.fromkeys(RESULTS - {"draw_heatmaps", "audit_modalities"}, 1)
# Of a baseline, which has neither attention nor an audit.
OF_BASELINES = dict.fromkeys(RESULTS - {"draw_heatmaps"} - AUDIT, 1)
TRAINED = {"train_model", "train_together", "fit_baseline"}
# Three tasks: five methods each on their own, and six together.
EVERY_TRAINING = {"train_model": 15, "train_together": 3}
# What follows a change of methods that read no slide with its genes.
COMPARED = {rule: jobs for rule, jobs in ONCE.items() if rule not in AUDIT}
LOCATED = {"locate_attention", "make_localisation"}
# What is told of KS-Fusion: its genes, and its embeddings.
EXPLAINED = {"attribute_genes", "draw_attributions", "draw_embeddings"}
WITH_NETWORKS = {**ONCE, **dict.fromkeys(LOCATED | EXPLAINED, 1)}
AFTER_GENES = TRAINED | RESULTS | LOCATED | EXPLAINED
AFTER_FEATURES = AFTER_GENES | {
    "build_store",
    "write_ledger",
    "select_genes",
    "check_expression",
    "draw_genes",
    "score_oracles",
}


@contextlib.contextmanager
def edited(path, old, new):
    """Replace a text in a file, and put the file back with its old time afterwards."""
    keep = path.with_name(path.name + ".keep")
    shutil.copy2(path, keep)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        shutil.move(keep, path)


def test_nothing_changed_nothing_reruns(demo):
    assert demo.planned() == {}


def test_readme_and_comments_rerun_nothing(demo):
    with edited(demo.folder / "README.md", "#", "# Edited:"):
        assert demo.planned() == {}
    with edited(demo.folder / "src/ksfusion/slides/stain/vahadane.py", "\n\n", "\n# A remark.\n\n"):
        assert demo.planned() == {}


def test_where_slides_are_copied_to_reruns_nothing(demo):
    with edited(demo.folder / demo.configfile, "stage: null", "stage: fast"):
        assert demo.planned() == {}


def test_alpha_reruns_the_training_that_reads_it(demo):
    with edited(demo.folder / demo.configfile, "alpha: 0.5", "alpha: 0.25"):
        planned = demo.planned()
    # ksfusion with and without CG-Coord for three tasks; the report states the configuration.
    assert planned == {"train_model": 6, "draw_heatmaps": 3, "audit_modalities": 2, **WITH_NETWORKS}


def test_the_sweep_of_alpha_is_a_target_of_its_own(demo):
    # Of five alphas one is that of ksfusion, which is trained.
    assert demo.planned("alpha") == {"train_model": 12, "make_alpha_table": 1, "draw_alpha": 1, "alpha": 1}
    with edited(demo.folder / demo.configfile, "- ksfusion-no-cgcoord", "- ksfusion-no-cgcoord\n- ksfusion-alpha025"):
        planned = demo.planned()
    assert planned["train_model"] == 3 and planned["make_alpha_table"] == 1 and planned["draw_alpha"] == 1


def test_a_variant_with_the_alpha_of_ksfusion_has_its_results_without_a_training(demo):
    named = "- ksfusion-no-cgcoord\n- ksfusion-alpha050"
    table = demo.folder / "results/tables/alpha.tsv"
    with edited(demo.folder / demo.configfile, "- ksfusion-no-cgcoord", named):
        assert "train_model" not in demo.planned()
        demo.snakemake("results/tables/alpha.tsv")
        rows = demo.tsv("results/tables/alpha.tsv")
    table.unlink()
    base, variant = (rows[rows["method"] == name] for name in ("ksfusion", "ksfusion-alpha050"))
    assert len(base) == len(variant) > 0
    assert (
        base.drop(columns="method").reset_index(drop=True).equals(variant.drop(columns="method").reset_index(drop=True))
    )


def test_watching_a_training_reruns_none_and_new_ones_are_watched(demo):
    run = "results/models/survival/ksfusion-alpha025/fold0/seed0"
    with edited(demo.folder / demo.configfile, "tensorboard: false", "tensorboard: true"):
        assert demo.planned() == {"write_report": 1}  # it states the configuration
        demo.snakemake(f"{run}/metrics.json")
        assert demo.planned(f"{run}/metrics.json") == {}
    assert demo.planned(f"{run}/metrics.json") == {}
    assert list((demo.folder / run / "tensorboard").glob("events.*"))
    assert not list((demo.folder / "results/models").glob("*/ksfusion/*/*/tensorboard"))
    shutil.rmtree((demo.folder / run).parents[1])


def test_heatmaps_are_a_target_that_trains_what_it_lacks(demo):
    assert demo.planned("heatmaps") == {}
    with edited(demo.folder / demo.configfile, "seeds: null\n  samples: 8", "seeds: null\n  samples: 3"):
        assert demo.planned("heatmaps") == {"draw_heatmaps": 3, "heatmaps": 1}
    # A method that `methods` does not name is trained for this target alone.
    methods = "heatmaps:\n  methods:\n"
    with edited(demo.folder / demo.configfile, methods, methods + "  - ksfusion-released\n"):
        assert demo.planned("heatmaps") == {"train_model": 3, "draw_heatmaps": 3, "heatmaps": 1}
        assert set(demo.planned()) == {"write_report"}


def test_learning_rate_reruns_every_training(demo):
    with edited(demo.folder / demo.configfile, "lr: 0.001", "lr: 0.002"):
        assert demo.planned() == {**EVERY_TRAINING, "draw_heatmaps": 3, "audit_modalities": 8, **WITH_NETWORKS}


def test_what_follows_from_trainings_that_share_a_job_is_redone_for_all_of_them(demo):
    with edited(demo.folder / "src/ksfusion/methods/snn.py", "\n\n\nclass ", "\n\n\nANOTHER_LINE = 1\n\n\nclass "):
        planned = demo.planned()
    # Of the six those that read slides and genes are audited: concat, add, bilinear and mcat.
    assert planned == {"train_together": 3, "audit_modalities": 4, **ONCE, **dict.fromkeys(LOCATED, 1)}


def test_the_number_of_audited_samples_reruns_the_audit_alone(demo):
    samples = "audit_samples: 32"
    with edited(demo.folder / demo.configfile, samples, "audit_samples: 8"):
        assert demo.planned() == {"audit_modalities": 8, "make_modalities": 1, "write_report": 1}
        assert demo.planned("modalities") == {"audit_modalities": 8, "make_modalities": 1, "modalities": 1}
    with edited(demo.folder / demo.configfile, samples, "audit_samples: 0"):
        assert demo.planned() == {"write_report": 1} and demo.planned("modalities") == {}
    with edited(demo.folder / demo.configfile, "- cmta", "- ksfusion-released"):
        planned = demo.planned()
    assert (planned["train_model"], planned["audit_modalities"], planned["make_modalities"]) == (3, 1, 1)


def test_the_number_of_explained_samples_reruns_that_alone(demo):
    samples = "attributions:\n    methods:\n    - ksfusion\n    samples: 64"
    with edited(demo.folder / demo.configfile, samples, samples.replace("64", "8")):
        assert demo.planned() == {"attribute_genes": 1, "draw_attributions": 1, "write_report": 1}
    with edited(demo.folder / demo.configfile, samples, "attributions:\n    methods: []\n    samples: 64"):
        assert demo.planned() == {"write_report": 1} and demo.planned("attributions") == {}


def test_clinical_columns_rerun_the_baselines_that_read_them(demo):
    with edited(demo.folder / demo.configfile, "  - age\n  - sex\n", "  - age\n"):
        assert demo.planned() == {"fit_baseline": 2, **COMPARED}


def test_a_line_of_the_regressions_reruns_the_baselines_alone(demo):
    with edited(demo.folder / "src/ksfusion/training/ridge.py", "\nITERATIONS", "\nANOTHER_LINE = 1\nITERATIONS"):
        assert demo.planned() == {"fit_baseline": 6, **COMPARED}


def test_patch_count_reruns_sampling_and_what_follows(demo):
    with edited(demo.folder / demo.configfile, "count: 36", "count: 49"):
        planned = demo.planned()
    assert set(planned) == {"sample_patches", "draw_overviews", "extract_features"} | AFTER_FEATURES


def test_an_excluded_flag_reruns_sampling_and_what_follows(demo):
    with edited(demo.folder / demo.configfile, "exclude: []", "exclude: [pen, blur]"):
        planned = demo.planned()
    assert set(planned) == {"sample_patches", "draw_overviews", "extract_features"} | AFTER_FEATURES


def test_a_mask_reruns_the_batch_of_its_slide(demo):
    first = demo.tsv("results/slides.tsv")["slide_id"].iloc[0]
    masks = demo.folder / "masks"
    masks.mkdir()
    (masks / f"{first}.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (masks / "of-another-study.png").touch()
    with edited(demo.folder / demo.configfile, "masks: null", "masks: masks"):
        planned = demo.planned()
    assert {rule: planned[rule] for rule in SLIDE_RULES} == dict.fromkeys(SLIDE_RULES, 1)


def test_gene_set_reruns_genes_and_what_follows(demo):
    shipped = (demo.folder / "resources/gene_sets/tme.tsv").read_text().splitlines(keepends=True)
    (demo.folder / "tme.tsv").write_text("".join(shipped[:-1]))
    with edited(demo.folder / demo.configfile, "sets: builtin-0.1.0", "sets: {tme: tme.tsv, tumour: builtin-0.1.0}"):
        assert set(demo.planned()) == {"select_genes", "check_expression", "draw_genes"} | AFTER_GENES


def test_a_line_of_the_stain_module_reruns_stain_and_what_follows(demo):
    path = demo.folder / "src/ksfusion/stages/fit_stain.py"
    with edited(path, "\n\n\ndef ", "\n\n\nANOTHER_LINE = 1\n\n\ndef "):
        planned = demo.planned()
    assert set(planned) == {"fit_stain", "extract_features"} | AFTER_FEATURES


@pytest.mark.parametrize(
    ("file", "old", "new", "redone"),
    [
        # Not said in the configuration of the test: a default.
        ("results/config.py", "        8, description=", "        9, description=", {"draw_heatmaps", "write_report"}),
        ("training/config.py", "alpha: Fraction = Field(0.5", "alpha: Fraction = Field(0.25", set()),
        ("slides/config.py", "min_tissue: Fraction = Field(0.5", "min_tissue: Fraction = Field(0.4", set()),
        # Another check of a setting.
        ("slides/config.py", "must be a square number", "has to be a square number", set()),
        ("training/progress.py", "%s: epoch %d of %d: %s", "%s: %d epochs of %d: %s", set()),
        ("training/fit.py", '"""', '"""Edited: ', set()),
        ("slides/tiles/tissue.py", "\n\n\ndef ", "\n\n\n# A remark.\ndef ", set()),
    ],
)
def test_what_does_not_concern_a_stage_does_not_redo_it(demo, file, old, new, redone):
    config = demo.folder / demo.configfile
    shown = "  samples: 8\n"
    with edited(demo.folder / "src/ksfusion" / file, old, new), edited(config, shown, "" if redone else shown):
        planned = demo.planned()
    assert set(planned) == redone


@pytest.fixture
def one_slide_more(demo):
    """Add a slide and a sample of a case that is there already."""
    path = demo.folder / "samples.tsv"
    first = path.read_text().splitlines()[1].split("\t")
    shutil.copy2(demo.folder / first[3], demo.folder / "another.tiff")
    row = [first[0] + "-b", *first[1:3], "another.tiff", *first[4:]]
    with edited(path, path.read_text(), path.read_text() + "\t".join(row) + "\n"):
        yield
    (demo.folder / "another.tiff").unlink()


def test_a_new_slide_reruns_its_batch(demo, one_slide_more):
    planned = demo.planned()
    assert {rule: planned[rule] for rule in SLIDE_RULES} == dict.fromkeys(SLIDE_RULES, 1)
    assert "draw_demo_slides" not in planned and "read_expression" not in planned
    assert planned.items() >= EVERY_TRAINING.items()
