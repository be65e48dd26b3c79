"""The demo at a reduced size, from raw slides to the report, checked against what was planted."""

import re

import h5py
import numpy as np
import pandas as pd
import pytest
from listed_outputs import unlisted

from ksfusion.core.outputs import read_outputs

PAPER_METRICS = ["auc", "accuracy", "sensitivity", "specificity", "f1"]


def test_every_stage_left_its_files(demo):
    for name in (
        "cohort/samples.parquet",
        "cohort/cases.parquet",
        "cohort/audit.tsv",
        "cohort/splits.tsv",
        "slides.tsv",
        "samples.tsv",
        "genes/findings.tsv",
        "genes/fold0/selected.tsv",
        "genes/fold0/conflicts.tsv",
        "figures/genes_fold0.svg",
        "genes/fold0/expression.parquet",
        "tables/table1.tsv",
        "tables/table1.md",
        "tables/table1.tex",
        "tables/table2.tsv",
        "tables/table_s1.tsv",
        "tables/table_s1.md",
        "tables/subgroups.tsv",
        "report.html",
    ):
        assert (demo.folder / "results" / name).stat().st_size > 0, name
    run = demo.folder / "results/models/survival/ksfusion/fold0/seed0"
    files = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert files == {"model.safetensors", "config.json", "predictions.parquet", "history.tsv", "metrics.json"}


def test_every_file_and_column_is_listed(demo):
    outputs = read_outputs(demo.folder / "resources/outputs.yaml")
    assert list(unlisted(demo.folder / "results", outputs)) == []


NETWORKS = ["attmil", "transmil", "snn", "concat", "add", "bilinear", "mcat", "cmta", "ksfusion"]
BASELINES = ["clinical", "cox-genes", "logistic-genes", "clinical+genes", "cohort", "mean-patch"]


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("table1", [*NETWORKS, *BASELINES]),
        ("table2", ["ksfusion", "ksfusion-no-gecon", "ksfusion-no-cgcoord"]),
    ],
)
def test_a_table_has_every_method_task_and_metric(demo, name, methods):
    table = demo.tsv(f"results/tables/{name}.tsv")
    rows = table[(table["level"] == "sample") & (table["cohort"] == "all") & (table["fold"] == "all")]
    expected = {
        (method, task, metric)
        for method in methods
        for task, metrics in (("diagnosis", PAPER_METRICS), ("grading", PAPER_METRICS), ("survival", ["c_index"]))
        for metric in metrics
    }
    assert expected == set(rows[["method", "task", "metric"]].itertuples(index=False, name=None))
    assert rows["paper"].isna().all()  # published of another cohort
    assert (rows["mean"].notna() | rows["reason"].notna()).all()


def test_the_ledger_accounts_for_every_slide_and_sample(demo):
    samples = demo.tsv("samples.tsv")
    ledger = demo.tsv("results/samples.tsv").set_index("sample_id")
    assert sorted(ledger.index) == sorted(samples["sample_id"])
    assert ledger.loc["KG-017-DX1", "reason"] == "missing_file"
    assert ledger.loc["KG-043-DX1", "reason"] == "missing_profile"
    assert set(ledger["status"].drop(["KG-017-DX1", "KG-043-DX1"])) == {"ok"}
    slides = demo.tsv("results/slides.tsv")
    assert sorted(slides["slide_id"]) == sorted(samples["slide"].dropna().str.extract(r"([^/]+)\.tiff$")[0])
    planted = demo.tsv("truth/slides.tsv").set_index("slide_id")
    slides = slides.set_index("slide_id")
    assert np.allclose(slides["mpp"], planted["mpp"].reindex(slides.index), rtol=0.01)
    assert ((slides["unique_patches"] + slides["repeated_patches"]) == 36).all()


def test_every_slide_has_its_picture_and_hardly_a_flag(demo):
    slides = demo.tsv("results/slides.tsv").set_index("slide_id")
    pictures = {path.stem for path in (demo.folder / "results/slides").glob("*.png")}
    assert pictures == set(slides.index)
    assert set(slides["mask"]) == {"automatic"}
    # The demo draws neither ink nor folds, and everything in focus.
    assert slides[["pen", "fold", "blur"]].mean().max() < 0.01
    page = (demo.folder / "results/report.html").read_text()
    gallery = page[page.index('id="overviews"') :]
    assert gallery.count("data:image/jpeg;base64,") == min(24, len(slides))
    assert len(page) < 12_000_000


