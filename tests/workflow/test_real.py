"""The same Snakefile on real slides and on real TCGA cases."""

import csv
import io
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from project import Project, copy_project

from ksfusion.core.ids import batch_of

# OncoTree codes that fix the grade; the others stand for grades 2 and 3 alike.
GRADE_OF_CODE = {"GBM": "G4", "AASTR": "G3", "AOAST": "G3"}
CROP = 256


def write_config(folder, *, expression, tasks, **slides):
    config = {
        "cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [expression]},
        "slides": {"batches": 2, **slides},
        "patches": {"count": 36},
        "features": {"encoder": "seeded-conv", "batch_size": 32},
        "splits": {"fractions": [0.5, 0.2, 0.3], "seed": 5},
        "tasks": tasks,
        "methods": ["attmil", "snn", "ksfusion"],
        "training": {"seeds": [0], "epochs": {"diagnosis": 2, "grading": 2, "survival": 4}},
    }
    (folder / "real.yaml").write_text(yaml.safe_dump(config))
    return Project(folder, "real.yaml")


@pytest.fixture(scope="module")
def regions(real_data):
    return {
        "glioblastoma": real_data / "slides/TCGA-06-0174_gbm_roi_0.5mpp.png",
        "lower_grade": real_data / "slides/TCGA-HT-7470_lgg_roi_0.5mpp.png",
    }


def test_real_slides_tile_normalise_and_embed(tmp_path, real_data, regions):
    folder = copy_project(tmp_path / "project")
    slides = {"cmu": (real_data / "slides/cmu-1-small-region.svs", "")}
    slides |= {name: (path, "0.5") for name, path in regions.items()}
    rows = [f"{name}\tcase-{name}\tC\t{path}\tP-{name}\t{name}\t{mpp}" for name, (path, mpp) in slides.items()]
    (folder / "samples.tsv").write_text(
        "\n".join(["sample_id\tcase_id\tcohort\tslide\texpression_id\tslide_id\tmpp", *rows]) + "\n"
    )
    (folder / "cases.tsv").write_text("case_id\tidh\n" + "".join(f"case-{name}\tWT\n" for name in slides))
    (folder / "expression.tsv").write_text("symbol\tP-cmu\nEGFR\t1.0\n")
    expression = {"cohort": "C", "format": "matrix", "unit": "log", "path": "expression.tsv"}
    project = write_config(folder, expression=expression, tasks=["diagnosis"], min_tiles=5)
    existing = sorted({batch_of(slide_id, 2) for slide_id in slides})
    project.snakemake(*[f"results/features/{batch}.h5" for batch in existing])

    tiles = pd.concat(pd.read_parquet(folder / f"results/tiles/{batch}.parquet") for batch in existing)
    first = tiles.drop_duplicates("slide_id").set_index("slide_id")
    assert set(first["status"]) == {"ok"}
    # The SVS states 0.499 um/px itself; the regions carry no scale, so it comes from the table.
    assert first.loc["cmu", "mpp"] == pytest.approx(0.499, abs=1e-3)
    assert first.loc["cmu", "mpp_source"] == "header"
    assert set(first.loc[list(regions), "mpp_source"]) == {"manifest"}
    # Brain all over: 1024 // 224 = 4 tiles a side, nearly all of them tissue.
    assert tiles["slide_id"].value_counts()[list(regions)].between(14, 16).all()

    stain = pd.concat(pd.read_parquet(folder / f"results/stain/{batch}.parquet") for batch in existing)
    stain = stain.set_index("slide_id")
    assert set(stain["status"]) == {"ok"}
    # Haematoxylin absorbs red more than eosin does, in any H&E stain.
    assert (stain["h_r"] > stain["e_r"]).all()
    for batch in existing:
        with h5py.File(folder / f"results/features/{batch}.h5") as file:
            for group in file.values():
                features = group["features"][:].astype(float)
                assert np.isfinite(features).all() and features.std(axis=0).max() > 0


