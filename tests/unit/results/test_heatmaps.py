"""Where a model looks: attention on the map and on patches as worked by hand, and pictures with a planted peak."""

import dataclasses
import hashlib
import json
import re

import cv2
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from slide_files import TISSUE, plain, write_slide
from torch.nn import functional
from training_cohort import CLASSES, DIAGNOSIS, N_PATCHES, SURVIVAL

from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.methods import build
from ksfusion.methods.deformable import CMDeform
from ksfusion.methods.released import ReleasedDeform
from ksfusion.results.attention import drawing
from ksfusion.results.attention.heatmaps import choose_samples, outcome_text
from ksfusion.results.attention.maps import attention_maps, share_for_half, spread_attention, sum_by_patch
from ksfusion.results.attention.slide_picture import SlidePatches, SlidePicture, on_white
from ksfusion.results.config import Printing, ShownTask
from ksfusion.results.plots.attention import draw_attention
from ksfusion.results.plots.style import drawing_style
from ksfusion.results.runs import read_runs
from ksfusion.results.stage_settings import DrawHeatmapsSettings
from ksfusion.slides.config import Reading
from ksfusion.stages.draw_heatmaps import draw_heatmaps
from ksfusion.training import trained_run
from ksfusion.training.checkpoint import load_model

pytestmark = pytest.mark.usefixtures("one_thread")

TILE, COLUMNS = 224, 5
READING = Reading(reader="auto", icc="none", mpp=0.5, patch_px=TILE, max_upsampling=1.1, timeout=60)


def make_attention(kind=CMDeform, *, side=3, heads=2):
    return kind(side, width=8 * heads, heads=heads, head_width=4, grid=12, offset_cells=4.0, dropout=0.1).eval()


def test_attention_spreads_over_the_cells_that_were_sampled():
    """A map of 3 x 3, two heads of two points: on a corner, between two cells, on a corner, beyond the left."""
    points = torch.tensor([[[-1.0, -1], [0.5, 0]], [[1, 1], [-3, 0.5]]])[None]
    attention = torch.tensor([[0.25, 0.75], [0.4, 0.6]])[None]
    cells = spread_attention(make_attention(), points, attention)
    first = np.array([[0.25, 0, 0], [0, 0.375, 0.375], [0, 0, 0]])
    second = np.array([[0, 0, 0], [0.3, 0, 0], [0.3, 0, 0.4]])
    np.testing.assert_allclose(cells, (first + second).reshape(1, 9) / 2, atol=1e-7)
    assert cells.sum() == pytest.approx(1)


def test_released_sampling_loses_what_falls_outside_of_the_map():
    """There -1 and 1 are the map's outer edges: a point on the corner is a quarter on its cell, else on zeros."""
    points = torch.tensor([[[-1.0, -1]], [[0, 0]]])[None]
    cells = spread_attention(make_attention(ReleasedDeform), points, torch.ones(1, 2, 1))
    expected = np.zeros((3, 3))
    expected[0, 0], expected[1, 1] = 0.25 / 2, 1 / 2
    np.testing.assert_allclose(cells, expected.reshape(1, 9), atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "convention"),
    [
        (CMDeform, {"align_corners": True, "padding_mode": "border"}),
        (ReleasedDeform, {"align_corners": False, "padding_mode": "zeros"}),
    ],
)
def test_the_weights_are_those_of_grid_sample(kind, convention):
    """Sampled in a map of one-hot cells, `grid_sample` gives each point's weights."""
    random = torch.Generator().manual_seed(0)
    points = 1.2 * (2 * torch.rand(2, 3, 20, 2, generator=random) - 1)
    attention = torch.rand(2, 3, 20, generator=random).softmax(dim=2)
    cells = spread_attention(make_attention(kind, side=5, heads=3), points, attention)
    one_hot = torch.eye(25).reshape(1, 25, 5, 5).expand(2, 25, 5, 5)
    weights = functional.grid_sample(one_hot, points, **convention)  # (B, cells, heads, P)
    expected = (weights * attention[:, None]).sum(dim=3).mean(dim=2)
    np.testing.assert_allclose(cells, expected.numpy(), atol=1e-6)


