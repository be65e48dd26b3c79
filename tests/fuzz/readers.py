"""All that reads a file from outside, or from an earlier stage: a small valid input of each, and the call."""

from __future__ import annotations

import contextlib
import csv
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.slides.reading.errors import SlideError

ROOT = Path(__file__).resolve().parents[2]
# What a reader may answer to a file that is of no use.
REFUSALS = (UserError, SlideError)
SECONDS_A_SLIDE = 20


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes
    ----------
    write
        Writes a valid input into a folder.
    read
        Reads it from there.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]


def tables(folder: Path) -> None:
    """Write the two tables of a user."""
    shutil.copy(ROOT / "resources/demo/cases.tsv", folder / "cases.tsv")
    lines = (ROOT / "resources/demo/samples.tsv").read_text().splitlines(keepends=True)
    (folder / "samples.tsv").write_text("".join(lines[:12]))


def read_tables(folder: Path) -> None:
    from ksfusion.cohort.config import CohortFiles
    from ksfusion.cohort.samples import read_cohort
    from ksfusion.results.tasks import BUILTIN_TASKS

    files = CohortFiles(samples=str(folder / "samples.tsv"), cases=str(folder / "cases.tsv"))
    with (ROOT / "resources/demo/samples.tsv").open() as file:
        cohorts = {row["cohort"] for row in csv.DictReader(file, delimiter="\t")}
    read_cohort(files, BUILTIN_TASKS, cohorts)


def configuration(folder: Path) -> None:
    shutil.copy(ROOT / "config.yaml", folder / "config.yaml")
    (folder / "mine.yaml").write_text("base: &b {a: 1}\ncohort:\n  <<: *b\n  samples: s.tsv\n  cases: c.tsv\n")


def read_configuration(folder: Path) -> None:
    from ksfusion.preflight.parsing import load_config

    for path in sorted(folder.glob("*.yaml")):
        try:
            load_config(path)
        except UserError:
            continue


def split_file(folder: Path) -> None:
    rows = [f"0\tcase{number}\t{('train', 'val', 'test')[number % 3]}" for number in range(9)]
    (folder / "split.tsv").write_text("\n".join(["fold\tcase_id\tsplit", *rows]) + "\n")
    (folder / "clam").mkdir()
    rows = [f"{row},case{3 * row},case{3 * row + 1},case{3 * row + 2}" for row in range(3)]
    (folder / "clam/splits_0.csv").write_text("\n".join([",train,val,test", *rows]) + "\n")


def read_split(folder: Path) -> None:
    from ksfusion.cohort.split_files import read_split_file

    cases = [f"case{number}" for number in range(9)]
    for path in (folder / "split.tsv", folder / "clam"):
        try:
            read_split_file(path, cases, {case: case for case in cases})
        except UserError:
            continue


def gene_sets(folder: Path) -> None:
    (folder / "mine.tsv").write_text("symbol\tcategory\tniche\tsource\nEGFR\tgrowth\ttumour\tme\nCD3E\tTCR\ttme\tme\n")
    (folder / "mine.gmt").write_text("GROWTH\tmine\tEGFR\tMET\nTCR\tmine\tCD3E\n")
    (folder / "GeneList.txt").write_text("Symbol\tName\tID\tCategory\nCD3E\tCD3\t1\tTCRsignalingPathway\n")


def read_gene_sets(folder: Path) -> None:
    from ksfusion.genes.sets.set_files import read_gene_set

    for path, niche in ((folder / "mine.tsv", None), (folder / "mine.gmt", "tme"), (folder / "GeneList.txt", "tme")):
        try:
            read_gene_set(path, niche)
        except UserError:
            continue


def expression_reader(format: str, unit: str, write: Callable[[Path], object], name: str = "") -> Reader:
    def read(folder: Path) -> None:
        from ksfusion.genes.config import ExpressionSource
        from ksfusion.genes.expression.profiles import join_cohorts

        join_cohorts([ExpressionSource(cohort="A", format=format, unit=unit, path=str(folder / name))])

    return Reader(write, read)


def profiles() -> pd.DataFrame:
    from ksfusion.genes import gene_sets

    symbols = sorted(gene_sets()["symbol"].unique())[:40]
    values = np.random.default_rng(0).gamma(2, 2, (40, 4)).round(3)
    return pd.DataFrame({"symbol": symbols, **{f"P{number + 1}": values[:, number] for number in range(4)}})


def matrix(name: str) -> Reader:
    def write(folder: Path) -> None:
        from layouts import save

        save(profiles(), folder / name)

    return expression_reader("matrix", "log", write, name)


def gdc(folder: Path) -> None:
    from layouts import ENDING, write_gdc

    for number in range(2):
        write_gdc(folder / f"P{number}" / f"x{ENDING}")


def ivygap(folder: Path) -> None:
    from layouts import write_ivygap

    write_ivygap(folder, genes=[(10, "EGFR"), (11, "CD3E")], table=["gene_id\\rna_well_id,1,2", "10,1,3", "11,0,2"])


