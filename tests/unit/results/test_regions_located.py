"""Annotated regions of the user's own slides: the table of where models look comes out for them too."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from slide_files import plain, write_slide

from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.results.attention.localisation import read_localisation
from ksfusion.results.attention.targets import TargetFiles
from ksfusion.results.report.localisation import localisation_section
from ksfusion.results.stage_settings import LocateAttentionSettings
from ksfusion.slides.config import ReadRegionsSettings
from ksfusion.stages.locate_attention import locate_attention
from ksfusion.stages.make_localisation import make_localisation
from ksfusion.stages.read_regions import read_regions
from ksfusion.training import trained_run
from ksfusion.training.checkpoint import load_model

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

TILE, COLUMNS = 224, 5


@pytest.fixture
def located(drawn, runs, tmp_path, monkeypatch):
    """Annotate every second slide, tile 8 as tumour and tile 1 as immune, and let a model look at tile 8 alone."""
    blocks = read_tsv(drawn.folder / "store" / "slides.tsv", dtype={"slide_id": str})
    index = np.load(drawn.folder / "store" / "index.npy")
    folder = tmp_path / "regions"
    folder.mkdir()
    rows = ["slide_id\tslide\tmpp"]
    with h5py.File(tmp_path / "0.h5", "w") as file:
        for row, (slide_id, n_unique) in enumerate(zip(blocks["slide_id"], blocks["n_unique"], strict=True)):
            group, number = file.create_group(slide_id), np.arange(n_unique)
            group["coords"] = np.stack([number % COLUMNS * TILE, number // COLUMNS * TILE], axis=1)
            group["index"] = index[row]
            group.attrs.update({"status": "ok", "mpp": 0.5})
            rows.append(f"{slide_id}\t{tmp_path / 'slide.tiff'}\t")
            if row % 2:
                features = [square("Tumor", 8), square("Immune", 1)]
                content = json.dumps({"type": "FeatureCollection", "features": features})
                (folder / f"{slide_id}.geojson").write_text(content if row > 1 else "no JSON")
    write_slide(tmp_path / "slide.tiff", plain(TILE * COLUMNS, TILE * 4), 0.5)
    (tmp_path / "manifest.tsv").write_text("\n".join(rows) + "\n")
    read_regions(
        tmp_path / "manifest.tsv",
        tmp_path / "regions.parquet",
        listed=tmp_path / "regions.tsv",
        regions=sorted(folder.iterdir()),
        features=[tmp_path / "0.h5"],
        settings=ReadRegionsSettings(),
    )

    def looks_at_tile_8(folder):
        model, line = load_model(folder), torch.linspace(-1, 1, 6)
        for stream in model.streams.values():
            torch.nn.init.zeros_(stream.attend.to_offset.weight)
            stream.attend.reference[:] = torch.stack([line[2], line[1]])
        return model

    monkeypatch.setattr(trained_run, "load_model", looks_at_tile_8)
    settings = LocateAttentionSettings(resamples=100)
    target_files = TargetFiles([tmp_path / "0.h5"], regions=tmp_path / "regions.parquet")
    asked = {"target_files": target_files, "settings": settings}
    run = runs["diagnosis", "ksfusion"]
    locate_attention(drawn.files, runs=[run], output=tmp_path / "fold0.tsv", **asked)
    make_localisation(
        [tmp_path / "fold0.tsv"],
        store=drawn.files.store,
        samples=drawn.files.samples,
        splits=drawn.files.splits,
        output=tmp_path / "localisation.tsv",
        **asked,
    )
    return tmp_path


def square(name, tile):
    left, top = tile % COLUMNS * TILE, tile // COLUMNS * TILE
    ring = [[left, top], [left + TILE, top], [left + TILE, top + TILE], [left, top + TILE], [left, top]]
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def test_patches_and_files_are_told(located):
    table = read_parquet(located / "regions.parquet")
    assert list(table) == ["slide_id", "x", "y", "Immune", "Tumor"]
    marked = table[table["Tumor"]]
    assert (marked["x"] == 3 * TILE).all() and (marked["y"] == TILE).all()
    assert len(marked) == table["slide_id"].nunique() == table["Immune"].sum()
    listed = read_tsv(located / "regions.tsv", dtype=str).fillna("").set_index("slide_id")
    broken = listed[listed["reason"] != ""]
    assert broken["reason"].tolist() == ["unreadable"] and len(listed) == table["slide_id"].nunique() + 1
    assert set(listed.loc[listed["reason"] == "", "classes"]) == {"Immune, Tumor"}


def test_the_table_is_of_all_streams_and_all_classes(located, drawn):
    table = read_localisation(located / "localisation.tsv")
    attention = table[(table["measure"] == "attention") & (table["over"] == "slide")].set_index(["stream", "target"])
    assert set(attention.index) == {(stream, target) for stream in ("tumour", "tme") for target in ("Tumor", "Immune")}
    # All is on tile 8: there it stands above every other patch, elsewhere nothing does but by ties.
    assert attention.xs("Tumor", level="target")["auc"].tolist() == [100, 100]
    assert (attention.xs("Immune", level="target")["auc"] < 50).all()
    # Only samples of annotated slides count.
    annotated = set(read_parquet(located / "regions.parquet")["slide_id"])
    samples = pd.read_csv(drawn.files.samples, sep="\t", dtype=str).query("status == 'ok'")
    tested = samples["case_id"].isin(drawn.cases_of("test")) & samples["slide_id"].isin(annotated)
    assert set(attention["n_slides"]) == {int(tested.sum())}
    assert set(table.loc[table["measure"] == "attribution", "target"]) == {"Tumor", "Immune"}
    assert set(table.loc[table["method"] == "oracle", "target"]) == {"Tumor", "Immune"}


def test_the_report_names_the_classes(located):
    section = localisation_section(located / "localisation.tsv", planted=False)
    assert section["question"] == "Does it find the annotated regions?"
    assert section["targets"] == ["Immune", "Tumor"]
    assert "100.0" in section["rows"][0]["cells"]