def built(method, n_patches=N_PATCHES):
    torch.manual_seed(0)
    niches = {"tumour": ["A", "B"], "tme": ["C", "D", "E"]}
    sizes = {"n_features": 6, "n_patches": n_patches, "n_outputs": 3, "groups": {"one": ["A", "C"], "two": ["B", "D"]}}
    return build(method, niches=niches, **sizes).eval()


def looked(model, n_patches=N_PATCHES):
    random = torch.Generator().manual_seed(1)
    patches = torch.randn(2, n_patches, 6, generator=random)
    genes = {name: torch.randn(2, width, generator=random) for name, width in (("tumour", 2), ("tme", 3))}
    with torch.no_grad():
        return model(patches, genes)


def test_each_stream_has_a_map_that_sums_to_one_at_the_papers_size():
    model = built("ksfusion", 2500)
    maps = attention_maps(model, looked(model, 2500))
    assert {name: cells.shape for name, cells in maps.items()} == {"tumour": (2, 2500), "tme": (2, 2500)}
    for cells in maps.values():
        np.testing.assert_allclose(cells.sum(axis=1), 1, atol=1e-6)
        assert cells.min() >= 0
    assert not np.allclose(maps["tumour"], maps["tme"])


@pytest.mark.parametrize("method", ["attmil", "transmil", "concat", "mcat", "cmta"])
def test_other_methods_have_one_weight_a_patch(method):
    model = built(method)
    out = looked(model)
    (name, cells), *others = attention_maps(model, out).items()
    assert name == "attention" and not others
    np.testing.assert_array_equal(cells, out.attention.numpy())
    np.testing.assert_allclose(cells.sum(axis=1), 1, atol=1e-6)


def test_a_method_that_looks_at_no_patch_has_none():
    model = built("snn")
    with pytest.raises(UserError, match="no attention over patches"):
        attention_maps(model, looked(model))


def test_a_repeated_patch_adds_up():
    cells, index = np.array([0.1, 0.2, 0.3, 0.15, 0.25]), np.array([0, 1, 2, 0, 1])
    np.testing.assert_allclose(sum_by_patch(cells, index), [0.25, 0.45, 0.3])


@pytest.mark.parametrize(
    ("relative", "cells", "share"),
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], 1 / 2),
        ([1, 3], [1, 1], 1 / 3),  # two thirds of the second cell
        ([0, 0, 4, 0], [1, 1, 1, 1], 1 / 8),
        ([2, 0.5], [1, 2], 1 / 4),  # three cells; the first holds two thirds
    ],
)
def test_the_share_that_holds_half_of_the_attention(relative, cells, share):
    assert share_for_half(np.array(relative, float), np.array(cells)) == pytest.approx(share)


def test_samples_are_spread_over_classes_and_over_risk():
    table = pd.DataFrame({"sample_id": list("hgfedcba"), "y": pd.array([2, 2, 1, 1, 0, 0, 0, None], dtype="Int64")})
    assert choose_samples(table, DIAGNOSIS, "all") == choose_samples(table, DIAGNOSIS, 8) == list("bcdefgha")
    assert choose_samples(table, DIAGNOSIS, 3) == ["b", "f", "a"]  # positions 0, 3.5 (to even) and 7
    risks = pd.DataFrame({"sample_id": list("abc"), "risk": [-1.0, -3.0, -2.0]})
    assert choose_samples(risks, SURVIVAL, 2) == ["b", "a"]
    assert choose_samples(risks.iloc[:0], SURVIVAL, 2) == []