def h5ad(folder: Path) -> None:
    import anndata
    from scipy import sparse

    table = profiles()
    data = anndata.AnnData(sparse.csr_matrix(table.drop(columns="symbol").T.to_numpy(np.float32)))
    data.obs_names, data.var_names = ["P1", "P2", "P3", "P4"], table["symbol"].tolist()
    data.write_h5ad(folder / "x.h5ad")


def slide(name: str) -> Reader:
    def write(folder: Path) -> None:
        from PIL import Image
        from slide_files import write_slide
        from stained_slides import PLANTED, stained

        rgb = stained(PLANTED, side=512)
        if name.endswith(".tif"):
            write_slide(folder / name, rgb, 0.5)
        else:
            Image.fromarray(rgb).save(folder / name)

    return Reader(write, lambda folder: tile(folder / name))


def tile(path: Path, mask: Path | None = None) -> None:
    """Tile a slide as the stage does: in a process of its own, which stays for the next."""
    from ksfusion.slides.config import Tiling
    from ksfusion.slides.reading.slide_files import SlideSource

    call = isolated("ksfusion.slides.tiles.grid", "tile_slide")
    call(SlideSource(str(path), 0.5), mask, Tiling(batches=1, min_tiles=1))


_isolated: dict[str, Callable] = {}


def isolated(module: str, name: str) -> Callable:
    """Return a function that runs in a worker process."""
    from importlib import import_module

    from ksfusion.slides.reading.workers import IsolatedCalls

    if name not in _isolated:
        _isolated[name] = IsolatedCalls(getattr(import_module(module), name), SECONDS_A_SLIDE).__enter__()
    return _isolated[name]


