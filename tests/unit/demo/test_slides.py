"""Synthetic slides: the file is what slide readers expect, and the planted truth is in the pixels."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from scipy import ndimage

from ksfusion.demo.looks import SlideAppearance
from ksfusion.demo.slides import draw_slide

PLAIN = SlideAppearance(
    diagnosis="glioblastoma",
    tumour=0.5,
    lymphocytes=0.0,
    vessels=0.1,
    necrosis=0.0,
    site=1,
    width_um=600,
    height_um=520,
    mpp=0.5,
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Draw a slide (once) and return its path and truth."""
    folder = tmp_path_factory.mktemp("slides")

    @cache
    def draw(appearance, seed):
        path = folder / f"{abs(hash((appearance, seed)))}.tif"
        return path, draw_slide(path, appearance, seed)

    return lambda seed=3, **changes: draw(replace(PLAIN, **changes), seed)


def stains_of(path, truth):
    """Tissue mask and the two stain amounts per pixel, by least squares on optical density."""
    with openslide.OpenSlide(path) as slide:
        image = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    # Glass is the brightest large surface, whatever the scanner.
    glass = np.percentile(image.reshape(-1, 3), 97, axis=0)
    density = -np.log((image + 1.0) / (glass + 1.0))
    amounts = density @ np.linalg.pinv(np.array(truth.stain_matrix))
    tissue = cv2.blur(density.sum(axis=2), (41, 41)) > 0.15
    return image, density, tissue, amounts[..., 0], amounts[..., 1]


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_slide_readers_open_the_pyramid(drawn, mpp):
    path, _ = drawn(width_um=601.3, height_um=520, mpp=mpp)
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.dimensions == (round(601.3 / mpp), round(520 / mpp))
        assert slide.level_count >= 2
        assert max(slide.level_dimensions[-1]) <= 512
        assert slide.properties["tiff.ResolutionUnit"] == "centimeter"
        for axis in "XY":
            assert 1e4 / float(slide.properties[f"tiff.{axis}Resolution"]) == pytest.approx(mpp, rel=0.01)
        top = np.asarray(slide.get_thumbnail((150, 130)).convert("RGB"), float)
        low = slide.read_region((0, 0), slide.level_count - 1, slide.level_dimensions[-1]).convert("RGB")
    with tiffslide.TiffSlide(path) as slide:
        assert slide.level_count >= 2
        assert float(slide.properties["tiffslide.mpp-x"]) == pytest.approx(mpp, rel=0.01)
        assert slide.read_region((100, 100), 0, (64, 64)).size == (64, 64)
    assert np.abs(np.asarray(low.resize((150, 130)), float) - top[:130, :150]).mean() < 12
    with tifffile.TiffFile(path) as tiff:
        assert "DateTime" not in {tag.name for tag in tiff.pages[0].tags}
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
        assert tiff.pages[0].tile == (256, 256)


def test_no_unfinished_file_is_left(drawn):
    path, _ = drawn()
    assert not [other for other in path.parent.iterdir() if other.suffix != ".tif"]


def test_the_seed_decides_every_byte(drawn, tmp_path):
    path, truth = drawn(seed=3)
    again = draw_slide(tmp_path / "again.tif", PLAIN, 3)
    assert (tmp_path / "again.tif").read_bytes() == path.read_bytes()
    assert again == truth
    assert drawn(seed=4)[0].read_bytes() != path.read_bytes()


@pytest.mark.parametrize("site", [0, 1, 2, 5])
def test_colours_lie_between_the_planted_stains(drawn, site):
    path, truth = drawn(site=site, tumour=0.7)
    image, density, tissue, _, _ = stains_of(path, truth)
    stains = np.array(truth.stain_matrix)
    assert stains.shape == (2, 3)
    np.testing.assert_allclose(np.linalg.norm(stains, axis=1), 1, rtol=1e-6)
    # Eosin takes nearly no red light, haematoxylin much.
    assert stains[0, 0] > stains[1, 0] + 0.2
    mean = density[tissue].mean(axis=0)
    mean /= np.linalg.norm(mean)
    between = np.degrees(np.arccos(stains[0] @ stains[1]))
    apart = np.degrees(np.arccos(np.clip(stains @ mean, -1, 1)))
    assert np.all(apart < between)
    assert apart.sum() == pytest.approx(between, abs=1.5)
    glass = image[~cv2.dilate(tissue.astype(np.uint8), np.ones((31, 31))).astype(bool)]
    assert glass.mean() >= 235
    assert 0.5 < tissue.mean() < 0.9


def test_sites_stain_differently(drawn):
    first, second = (np.array(drawn(site=site)[1].stain_matrix) for site in (1, 2))
    assert np.abs(first - second).max() > 0.01


def test_tissue_area_is_what_is_seen(drawn):
    path, truth = drawn()
    _, _, tissue, _, _ = stains_of(path, truth)
    assert tissue.sum() * 0.25e-6 == pytest.approx(truth.tissue_mm2, rel=0.12)