def test_what_was_predicted_and_what_is_true():
    table = pd.DataFrame({"sample_id": ["a", "b"], "y": pd.array([0, None], dtype="Int64")})
    table[[f"prob_{name}" for name in CLASSES]] = [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]
    task = ShownTask.of(DIAGNOSIS)
    assert outcome_text(table, "a", task) == "Predicted high (probability 0.70); truth low"
    assert outcome_text(table, "b", task) == "Predicted low (probability 0.50); truth not known"
    table.loc[1, [f"prob_{name}" for name in CLASSES]] = np.nan
    assert outcome_text(table, "b", task) == "Prediction not finite; truth not known"
    labelled = ShownTask.of(DIAGNOSIS, labels={"low": "grade_$2", "high": "High <4>"})
    assert outcome_text(table, "a", labelled) == "Predicted High <4> (probability 0.70); truth grade_$2"
    table = pd.DataFrame({"sample_id": list("abc"), "risk": [-1.5, -3.25, -2.0], "days": [400.0, 90.0, np.nan]})
    table["event"] = pd.array([1, 0, None], dtype="Int64")
    died, censored, unknown = (outcome_text(table, sample_id, ShownTask.of(SURVIVAL)) for sample_id in "abc")
    assert died == "Risk -1.50, rank 1 of 3 test samples (1: highest); died after 400 days"
    assert censored.endswith("rank 3 of 3 test samples (1: highest); censored after 90 days")
    assert unknown.endswith("survival not known")
    table.loc[0, "risk"] = np.inf
    assert outcome_text(table, "a", ShownTask.of(SURVIVAL)) == "Risk not finite; died after 400 days"


def drawn_figure(slide, attention, cells):
    with drawing_style():
        figure = draw_attention(slide, attention, cells, title="S1", lines=["a line"])
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(160)
        canvas.draw()
    return figure, np.asarray(canvas.buffer_rgba())[..., :3]


def colour_at(figure, pixels, axes, x, y):
    """Return the colour where a px of the picture is drawn."""
    column, row = axes.transData.transform((x, y))
    return pixels[round(pixels.shape[0] - 1 - row), round(column)].astype(int)


def test_patches_are_coloured_where_they_lie_by_their_even_share():
    """Four patches on a white slide of 200 x 100 px; the first stands twice on the map of five cells."""
    picture = np.full((100, 200, 3), 255, np.uint8)
    corners = np.array([[0, 0], [50, 0], [100, 50], [150, 50]])
    shown = SlidePicture(picture, True, corners, 50.0, px_mm=0.01)
    cells = np.array([2, 1, 1, 1])
    attention = {"tumour": np.array([0.4, 0.2, 0.4, 0.0]), "tme": np.array([0.0, 0.0, 0.0, 1.0])}
    figure, pixels = drawn_figure(shown, attention, cells)
    slide, tumour, tme, _ = figure.axes
    assert [axes.get_title(loc="left") for axes in (tumour, tme)] == [
        "Attention of the tumour stream",
        "Attention of the TME stream",
    ]

    def patch(axes, number):
        return colour_at(figure, pixels, axes, *(corners[number] + 25))

    # Even shares: 2/5 and 1/5. The first two have as much as that, the third twice, the last nothing.
    np.testing.assert_array_equal(patch(tumour, 0), patch(tumour, 1))
    assert np.abs(patch(tumour, 2) - patch(tumour, 0)).max() > 30
    for axes, number in ((tumour, 3), (tme, 0), (tme, 1), (tme, 2), (slide, 0)):
        assert patch(axes, number).tolist() == [255, 255, 255]
    red, green, blue = patch(tme, 3)  # viridis ends in yellow
    assert red > 220 and green > 200 and blue < 90
    # The colours end exactly with the patch.
    assert colour_at(figure, pixels, tme, 147, 75).tolist() == [255, 255, 255]
    assert colour_at(figure, pixels, tme, 153, 53).tolist() == patch(tme, 3).tolist()
    # A bar of 0.5 mm is 50 of 200 px; the next, 1 mm, would be longer than a third.
    (bar,) = slide.lines
    assert bar.get_xdata() == pytest.approx([0, 0.25])
    assert slide.texts[-1].get_text() == "0.5 mm"


def test_an_even_attention_looks_even():
    """Whatever noise there is, the colour of an even share stays in the middle of the scale."""
    shown = SlidePicture(np.full((10, 20, 3), 255, np.uint8), True, np.array([[0, 0], [10, 0]]), 10.0, 0.01)
    figure, pixels = drawn_figure(shown, {"attention": np.array([0.502, 0.498])}, np.array([1, 1]))
    _, attention, bar = figure.axes
    first, second = (colour_at(figure, pixels, attention, x, 5) for x in (5, 15))
    assert np.abs(first - second).max() < 6
    assert bar.get_ylim() == (0, 2)
    assert [text.get_text() for text in attention.texts] == ["half of it on 50% of the map (even: 50%)"]