def mask(name: str) -> Reader:
    def write(folder: Path) -> None:
        from PIL import Image

        rectangle = [[[50, 50], [400, 50], [400, 400], [50, 400], [50, 50]]]
        features = [
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": rectangle}, "properties": {"a": 1}},
            {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [rectangle]}, "properties": {}},
        ]
        if name.endswith(".geojson"):
            (folder / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        else:
            Image.fromarray(np.full((64, 64), 255, np.uint8)).save(folder / name)

    def read(folder: Path) -> None:
        from PIL import Image
        from stained_slides import PLANTED, stained

        glass = folder.parent / "glass.png"
        if not glass.exists():
            Image.fromarray(stained(PLANTED, side=512)).save(glass)
        tile(glass, folder / name)

    return Reader(write, read)


def precomputed(folder: Path) -> None:
    import h5py

    coords = np.stack(np.meshgrid(np.arange(4), np.arange(3)), axis=-1).reshape(-1, 2) * 512
    with h5py.File(folder / "a.h5", "w") as file:
        features = np.random.default_rng(0).random((1, 12, 8), np.float32)
        file.create_dataset("features", data=features, chunks=True, compression="gzip")
        file["coords"] = coords
        file["coords"].attrs.update(patch_size_level0=512, level0_width=4096, level0_height=2048)


def read_precomputed(folder: Path) -> None:
    isolated("ksfusion.slides.features.precomputed", "read_tiles")(folder / "a.h5", 1)
    isolated("ksfusion.slides.features.precomputed", "read_features")(folder / "a.h5", np.arange(12))


def target(folder: Path) -> None:
    shutil.copy(ROOT / "resources/stain_target.json", folder / "target.json")


def read_target(folder: Path) -> None:
    from ksfusion.slides.stain.target import load_target

    load_target(str(folder / "target.json"), "vahadane")
    load_target(str(folder / "target.json"), "reinhard")


def weights(name: str) -> Reader:
    def write(folder: Path) -> None:
        import torch
        from safetensors.torch import save_file

        tensors = {"conv.weight": torch.ones(2, 3), "conv.bias": torch.zeros(2)}
        if name.endswith(".pth"):
            torch.save({"state_dict": tensors}, folder / name)
        else:
            save_file(tensors, folder / name)

    def read(folder: Path) -> None:
        from ksfusion.slides.encoders.weights import read_weights

        read_weights(folder / name)

    return Reader(write, read)


def downloads(folder: Path) -> None:
    from drawn_downloads import draw_ivygap, draw_tcga

    draw_tcga(folder / "tcga")
    draw_ivygap(folder / "ivygap")


def read_downloads(folder: Path) -> None:
    from ksfusion.cohort.glioma.build import collect_glioma_cohort

    places = {"tcga": folder / "tcga", "ivygap": folder / "ivygap"}
    collect_glioma_cohort(**places, known_cases=None, ivygap_mpp=1.0, pairs="closest")


def stage_files(folder: Path) -> None:
    """Write what stages hand to each other."""
    from ksfusion.core.features_file import FeaturesWriter
    from ksfusion.core.parquet import write_parquet
    from ksfusion.core.storage import write_json, write_text, write_tsv
    from ksfusion.core.study import Study
    from ksfusion.terms.split_table import write_splits

    made_by = {"ksfusion": "0", "code": "0", "settings": {}}
    table = pd.DataFrame({"symbol": ["A", "B"], "value": [0.5, 1.5]})
    write_parquet(table, folder / "a.parquet", made_by)
    write_tsv(table, folder / "a.tsv", made_by)
    write_json({"a": 1, "provenance": made_by}, folder / "a.json")
    write_text("[1, 2]\n", folder / "list.json", made_by)
    splits = pd.DataFrame({"fold": 0, "case_id": ["a", "b", "c"], "split": ["train", "val", "test"]})
    write_splits(splits, folder / "splits.tsv", made_by)
    with FeaturesWriter(folder / "0.h5", made_by) as file:
        file.write("a", {"status": "ok", "reason": ""}, {"features": np.ones((2, 4), np.float16)})
    (folder / "results").mkdir()
    Study("mine", frozenset(["a", "b"]), ("s.tsv",), 2).write(folder / "results")


def read_stage_files(folder: Path) -> None:
    from ksfusion.core.features_file import open_features
    from ksfusion.core.parquet import read_parquet, read_wide_parquet
    from ksfusion.core.storage import read_json, read_provenance, read_tsv
    from ksfusion.core.study import read_study
    from ksfusion.terms.split_table import splits_of_fold

    def features() -> None:
        with open_features(folder / "0.h5") as slides:
            for group in slides.values():
                for name in group:
                    group.read(name)

    for read in (
        lambda: read_parquet(folder / "a.parquet"),
        lambda: read_wide_parquet(folder / "a.parquet", ["symbol"]),
        lambda: read_provenance(folder / "a.parquet"),
        lambda: read_tsv(folder / "a.tsv"),
        lambda: read_provenance(folder / "a.tsv"),
        lambda: read_json(folder / "a.json"),
        lambda: read_json(folder / "list.json"),
        lambda: splits_of_fold(folder / "splits.tsv", 0, ["a"]),
        lambda: read_study(folder / "results"),
        features,
    ):
        try:
            read()
        except UserError:
            continue


def trained(folder: Path) -> None:
    """Write a store and a trained model."""
    import torch
    from stores import gather_store

    from ksfusion.core.features_file import FeaturesWriter
    from ksfusion.methods import build
    from ksfusion.training.checkpoint import write_run

    with FeaturesWriter(folder / "0.h5", {"settings": {}}) as file:
        arrays = {"features": np.ones((2, 4), np.float16), "index": np.array([0, 1, 0, 1], np.int32)}
        file.write("a", {"status": "ok", "reason": ""}, arrays)
    gather_store([folder / "0.h5"], folder / "store")
    torch.manual_seed(0)
    shape = {"n_features": 4, "n_patches": 4, "niches": {"tumour": ["A"], "tme": ["B"]}, "n_outputs": 2, "groups": {}}
    model, empty = build("attmil", **shape, dropout=0.1), pd.DataFrame()
    config = {"method": "attmil", **shape, "options": {"dropout": 0.1}, "provenance": {}}
    parts = {"predictions": empty, "history": pd.DataFrame({"epoch": [1]}), "metrics": {}}
    write_run(folder / "run", weights=model.state_dict(), config=config, **parts)
    (folder / "0.h5").unlink()


def read_trained(folder: Path) -> None:
    from ksfusion.core.feature_store import open_store
    from ksfusion.training.checkpoint import load_model

    with contextlib.suppress(UserError):
        open_store(folder / "store").check([0])
    load_model(folder / "run")


READERS = {
    "configuration": Reader(configuration, read_configuration),
    "tables": Reader(tables, read_tables),
    "splits": Reader(split_file, read_split),
    "gene-sets": Reader(gene_sets, read_gene_sets),
    "matrix-csv": matrix("x.csv"),
    "matrix-tsv": matrix("x.tsv"),
    "matrix-gz": matrix("x.csv.gz"),
    "matrix-zip": matrix("x.csv.zip"),
    "matrix-parquet": matrix("x.parquet"),
    "gdc-star": expression_reader("gdc-star", "tpm", gdc),
    "ivygap": expression_reader("ivygap", "fpkm", ivygap),
    "h5ad": expression_reader("h5ad", "log", h5ad, "x.h5ad"),
    "glioma-downloads": Reader(downloads, read_downloads),
    "slide-tif": slide("a.tif"),
    "slide-png": slide("a.png"),
    "slide-jpg": slide("a.jpg"),
    "mask-geojson": mask("a.geojson"),
    "mask-png": mask("a.png"),
    "precomputed": Reader(precomputed, read_precomputed),
    "stain-target": Reader(target, read_target),
    "weights-safetensors": weights("w.safetensors"),
    "weights-pth": weights("w.pth"),
    "stage-files": Reader(stage_files, read_stage_files),
    "trained": Reader(trained, read_trained),
}


def stop_workers() -> None:
    """End the processes in which slides are read."""
    for calls in _isolated.values():
        calls.__exit__(None, None, None)
    _isolated.clear()


def pick(folder: Path, draw: random.Random) -> Path:
    """Return one of the files of an input."""
    return draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