@pytest.mark.parametrize("diagnosis", ["glioblastoma", "astrocytoma_g4", "astrocytoma", "oligodendroglioma"])
def test_more_tumour_is_more_haematoxylin(drawn, diagnosis):
    amounts, counts = [], []
    for tumour in (0.1, 0.5, 0.9):
        path, truth = drawn(diagnosis=diagnosis, tumour=tumour)
        _, _, tissue, haematoxylin, _ = stains_of(path, truth)
        amounts.append(haematoxylin[tissue].mean())
        counts.append(truth.n_tumour_nuclei / truth.tissue_mm2)
    assert amounts[0] < amounts[1] < amounts[2]
    assert counts[1] / counts[0] == pytest.approx(5, rel=0.35)
    assert counts[2] / counts[1] == pytest.approx(9 / 5, rel=0.2)


def test_no_tumour_no_tumour_nuclei(drawn):
    assert drawn(tumour=0.0)[1].n_tumour_nuclei == 0


def test_lymphocytes_grow_in_proportion_and_are_dark(drawn):
    counts, dark = [], []
    for lymphocytes in (0.0, 0.4, 0.8):
        path, truth = drawn(tumour=0.0, lymphocytes=lymphocytes)
        _, _, tissue, haematoxylin, _ = stains_of(path, truth)
        counts.append(truth.n_lymphocytes)
        dark.append((haematoxylin[tissue] > 1.1).mean() * truth.tissue_mm2)
    assert counts[0] == 0
    assert counts[2] / counts[1] == pytest.approx(2, rel=0.35)
    assert dark[0] < dark[1] < dark[2]
    # A nucleus of 6-7 um covers 28-38 um2; part of it is paler than the threshold or covered by another.
    assert 8 < (dark[2] - dark[0]) * 1e6 / counts[2] < 38


def test_necrosis_has_its_area_and_no_nuclei(drawn):
    areas, empty = [], []
    for necrosis in (0.0, 0.4, 0.8):
        path, truth = drawn(tumour=0.8, necrosis=necrosis, width_um=800, height_um=700)
        _, _, tissue, haematoxylin, _ = stains_of(path, truth)
        areas.append(truth.necrosis_mm2)
        crowded = cv2.blur((haematoxylin > 0.6).astype(np.float32), (81, 81)) > 0.04
        empty.append((tissue & ~crowded).sum() * 0.25e-6)
    assert areas[0] == 0
    assert areas[2] / areas[1] == pytest.approx(2, rel=0.1)
    assert empty[0] < empty[1] < empty[2]
    assert empty[2] - empty[0] == pytest.approx(areas[2], rel=0.5)


def test_vessels_grow_in_number_and_carry_red_cells(drawn):
    counts, red = [], []
    for vessels in (0.0, 0.3, 0.9):
        path, truth = drawn(tumour=0.0, vessels=vessels, width_um=1000, height_um=900)
        _, _, tissue, haematoxylin, eosin = stains_of(path, truth)
        counts.append(truth.n_vessels)
        red.append((cv2.blur(eosin - haematoxylin, (7, 7))[tissue] > 0.55).mean())
    assert counts[0] < counts[1] < counts[2]
    assert red[0] < red[1] < red[2]


def test_nuclei_have_the_same_size_at_both_pixel_sizes(drawn):
    areas = []
    for mpp in (0.5, 0.25):
        path, truth = drawn(diagnosis="oligodendroglioma", tumour=0.3, mpp=mpp)
        _, _, _, haematoxylin, _ = stains_of(path, truth)
        labels, _ = ndimage.label(cv2.GaussianBlur(haematoxylin, (0, 0), 0.5 / mpp) > 0.5)
        sizes = np.bincount(labels.ravel())[1:] * mpp**2
        areas.append(np.median(sizes[(sizes > 30) & (sizes < 150)]))
    assert areas[0] == pytest.approx(areas[1], rel=0.2)
    # Round nuclei of 7-10 um.
    assert all(np.pi * 3.5**2 < area < np.pi * 5**2 for area in areas)


def test_the_world_does_not_depend_on_the_pixel_size(drawn):
    fine, coarse = drawn(tumour=0.6, mpp=0.25), drawn(tumour=0.6, mpp=0.5)
    assert fine[1] == coarse[1]
    _, density_fine, *_ = stains_of(*fine)
    _, density_coarse, *_ = stains_of(*coarse)
    shrunk = cv2.resize(density_fine, density_coarse.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.corrcoef(shrunk.ravel(), density_coarse.ravel())[0, 1] > 0.9


def test_unknown_diagnosis_is_refused(tmp_path):
    with pytest.raises(KeyError):
        draw_slide(tmp_path / "slide.tif", replace(PLAIN, diagnosis="meningioma"), 1)
    assert not list(tmp_path.iterdir())
