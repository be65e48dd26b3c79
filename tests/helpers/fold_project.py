"""A project of several folds."""

import json

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from project import Project, copy_project

from ksfusion.genes import gene_sets

CASES = [f"case-{number:02d}" for number in range(24)]


CLASSES = ["unmethylated", "methylated"]


def draw_slide(path, seed, compress_level=6):
    """Draw tissue in darker and lighter squares, another pattern for each slide.

    Not compressed (0), a file has one size with every version of the library that compresses.
    """
    random = np.random.default_rng(seed)
    tone = np.kron(random.uniform(0.7, 1.2, (10, 10)), np.ones((30, 30)))[..., None]
    rgb = np.array([150, 70, 145]) * tone + random.normal(0, 8, (300, 300, 3))
    Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path, compress_level=compress_level)


def write_tables(folder, cases):
    rows = [f"{case}\t{case}\tX\tslides/{case}.png\t{case}\t0.5" for case in cases]
    (folder / "samples.tsv").write_text(
        "\n".join(["sample_id\tcase_id\tcohort\tslide\texpression_id\tmpp", *rows]) + "\n"
    )
    rows = [f"{case}\t{CLASSES[int(case[-2:]) % 2]}" for case in cases]
    (folder / "cases.tsv").write_text("\n".join(["case_id\tmgmt", *rows]) + "\n")


def make_project(folder):
    """Write a cohort of 24 small slides, all of one batch, and its configuration, into a copy of the project."""
    copy_project(folder)
    write_study(folder)
    return Project(folder, "folds.yaml")


def draw_slides(folder, cases, **options):
    (folder / "slides").mkdir()
    for number, case in enumerate(cases):
        draw_slide(folder / f"slides/{case}.png", number, **options)


def annotate(folder, case, *classes):
    """Mark one tile of 100 px of a slide of 300 for each class, from the left: in regions/{case}.geojson."""
    (folder / "regions").mkdir(exist_ok=True)
    features = []
    for number, name in enumerate(classes):
        left, right = 100 * number, 100 * number + 100
        ring = [[left, 0], [right, 0], [right, 100], [left, 100], [left, 0]]
        properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
        features.append(
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
        )
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / f"regions/{case}.geojson").write_text(text)


def write_study(folder):
    """Write what a user has: slides, tables, and the configuration folds.yaml."""
    draw_slides(folder, CASES)
    write_tables(folder, CASES)
    genes = gene_sets().groupby("niche")["symbol"].head(30).unique()
    # Read counts of genes over three orders of magnitude.
    random = np.random.default_rng(0)
    means = random.lognormal(6, 1.5, (len(genes), 1))
    counts = random.poisson(means * random.lognormal(0, 0.5, (len(genes), len(CASES) + 1)))
    values = pd.DataFrame(counts, index=genes)
    values.set_axis([*CASES, "case-90"], axis=1).to_csv(folder / "expression.tsv", sep="\t", index_label="symbol")
    expression = {"cohort": "X", "format": "matrix", "unit": "counts", "path": "expression.tsv"}
    config = {
        "cohort": {"samples": "samples.tsv", "cases": "cases.tsv", "expression": [expression]},
        "slides": {"batches": 1, "min_tiles": 1},
        "patches": {"count": 16},
        "features": {"encoder": "seeded-conv"},
        "genes": {"top_fraction": 1.0, "rank": "seurat_v3"},
        "splits": {"scheme": "kfold", "k": 3},
        "tasks": {"mgmt": {"kind": "classification", "column": "mgmt", "classes": CLASSES, "epochs": 30}},
        "methods": ["snn"],
        "training": {"seeds": [0, 1]},
    }
    (folder / "folds.yaml").write_text(yaml.safe_dump(config))