def test_without_a_slide_patches_lie_on_white():
    patches = SlidePatches(np.array([[100, 50], [104, 50], [108, 54]]), np.array([0, 1, 2, 0]), um=250.0)
    shown = on_white(patches, longest=200)
    # 12 x 8 units with patches of 4, and as much as a margin on each side: ten px a unit.
    assert not shown.is_slide and shown.rgb.shape == (160, 200, 3) and shown.rgb.min() == 255
    assert shown.side == 40 and shown.corners.tolist() == [[40, 40], [80, 40], [120, 80]]
    assert shown.px_mm == pytest.approx(0.025)
    figure, _ = drawn_figure(shown, {"attention": np.full(3, 1 / 3)}, patches.cells)
    assert len(figure.axes) == 2
    unknown = on_white(dataclasses.replace(patches, um=float("nan")), longest=200)
    figure, _ = drawn_figure(unknown, {"attention": np.full(3, 1 / 3)}, patches.cells)
    assert figure.axes[0].texts[-1].get_text() == "scale not known"


def test_a_single_patch_is_drawn():
    shown = on_white(SlidePatches(np.array([[7, 9]]), np.zeros(4, int), float("nan")), longest=90)
    assert shown.side == 30 and shown.corners.tolist() == [[30, 30]]


@pytest.fixture
def project(drawn, runs, tmp_path):
    """Return what makes heatmaps of a run: five columns of tiles a slide, files of three of the test slides."""
    ledger = read_tsv(drawn.folder / "samples.tsv", dtype=str)
    blocks = read_tsv(drawn.folder / "store" / "slides.tsv", dtype={"slide_id": str})
    index = np.load(drawn.folder / "store" / "index.npy")
    with h5py.File(tmp_path / "0.h5", "w") as file:
        for row, (slide_id, n_unique) in enumerate(zip(blocks["slide_id"], blocks["n_unique"], strict=True)):
            group, number = file.create_group(slide_id), np.arange(n_unique)
            group["coords"] = np.stack([number % COLUMNS * TILE, number // COLUMNS * TILE], axis=1)
            group["index"] = index[row]
            group.attrs.update({"status": "ok", "mpp": 0.5})
        file.create_group("slide-that-failed").attrs.update({"status": "failed", "mpp": 0.5})
    predictions = read_parquet(runs["diagnosis", "ksfusion"] / "predictions.parquet")
    chosen = choose_samples(predictions[predictions["split"] == "test"], DIAGNOSIS, 3)
    slide_of = ledger.set_index("sample_id")["slide_id"]
    rows = []
    for sample_id, slide_id in slide_of.items():
        path = tmp_path / f"{slide_id}.tiff" if sample_id in chosen else ""
        rows.append(f"{sample_id}\t{slide_id}\t{path}\t")
    (tmp_path / "samples.tsv").write_text("\n".join(["sample_id\tslide_id\tslide\tmpp", *rows]) + "\n")

    def make(
        name="out", *, task="diagnosis", method="ksfusion", run=None, samples=3, slides=READING, files=None, **settings
    ):
        draw_heatmaps(
            files or drawn.files,
            run=run or runs[task, method],
            features=[tmp_path / "0.h5"],
            manifest=tmp_path / "samples.tsv",
            output=tmp_path / name,
            settings=DrawHeatmapsSettings(samples=samples, slides=slides, **settings),
        )
        return tmp_path / name

    make.chosen, make.slides = chosen, [tmp_path / f"{slide_of[sample_id]}.tiff" for sample_id in chosen]
    return make


def planted(cells):
    """Return a `load_model` whose models sample a stream at one cell of the map alone."""

    def load(folder):
        model, line = load_model(folder), torch.linspace(-1, 1, 6)
        for stream, cell in cells.items():
            attend = model.streams[stream].attend
            torch.nn.init.zeros_(attend.to_offset.weight)
            attend.reference[:] = torch.stack([line[cell % 6], line[cell // 6]])
        return model

    return load


def boxes(mask):
    """Return (left, top, width, height) of the larger connected areas of a mask, from left to right."""
    _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return sorted(tuple(int(value) for value in row[:4]) for row in found[1:] if row[2] > 50 and row[3] > 50)


@pytest.mark.slow
def test_a_planted_peak_is_drawn_on_its_tile(project, monkeypatch):
    """The tumour's stream looks at cell 8 alone, that of the microenvironment at cell 1; cell k shows tile k here.

    The slide is blue on tile 8 and green on tile 1. Panels are equal: the peak of each stream must be as far from its
    tile on the slide as its panel is from that of the slide.
    """
    monkeypatch.setattr(trained_run, "load_model", planted({"tumour": 8, "tme": 1}))
    rgb = plain(TILE * COLUMNS, TILE * 4)
    for tile, colour in ((8, (0, 0, 255)), (1, (0, 255, 0))):
        y, x = tile // COLUMNS * TILE, tile % COLUMNS * TILE
        rgb[y : y + TILE, x : x + TILE] = colour
    for path in project.slides:
        write_slide(path, rgb, 0.5, compression=None)
    folder = project()
    table = read_parquet(folder / "attention.parquet")
    assert table["sample_id"].unique().tolist() == project.chosen
    listed = read_tsv(folder / "heatmaps.tsv", dtype=str)
    for sample_id, name, digest in listed[["sample_id", "heatmap", "sha256"]].itertuples(index=False):
        rows = table[table["sample_id"] == sample_id].set_index(["x", "y"])
        assert rows["cells"].sum() == N_PATCHES
        for stream, corner in (("tumour", (3 * TILE, TILE)), ("tme", (TILE, 0))):
            expected = {key: float(key == corner) for key in rows.index}
            assert rows[stream].to_dict() == pytest.approx(expected, abs=1e-6)
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        image = np.asarray(Image.open(folder / name).convert("RGB")).astype(int)
        red, green, blue = image.transpose(2, 0, 1)
        ((x8, y8, *size8),) = boxes((blue > 200) & (red < 60) & (green < 60))
        ((x1, y1, *size1),) = boxes((green > 200) & (red < 60) & (blue < 60))
        # What has colour: the slide, and one patch in each of the other panels.
        _, tumour, tme = boxes(np.ptp(image, axis=2) > 60)
        shift = tumour[0] - x8
        assert shift > 4 * size8[0]
        np.testing.assert_allclose(tumour, [x8 + shift, y8, *size8], atol=2)
        np.testing.assert_allclose(tme, [x1 + 2 * shift, y1, *size1], atol=3)
    for name, digest in listed[["patches", "patches_sha256"]].itertuples(index=False):
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        sheet = np.asarray(Image.open(folder / name))
        # Rows from the top: of each stream the patches with most attention, and with least.
        first_of_row = [sheet[y, 60] for y in (130, 350, 570, 790)]
        assert first_of_row[0].tolist() == [0, 0, 255] and first_of_row[2].tolist() == [0, 255, 0]
        assert np.abs(first_of_row[1].astype(int) - TISSUE).max() < 12


@pytest.mark.slow
def test_the_same_again_is_the_same_bytes(project):
    for path in project.slides:
        write_slide(path, plain(TILE * COLUMNS, TILE * 4), 0.5)
    first, second = project("first"), project("second")
    names = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert len([name for name in names if name.suffix == ".png"]) == 6
    assert {name: (first / name).read_bytes() for name in names} == {
        name: (second / name).read_bytes() for name in names
    }
    attention = read_parquet(first / "attention.parquet")
    assert list(attention) == ["sample_id", "x", "y", "cells", "tumour", "tme"]
    np.testing.assert_allclose(attention.groupby("sample_id")[["tumour", "tme"]].sum(), 1, atol=1e-6)


def test_a_slide_that_is_gone_leaves_its_patches_on_white(project, caplog):
    write_slide(project.slides[0], plain(TILE * COLUMNS, TILE * 4), 0.5)
    folder = project(method="attmil")
    listed = read_tsv(folder / "heatmaps.tsv", dtype=str).fillna("")
    assert listed["reason"].tolist() == ["", "missing_file", "missing_file"]
    # Only of the slide that was read.
    sheets = [path.name for path in (folder / "patches").iterdir()]
    assert listed["patches"].tolist() == [f"patches/{sheets[0]}", "", ""]
    assert "missing_file" in caplog.text
    on_tissue, *others = (np.asarray(Image.open(folder / name).convert("RGB")) for name in listed["heatmap"])
    # Only where the slide was read is its colour seen.
    seen = [(np.abs(image.astype(int) - TISSUE).max(axis=2) < 12).mean() > 0.1 for image in (on_tissue, *others)]
    assert seen == [True, False, False]
    assert list(read_parquet(folder / "attention.parquet")) == ["sample_id", "x", "y", "cells", "attention"]


@pytest.mark.slow
def test_fewer_samples_leave_no_old_picture(project):
    folder = project(slides=None, samples="all")
    everything = {path.name for path in folder.glob("*.png")}
    assert len(everything) > 3
    project(slides=None)
    assert {path.name for path in folder.glob("*.png")} == {f"{sample_id}.png" for sample_id in project.chosen}


def test_survival_is_drawn_from_the_lowest_risk_to_the_highest(project, runs):
    folder = project(task="survival", slides=None, samples=4)
    shown = read_tsv(folder / "heatmaps.tsv", dtype=str)["sample_id"]
    risk = read_parquet(runs["survival", "ksfusion"] / "predictions.parquet").query("split == 'test'")
    risk = risk.set_index("sample_id")["risk"]
    values = risk[shown].tolist()
    assert values == sorted(values) and (values[0], values[-1]) == (risk.min(), risk.max())


def test_pictures_say_what_the_task_and_its_classes_are_called(project, monkeypatch):
    told = []
    monkeypatch.setattr(drawing, "attention_png", lambda *_, lines, **__: told.append(lines) or b"")
    printing = {"diagnosis": Printing(title="IDH & <$1p/19q$>", labels={name: f"class {name}" for name in CLASSES})}
    project(slides=None, printing=printing)
    assert len(told) == 3
    for which, outcome in told:
        assert which == "IDH & <$1p/19q$>, KS-Fusion, fold 0, seed 0"
        assert re.fullmatch(
            r"Predicted class (low|middle|high) \(.*\); truth (not known|class (low|middle|high))", outcome
        )


@pytest.mark.parametrize("method", ["ksfusion", "attmil"])
def test_a_test_slide_with_broken_features_is_drawn_without_attention(project, cohort, method):
    """Training saw none of it; its prediction is no number, which the tables say."""
    samples = read_tsv(cohort.folder / "samples.tsv", dtype=str).query("status == 'ok'").set_index("sample_id")
    tested = samples.index[samples["case_id"].isin(cohort.cases_of("test"))]
    blocks = read_tsv(cohort.folder / "store" / "slides.tsv").set_index("slide_id")
    features = np.load(cohort.folder / "store" / "features.npy")
    features[blocks.loc[samples.loc[tested[0], "slide_id"], "offset"]] = np.inf
    np.save(cohort.folder / "store" / "features.npy", features)
    run = cohort.train("run", method=method)
    (found,) = read_runs([run], [DIAGNOSIS])
    assert found.reason == "predictions are not finite"
    folder = project(run=run, files=cohort.files, slides=None, samples="all")
    assert len(list(folder.glob("*.png"))) == len(read_tsv(folder / "heatmaps.tsv")) >= len(tested) - 1


def test_a_run_without_a_model_has_no_pictures(project, drawn, cohort):
    cohort.relabel(cohort.cases_of("train"), label_diagnosis=0)
    run = cohort.train("one-class")
    assert json.loads((run / "metrics.json").read_text())["status"] == "skipped"
    folder = project(run=run)
    assert read_tsv(folder / "heatmaps.tsv").empty and read_parquet(folder / "attention.parquet").empty
    assert not list(folder.glob("*.png"))
