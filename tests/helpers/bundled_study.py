"""A folder of results as a small study leaves it, for bundles: trained models, and what the stages before wrote."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from training_cohort import DIAGNOSIS, NICHES, Cohort

from ksfusion.cohort.config import CheckCohortSettings, CohortFiles, Labelling
from ksfusion.core.features_file import FeaturesWriter
from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.genes.config import ExpressionSource, Genes, ReadExpressionSettings
from ksfusion.genes.scaling import fit_scaling
from ksfusion.slides.config import (
    Encoding,
    ExtractFeaturesSettings,
    Patches,
    Reading,
    SamplePatchesSettings,
    Stain,
    TileSlidesSettings,
    Tiling,
)
from ksfusion.stages.bundle import bundle
from ksfusion.terms.gene_sets import NEWEST
from ksfusion.training.data import FoldFiles

MODULE = "ksfusion.stages.bundle"


def write_study(
    cohort: Cohort, results: Path, *, seeds=(0,), method="ksfusion", task=DIAGNOSIS, fold=0, **settings
) -> Path:
    """Write the results of a study that trained one method on a fold of a cohort; return their folder."""
    results.mkdir(parents=True, exist_ok=True)
    if not (results / "samples.tsv").exists():
        _write_inputs(cohort, results)
    if not (genes := results / f"genes/fold{fold}").exists():
        shutil.copytree(results / "genes/fold0", genes)
    folders = {seed: results / f"models/{task.name}/{method}/fold{fold}/seed{seed}" for seed in seeds}
    cohort.train_seeds(folders, task=task, method=method, fold=fold, **settings)
    return results


def files_of(results: Path) -> FoldFiles:
    genes = results / "genes/fold0"
    return FoldFiles(
        results / "features/store",
        genes / "expression.parquet",
        genes / "selected.tsv",
        results / "samples.tsv",
        results / "cohort/cases.parquet",
        results / "cohort/splits.tsv",
    )


def make_bundle(results: Path, output: Path, *, task="diagnosis", method="ksfusion") -> Path:
    bundle(task, method, output, results=results)
    return output


def _write_inputs(cohort: Cohort, results: Path) -> None:
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str)
    expression = read_parquet(cohort.folder / "expression.parquet")
    write_tsv(samples.assign(expression_id=samples["sample_id"]), results / "samples.tsv", provenance(MODULE))
    (results / "cohort").mkdir()
    shutil.copyfile(cohort.folder / "splits.tsv", results / "cohort/splits.tsv")
    labels = {
        "diagnosis": Labelling(kind="classification", column="how_bad", classes=DIAGNOSIS.classes),
        "survival": Labelling(kind="survival", time="days", event="died"),
    }
    checked = CheckCohortSettings(cohort=CohortFiles(samples="s", cases="c"), expression_cohorts=["A"], tasks=labels)
    cases = read_parquet(cohort.folder / "cases.parquet")
    write_parquet(cases, results / "cohort/cases.parquet", provenance(MODULE, checked.record()))
    shutil.copytree(cohort.folder / "store", results / "features/store")
    made = ExtractFeaturesSettings(slides=Reading(), stain=Stain(), features=Encoding(encoder="seeded-conv"))
    with FeaturesWriter(results / "features/0.h5", provenance(MODULE, made.record())):
        pass
    _write_slides(samples, results)
    genes, symbols = results / "genes/fold0", [symbol for niche in NICHES.values() for symbol in niche]
    made_by = provenance(MODULE, {**Genes().of_version(NEWEST).record(), "fold": 0})
    write_parquet(expression, genes / "expression.parquet", made_by)
    write_tsv(read_tsv(cohort.folder / "selected.tsv"), genes / "selected.tsv", made_by)
    # As expression is drawn, on one scale: values stay as they are.
    scaling = fit_scaling(expression[symbols], pd.Series("A", expression.index), harmonise="none")
    write_tsv(scaling.table(), genes / "scaling.tsv", made_by)
    source = ExpressionSource(cohort="A", format="matrix", unit="log", path="secret/expression.csv")
    read = ReadExpressionSettings(sources=[source], names=NEWEST)
    profiles = expression.reset_index(drop=True).assign(cohort="A", expression_id=expression.index)
    write_parquet(profiles, results / "genes/profiles.parquet", provenance(MODULE, read.record()))


def _write_slides(samples: pd.DataFrame, results: Path) -> None:
    random, n = np.random.default_rng(1), len(samples)
    ids = pd.DataFrame({"slide_id": samples["slide_id"], "status": "ok", "reason": ""})
    known = {"mpp": random.choice([0.25, 0.5], n), "mpp_source": "header"}
    amounts = {"tissue_mm2": random.uniform(20, 60, n), "unique_patches": random.integers(400, 900, n)}
    slides = ids.assign(**known, **amounts)
    write_tsv(slides, results / "slides.tsv", provenance(MODULE))
    tiling = TileSlidesSettings(slides=Tiling(batches=1)).record()
    tiles = ids.assign(digest=[f"digest of {name}" for name in ids["slide_id"]])
    write_parquet(tiles, results / "tiles/0.parquet", provenance(MODULE, {"batch": 0, **tiling}))
    sampling = SamplePatchesSettings(patches=Patches(count=36), exclude=["pen"])
    write_parquet(ids.assign(position=0), results / "patches/0.parquet", provenance(MODULE, sampling.record()))
    stains = np.array([0.49, 0.77, 0.40, 0.27, 0.86, 0.43, 2.0, 1.0]) + random.normal(0, 0.01, (n, 8))
    names = ["h_r", "h_g", "h_b", "e_r", "e_g", "e_b", "h_c99", "e_c99"]
    colours = dict.fromkeys(["mean_l", "mean_a", "mean_b", "std_l", "std_a", "std_b"], np.nan)
    table = ids.join(pd.DataFrame(stains, columns=names)).assign(**colours, n_pixels=1000)
    write_parquet(table, results / "stain/0.parquet", provenance(MODULE))