@pytest.mark.parametrize("task", ["diagnosis", "grading", "survival"])
def test_heatmaps_lie_on_the_patches_of_test_slides(demo, task):
    folder = demo.folder / f"results/heatmaps/{task}/ksfusion/fold0/seed0"
    listed = demo.tsv(f"{folder.relative_to(demo.folder)}/heatmaps.tsv").set_index("sample_id")
    predictions = pd.read_parquet(demo.folder / f"results/models/{task}/ksfusion/fold0/seed0/predictions.parquet")
    tested = predictions.loc[predictions["split"] == "test", "sample_id"]
    assert len(listed) == min(8, len(tested)) and set(listed.index) <= set(tested)
    assert listed["reason"].isna().all()
    assert {path.name for path in folder.glob("*.png")} == set(listed["heatmap"])
    attention = pd.read_parquet(folder / "attention.parquet")
    assert set(attention["sample_id"]) == set(listed.index)
    patches = pd.concat([pd.read_parquet(path) for path in (demo.folder / "results/patches").glob("*.parquet")])
    for sample_id, rows in attention.groupby("sample_id"):
        own = patches[patches["slide_id"] == listed.loc[sample_id, "slide_id"]]
        times = own.groupby(["x", "y"]).size()
        assert rows.set_index(["x", "y"])["cells"].to_dict() == times.to_dict()
        assert np.allclose(rows[["tumour", "tme"]].sum(), 1, atol=1e-5)
    page = (demo.folder / "results/report.html").read_text()
    first = listed["heatmap"].iloc[0]
    assert f'<figure><a href="heatmaps/{task}/ksfusion/fold0/seed0/{first}">' in page


def test_tissue_and_stain_are_those_that_were_drawn(demo):
    planted = demo.tsv("truth/slides.tsv").set_index("slide_id")
    slides = demo.tsv("results/slides.tsv").set_index("slide_id")
    found = slides["tissue_mm2"] / planted["tissue_mm2"].reindex(slides.index)
    assert found.between(0.85, 1.15).mean() > 0.9, found.describe()
    angles = []
    for path in sorted((demo.folder / "results/stain").glob("*.parquet")):
        for row in pd.read_parquet(path).itertuples():
            drawn = np.array(planted.loc[row.slide_id, "stain_matrix"].split(), dtype=float).reshape(2, 3)
            fitted = np.array([[row.h_r, row.h_g, row.h_b], [row.e_r, row.e_g, row.e_b]])
            cosine = (drawn * fitted).sum(1) / np.linalg.norm(drawn, axis=1) / np.linalg.norm(fitted, axis=1)
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())
    assert np.median(angles) < 12, angles


def test_patches_are_repeated_by_index(demo):
    path = next(iter(sorted((demo.folder / "results/features").glob("*.h5"))))
    with h5py.File(path) as file:
        for group in file.values():
            unique = group["features"].shape[0]
            assert group["features"].dtype == np.float16
            assert group["index"].shape == (36,)
            assert set(group["index"][:]) == set(range(unique))


def test_no_case_is_in_two_splits_and_only_training_was_fitted(demo):
    splits = demo.tsv("results/cohort/splits.tsv")
    assert splits["case_id"].is_unique
    predictions = pd.read_parquet(demo.folder / "results/models/diagnosis/snn/fold0/seed0/predictions.parquet")
    side = splits.set_index("case_id")["split"]
    assert (predictions["case_id"].map(side) == predictions["split"]).all()


def auc_of_grading(demo, table, method):
    rows = demo.tsv(f"results/tables/{table}.tsv").set_index(["method", "task", "metric", "level", "cohort", "fold"])
    return rows.loc[(method, "grading", "auc", "sample", "all", "all"), "mean"]


@pytest.mark.parametrize("method", ["snn", "ksfusion"])
def test_the_planted_signal_is_found(demo, method):
    # In grading: of one diagnosis there is a single training case, and knowing what was planted does not help.
    assert min(auc_of_grading(demo, "oracles", oracle) for oracle in ("oracle-genes", "oracle-both")) > 80
    assert auc_of_grading(demo, "table1", method) > 60


@pytest.mark.parametrize("planted", ["tumour", "necrosis"])
def test_what_was_planted_can_be_read_off_the_features_of_patches(demo, planted):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, tiles = [], []
    for path in sorted((demo.folder / "results/features").glob("[0-9]*.h5")):
        with h5py.File(path) as file:
            for slide_id, group in file.items():
                features.append(group["features"][:].astype(float))
                tiles += [(slide_id, x, y) for x, y in group["coords"][:].tolist()]
    truth = pd.read_parquet(demo.folder / "truth/tiles.parquet").set_index(["slide_id", "x", "y"]).loc[tiles]
    # On slides that the ridge has not seen.
    ridge, slides = make_pipeline(StandardScaler(), Ridge(1e4)), truth.index.get_level_values(0)
    read = cross_val_predict(ridge, np.concatenate(features), truth[planted], groups=slides, cv=GroupKFold(6))
    assert np.corrcoef(read, truth[planted])[0, 1] > 0.7


