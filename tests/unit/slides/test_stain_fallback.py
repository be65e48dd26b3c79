"""Slides whose stains cannot be fitted, or should not be: others than H&E, too weak ones, none."""

import numpy as np
import pytest
import torch
from slide_files import real_file
from stained_slides import PLANTED, REGIONS, stained, unit

from ksfusion.slides import StainProfile, fit_stain, normalise_stain, open_slide, stain_concentrations
from ksfusion.slides.stain.fitting import fallback, fit_two_stains
from ksfusion.slides.stain.target import load_target
from ksfusion.slides.stain.vahadane import DegenerateStain, optical_density

pytestmark = pytest.mark.slow

# Vectors as they are published: of haematoxylin and eosin (A. C. Ruifrok and D. A. Johnston 2001, as ImageJ has them;
# M. Macenko et al. 2009), and of other stains (ImageJ's, G. Landini).
H_AND_E = {
    "ruifrok": [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]],
    "imagej": [[0.644, 0.717, 0.267], [0.093, 0.954, 0.283]],
    "imagej_2": [[0.490, 0.769, 0.410], [0.046, 0.842, 0.537]],
    "macenko": [[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]],
    "qupath": [[0.651, 0.701, 0.290], [0.2159, 0.8012, 0.5581]],
}
OTHERS = {
    "dab": [[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]],
    "aec": [[0.65, 0.70, 0.29], [0.274, 0.680, 0.680]],
    "methyl_green_dab": [[0.98, 0.144, 0.133], [0.268, 0.570, 0.776]],
    "masson": [[0.800, 0.591, 0.105], [0.100, 0.737, 0.668]],
    "azan_mallory": [[0.853, 0.509, 0.113], [0.071, 0.977, 0.198]],
    "alcian_blue": [[0.875, 0.458, 0.158], [0.553, 0.754, 0.354]],
    "feulgen": [[0.464, 0.830, 0.308], [0.947, 0.253, 0.197]],
    "brilliant_blue": [[0.314, 0.660, 0.683], [0.383, 0.527, 0.759]],
}


def drawn_flat(colour, noise=0.0):
    return np.clip(np.random.default_rng(0).normal(colour, noise, (60_000, 3)), 0, 255).astype(np.uint8)


DEGENERATE = {
    "black": drawn_flat(0),
    "white": drawn_flat(255),
    "grey": drawn_flat(120),
    "one_colour": drawn_flat([190, 110, 170], noise=3),
    "random": np.random.default_rng(0).integers(0, 256, (60_000, 3), dtype=np.uint8),
    "no_pixels": np.zeros((0, 3), np.uint8),
    "haematoxylin_alone": stained(np.array([PLANTED[0], PLANTED[0]]), side=240).reshape(-1, 3),
    "dab": stained(np.array(OTHERS["dab"]), side=240).reshape(-1, 3),
    "pale": np.round(255 * (stained(PLANTED, side=240) / 255) ** 0.12).astype(np.uint8).reshape(-1, 3),
}


def fitted(rgb, target=None):
    """Fit an image as the pixels of a slide."""
    pixels, target = rgb.reshape(-1, 3), target or load_target("builtin")
    try:
        return "ok", fit_two_stains(pixels, "vahadane", target)
    except DegenerateStain:
        return "fallback", fallback(pixels, target)


@pytest.mark.parametrize("name", H_AND_E)
def test_published_h_and_e_is_fitted(name):
    assert fitted(stained(np.array(H_AND_E[name])))[0] == "ok"


@pytest.mark.parametrize("name", [*REGIONS, "cmu-1-small-region.svs"])
def test_real_h_and_e_is_fitted(name):
    with open_slide(real_file(name), 0.5) as slide:
        assert fitted(slide.thumbnail(1.0))[0] == "ok"


@pytest.mark.parametrize("name", OTHERS)
def test_other_stains_get_the_targets_vectors(name):
    status, profile = fitted(stained(np.array(OTHERS[name])))
    assert status == "fallback"
    assert np.array_equal(profile.matrix, load_target("builtin").matrix)


def test_a_target_that_is_not_h_and_e_takes_its_like():
    target = StainProfile(unit(np.array(OTHERS["dab"])), np.array([2.0, 2.0]))
    assert fitted(stained(np.array(OTHERS["dab"]), seed=1), target)[0] == "ok"


def test_strengths_at_and_below_a_fifth_of_the_targets():
    pixels = stained(PLANTED)
    own = fit_stain(pixels)
    for factors, status in (([4.9, 4.9], "ok"), ([4.9, 5.1], "fallback"), ([5.1, 4.9], "fallback")):
        target = StainProfile(unit(PLANTED), own.max_concentration * factors)
        assert fitted(pixels, target)[0] == status


@pytest.mark.parametrize("name", DEGENERATE)
def test_nothing_is_amplified_without_bound(name):
    pixels, target = DEGENERATE[name], load_target("builtin")
    before = pixels.copy()
    status, profile = fitted(pixels, target)
    assert status == "fallback"
    assert np.isfinite(profile.matrix).all() and (target.max_concentration / profile.max_concentration <= 5).all()
    density = optical_density(pixels)
    concentrations = stain_concentrations(density, profile.matrix)
    assert (density > 0).all() and np.isfinite(concentrations).all() and (concentrations >= 0).all()
    result = normalise_stain(torch.from_numpy(pixels.reshape(1, 1, -1, 3)), profile, target)
    assert result.shape == (1, 1, len(pixels), 3) and np.array_equal(pixels, before)
    if name == "white":
        assert (result == 255).all()


def test_a_weak_stain_is_named():
    pixels = stained(PLANTED).reshape(-1, 3)
    target = StainProfile(unit(PLANTED), fit_stain(pixels).max_concentration * [1, 8])
    with pytest.raises(DegenerateStain, match=r"the second stain is too weak: 0\.1[23] of the target's strength"):
        fit_two_stains(pixels, "vahadane", target)