@pytest.fixture(scope="module")
def tcga(tmp_path_factory, real_data, regions):
    """Return a finished run on 32 real TCGA cases, each with a crop of the real region of its kind as its slide."""
    folder = copy_project(tmp_path_factory.mktemp("tcga") / "project")
    with zipfile.ZipFile(real_data / "omics/tcga_gbmlgg_all_clean.csv.zip") as archive:
        table = pd.read_csv(io.BytesIO(archive.read(archive.namelist()[0])))
    table = table.drop_duplicates("case_id").sort_values("case_id")
    kinds = {"glioblastoma": table["oncotree_code"] == "GBM", "lower_grade": table["oncotree_code"] != "GBM"}
    (folder / "slides").mkdir()
    samples, cases, profiles = [], [], []
    for kind, chosen in kinds.items():
        image = Image.open(regions[kind]).convert("RGB")
        corners = [(x, y) for y in range(0, 1024, CROP) for x in range(0, 1024, CROP)]
        for (x, y), row in zip(corners, table[chosen].head(16).itertuples(), strict=True):
            image.crop((x, y, x + CROP, y + CROP)).save(folder / f"slides/{row.case_id}.png")
            samples.append([row.case_id, row.case_id, "TCGA", f"slides/{row.case_id}.png", row.case_id, "0.5"])
            idh = "Mutant" if row.IDH1_mut == 1 else "WT"
            grade = GRADE_OF_CODE.get(row.oncotree_code, "")
            days = round(row.survival_months * 30.4375)
            cases.append(
                [row.case_id, idh, grade, days if days > 0 else "", int(1 - row.censorship) if days > 0 else ""]
            )
            profiles.append(row.case_id)
    with (folder / "samples.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["sample_id", "case_id", "cohort", "slide", "expression_id", "mpp"])
        writer.writerows(samples)
    with (folder / "cases.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["case_id", "idh", "grade", "survival_days", "event"])
        writer.writerows(cases)
    genes = [column for column in table if column.endswith("_rnaseq")]
    table.set_index("case_id").loc[profiles, genes].to_csv(folder / "expression.csv")
    expression = {"cohort": "TCGA", "format": "matrix", "unit": "zscore", "path": "expression.csv", "suffix": "_rnaseq"}
    project = write_config(folder, expression=expression, tasks=["diagnosis", "grading", "survival"], min_tiles=1)
    project.snakemake()
    return project


def test_real_cases_go_through_to_tables(tcga):
    ledger = tcga.tsv("results/samples.tsv")
    assert len(ledger) == 32
    assert (ledger["status"] == "ok").sum() >= 24
    table = tcga.tsv("results/tables/table1.tsv")
    rows = table[(table["level"] == "sample") & (table["cohort"] == "all") & (table["fold"] == "all")]
    survival = rows[(rows["task"] == "survival") & (rows["metric"] == "c_index")]
    assert set(survival["method"]) == {"attmil", "snn", "ksfusion"}
    assert survival["mean"].between(0, 100).all()


def test_a_task_with_one_class_is_rows_with_a_reason(tcga):
    # Without 1p/19q status only the IDH wildtype cases have a diagnosis.
    cases = pd.read_parquet(tcga.folder / "results/cohort/cases.parquet")
    assert set(cases["label_diagnosis"].dropna()) == {0}
    table = tcga.tsv("results/tables/table1.tsv")
    diagnosis = table[table["task"] == "diagnosis"]
    assert len(diagnosis) and diagnosis["mean"].isna().all() and diagnosis["reason"].notna().all()


def test_genes_are_real_and_chosen_on_training_cases(tcga):
    selected = tcga.tsv("results/genes/fold0/selected.tsv")
    assert set(selected["niche"]) == {"tumour", "tme"}
    # 30 % of the 1,544 genes at the most.
    assert len(selected) <= 463 and selected["rank"].max() <= 463