def test_what_was_planted_can_be_read_off_the_genes(demo):
    samples = demo.tsv("results/samples.tsv").set_index("sample_id")
    expression = pd.read_parquet(demo.folder / "results/genes/fold0/expression.parquet")
    expression = expression[samples.loc[expression.index, "cohort"] == "demo-gdc"]
    selected = demo.tsv("results/genes/fold0/selected.tsv")
    planted = demo.tsv("truth/cases.tsv").set_index("case_id").loc[samples.loc[expression.index, "case_id"]]
    mean = expression[selected.loc[selected["niche"] == "tme", "symbol"]].mean(axis=1)
    assert np.corrcoef(mean, planted["gene_tme"])[0, 1] > 0.8
    # Of what the slides show they know what the two views share.
    assert abs(np.corrcoef(mean, planted["slide_tme"])[0, 1]) < 0.6


def test_the_report_is_one_page_that_names_the_demo(demo):
    text = (demo.folder / "results/report.html").read_text()
    assert "synthetic" in text
    assert 'src="http' not in text and "<script src" not in text


def test_the_truth_is_read_by_no_stage_but_those_that_score_by_it(demo):
    sources = [demo.folder / "Snakefile", *(demo.folder / "workflow").rglob("*"), *(demo.folder / "src").rglob("*.py")]
    naming = [path for path in sources if path.is_file() and re.search(r"truth/\w+\.", path.read_text())]
    assert sorted(path.name for path in naming) == ["attributions.smk", "demo.smk", "localisation.smk"]
    # It stands among the outputs of the two rules that draw, four files, and among the inputs of where models look and
    # of the genes they rest on, which nothing but the report reads.
    text = "".join(path.read_text() for path in sorted(naming))
    blocks = re.split(r"^ *rule ", text, flags=re.MULTILINE)[1:]
    sections = [(block.split(":")[0], *re.split(r"^    (\w+):\n", block, flags=re.MULTILINE)[1:]) for block in blocks]
    named = [
        (rule, section)
        for rule, *parts in sections
        for section, text in zip(parts[::2], parts[1::2], strict=True)
        for _ in re.findall(r'"truth/\w+\.\w+"', text)
    ]
    drawn = [("draw_demo_slides", "output")] * 2 + [("draw_demo_expression", "output")] * 2
    scored = [("locate_attention", "input"), ("make_localisation", "input")]
    assert named == [("attribute_genes", "input"), *drawn, *scored]
    assert text.count("truth/") == 8  # once in a comment


def test_what_is_known_of_where_models_look(demo):
    """A random number finds nothing, and the ridge that is taught what patches show finds all that was drawn."""
    table = demo.tsv("results/localisation.tsv")
    beside = table[table["method"].isin(["chance", "oracle"])].set_index(["method", "over", "target"]).sort_index()
    assert set(beside.index.get_level_values("target")) == {"tumour", "immune", "vessels", "tme"}
    chance = beside.loc["chance"]
    known = chance.dropna(subset=["ci_low"])
    assert len(known) >= 4 and ((known["ci_low"] < 50) & (known["ci_high"] > 50)).all(), known
    assert chance["auc"].between(42, 58).all(), chance
    assert (beside.loc[("oracle", "pooled"), "auc"] > 80).all(), beside
    # Every method that reads patches stands there, with attention and attribution, KS-Fusion's by stream.
    methods = table[~table["method"].isin(["chance", "oracle"])]
    assert set(methods["method"]) == {*NETWORKS, "ksfusion-no-gecon", "ksfusion-no-cgcoord"} - {"snn"}
    own = methods[(methods["method"] == "ksfusion") & (methods["measure"] == "attention")]
    assert set(own["stream"]) == {"tumour", "tme"}
    page = (demo.folder / "results/report.html").read_text()
    assert "Does it find what was planted?" in page and "Chance: a random number" in page


def test_genes_that_explain_are_told_of_every_task(demo):
    selected = demo.tsv("results/genes/fold0/selected.tsv")
    classes = {"diagnosis": 4, "grading": 3, "survival": 1}
    for task, n_classes in classes.items():
        table = demo.tsv(f"results/attributions/{task}/ksfusion/fold0.tsv")
        assert list(table) == ["gene", "niche", "category", "class", "mean", "sd", "rank", "direction"]
        assert table["class"].nunique() == n_classes
        for _, rows in table.groupby("class"):
            assert sorted(rows["gene"]) == sorted(selected["symbol"])
            assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
            assert rows["mean"].is_monotonic_decreasing and rows["mean"].iloc[0] > 0
        checks = demo.tsv(f"results/attributions/{task}/ksfusion/fold0.stability.tsv")
        # One seed: nothing to agree; a tenth of the genes are found by chance.
        assert set(checks["measure"]) == {"planted"} and np.allclose(checks["by_chance"], 10, atol=0.5)
    page = (demo.folder / "results/report.html").read_text()
    assert 'id="attributions"' in page and "Test samples as KS-Fusion sees them" in page
    assert page.count("Patches with most and least attention") == 6


def test_every_tile_has_its_truth(demo):
    truth = pd.read_parquet(demo.folder / "truth/tiles.parquet").set_index(["slide_id", "x", "y"])
    slides = demo.tsv("truth/slides.tsv").set_index("slide_id")
    tiles = pd.concat([pd.read_parquet(path) for path in (demo.folder / "results/tiles").glob("*.parquet")])
    tiles = tiles[tiles["status"] == "ok"]
    patches = pd.concat([pd.read_parquet(path) for path in (demo.folder / "results/patches").glob("*.parquet")])
    for rows in (tiles, patches[patches["reason"] == ""]):
        assert pd.MultiIndex.from_frame(rows[["slide_id", "x", "y"]]).isin(truth.index).all()
    # What is found to be tissue is where tissue was drawn.
    found = tiles.set_index(["slide_id", "x", "y"])["tissue"]
    assert np.corrcoef(found, truth.loc[found.index, "tissue"])[0, 1] > 0.8
    assert set(truth.index.get_level_values("slide_id")) == set(slides.index)
    counted = truth.groupby("slide_id")["tumour"].sum()
    assert np.corrcoef(counted, slides.loc[counted.index, "n_tumour_nuclei"])[0, 1] > 0.99


def test_the_oracles_are_scored_as_the_methods_and_shown_beneath_table_1(demo):
    oracles, methods = (demo.tsv(f"results/tables/{name}.tsv") for name in ("oracles", "table1"))
    assert oracles.columns.tolist() == methods.columns.tolist()
    assert oracles["method"].unique().tolist() == ["oracle-slides", "oracle-genes", "oracle-both"]
    identity = ["task", "metric", "level", "cohort", "fold"]
    scored = methods.groupby(identity)["n"].max()
    for _, rows in oracles.groupby("method"):
        assert rows.set_index(identity)["n"].sort_index().equals(scored.sort_index())
    page = (demo.folder / "results/report.html").read_text()
    table1 = page[page.index('id="table1"') : page.index('id="table2"')]
    assert "What slides, genes and both could tell" in table1 and table1.count("Oracle: ") == 3


def test_committed_tables_are_those_of_the_model(tmp_path):
    from project import ROOT

    from ksfusion.stages.write_demo_tables import write_demo_tables

    write_demo_tables(tmp_path)
    for name in ("samples.tsv", "cases.tsv"):
        assert (tmp_path / name).read_bytes() == (ROOT / "resources/demo" / name).read_bytes()


def test_the_split_of_the_demo_has_thirty_test_cases_and_four_of_every_class(tmp_path, monkeypatch):
    import yaml
    from project import ROOT

    from ksfusion.cohort.config import CheckCohortSettings, SplitCasesSettings
    from ksfusion.demo.cohort import draw_cases
    from ksfusion.plan import make_plan
    from ksfusion.stages.check_cohort import check_cohort
    from ksfusion.stages.split_cases import split_cases

    monkeypatch.chdir(ROOT)
    plan = make_plan(yaml.safe_load((ROOT / "config.yaml").read_text()), source="config.yaml")
    files = [tmp_path / name for name in ("samples.parquet", "cases.parquet")]
    of_check = CheckCohortSettings.model_validate_json(plan.settings("check_cohort"))
    check_cohort(*files, tmp_path / "audit.tsv", settings=of_check)
    of_split = SplitCasesSettings.model_validate_json(plan.settings("split_cases"))
    split_cases(*files, tmp_path / "splits.tsv", settings=of_split)
    samples = pd.read_parquet(files[0])
    complete = samples.loc[(samples["slide"] != "") & (samples["expression_id"] != ""), "case_id"]
    side = pd.read_csv(tmp_path / "splits.tsv", sep="\t").set_index("case_id")["split"]
    cases = draw_cases().set_index("case_id").loc[sorted(set(complete))]
    test = cases[side[cases.index] == "test"]
    assert len(test) >= 30
    assert test["diagnosis"].value_counts().reindex(cases["diagnosis"].unique()).min() >= 4
    assert test["grade"].value_counts().reindex(["G2", "G3", "G4"]).min() >= 4
