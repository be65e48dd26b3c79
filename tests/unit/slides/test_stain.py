"""Stains against staintools and spams, and a matrix chosen beforehand."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from slide_files import plain, real_file, write_slide
from stained_slides import PLANTED, REGIONS, SLIDES, stained, unit

from ksfusion.core.errors import UserError
from ksfusion.slides import StainProfile, fit_stain, normalise_stain, stain_concentrations
from ksfusion.slides.config import FitStainSettings, Stain
from ksfusion.slides.stain.profiles import profile_of, read_profiles
from ksfusion.slides.stain.reinhard import ColourProfile, fit_colour, normalise_colour
from ksfusion.slides.stain.target import load_target
from ksfusion.slides.stain.vahadane import DegenerateStain, optical_density
from ksfusion.stages.fit_stain import fit_stain as fit_stain_of_slides
from ksfusion.stages.fit_stain_target import fit_stain_target


def region(name):
    return np.asarray(Image.open(real_file(name)).convert("RGB"))


def degrees_apart(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(axis=1), -1, 1)))


def share_of_pixels_within_one(a, b):
    """Return the share of the pixels whose three values all differ by one grey level at most."""
    return (np.abs(a.astype(int) - b).max(axis=-1) <= 1).mean()


class TestFit:
    def test_recovers_a_planted_matrix(self):
        profile = fit_stain(stained(PLANTED))
        # The penalty pulls the atoms a little towards each other.
        assert degrees_apart(profile.matrix, unit(PLANTED)).max() < 3
        assert np.allclose(np.linalg.norm(profile.matrix, axis=1), 1)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", REGIONS)
    def test_agrees_with_staintools(self, name):
        from staintools.stain_extraction.vahadane_stain_extractor import VahadaneStainExtractor

        rgb = region(name)
        # Staintools stops after one second, wherever it is then: on a busy machine some tenths of a degree away.
        assert degrees_apart(fit_stain(rgb).matrix, VahadaneStainExtractor.get_stain_matrix(rgb.copy())).max() < 0.5

    @pytest.mark.slow
    def test_is_as_good_as_much_more_work(self):
        import spams

        rgb = region(REGIONS[0])
        density = optical_density(rgb.reshape(-1, 3)[(rgb.mean(axis=2) < 190).ravel()])
        long = spams.trainDL(
            np.asfortranarray(density.T), K=2, lambda1=0.1, mode=2, modeD=0, posAlpha=True, posD=True, verbose=False,
            iter=4000, batchsize=512, numThreads=1,
        ).T  # fmt: skip

        def objective(matrix):
            coefficients = stain_concentrations(density, unit(matrix), 0.1)
            return (((density - coefficients @ unit(matrix)) ** 2).sum(1) / 2 + 0.1 * coefficients.sum(1)).mean()

        assert objective(fit_stain(rgb).matrix) <= objective(long) * 1.001

    def test_is_repeatable_and_leaves_its_input(self):
        rgb = stained(PLANTED)
        rgb[:5] = 0
        before = rgb.copy()
        first, second = fit_stain(rgb), fit_stain(rgb)
        assert np.array_equal(first.matrix, second.matrix)
        assert np.array_equal(first.max_concentration, second.max_concentration)
        assert np.array_equal(rgb, before)

    def test_refuses_what_holds_no_two_stains(self):
        with pytest.raises(DegenerateStain, match="pixels of tissue"):
            fit_stain(plain(100, 100, (250, 250, 250)))
        with pytest.raises(DegenerateStain):
            fit_stain(plain(100, 100))


class TestConcentrations:
    @pytest.mark.parametrize("regularizer", [0.01, 0.1])
    def test_equal_spams(self, regularizer):
        import spams

        random = np.random.default_rng(0)
        # Everything a pixel may be: within the two stains, beyond either, and none.
        density = np.concatenate(
            [random.uniform(0, 3, (20000, 3)), random.uniform(0, 0.02, (2000, 3)), np.zeros((1, 3))]
        )
        for matrix in (unit(PLANTED), unit(random.uniform(0, 1, (2, 3))), np.eye(3)[:2]):
            expected = spams.lasso(
                np.asfortranarray(density.T), D=np.asfortranarray(matrix.T), mode=2, lambda1=regularizer, pos=True
            ).toarray()
            assert np.abs(stain_concentrations(density, matrix, regularizer) - expected.T).max() < 1e-4

    def test_by_hand(self):
        # At right angles each stain is its own share less the penalty, and never negative.
        density = np.array([[1.0, 0.5, 0.0], [0.005, 2.0, 9.0], [0.0, 0.0, 1.0]])
        expected = [[0.99, 0.49], [0.0, 1.99], [0.0, 0.0]]
        assert np.allclose(stain_concentrations(density, np.eye(3)[:2]), expected)

    def test_of_vectors_with_a_blunt_angle(self):
        from scipy.optimize import minimize

        matrix, density = (
            unit(np.array([[1.0, 0.2, 0.1], [-0.6, 1.0, 0.1]])),
            np.random.default_rng(0).normal(0, 1, (40, 3)),
        )
        for row, found in zip(density, stain_concentrations(density, matrix), strict=True):
            best = minimize(
                lambda a, row=row: ((row - a @ matrix) ** 2).sum() / 2 + 0.01 * a.sum(), [0.1, 0.1],
                bounds=[(0, None)] * 2, tol=1e-12,
            ).x  # fmt: skip
            assert np.allclose(found, best, atol=1e-4)


class TestNormalise:
    @pytest.mark.slow
    @pytest.mark.parametrize(("source", "target"), [REGIONS, REGIONS[::-1]])
    def test_equals_staintools(self, source, target):
        from staintools.stain_normalizer import StainNormalizer

        rgb, source_profile, target_profile = region(source), fit_stain(region(source)), fit_stain(region(target))
        theirs = StainNormalizer("vahadane")
        theirs.fit(region(target).copy())
        theirs.extractor = type("Fixed", (), {"get_stain_matrix": staticmethod(lambda _: source_profile.matrix)})
        theirs.stain_matrix_target = target_profile.matrix
        theirs.maxC_target = target_profile.max_concentration.reshape(1, 2)
        expected = theirs.transform(rgb.copy())
        ours = normalise_stain(torch.from_numpy(rgb.copy())[None], source_profile, target_profile)[0].numpy()
        assert share_of_pixels_within_one(ours, expected) >= 0.999

    def test_keeps_white_white_and_its_input(self):
        profile = StainProfile(unit(PLANTED), np.array([1.5, 1.0]))
        rgb = torch.full((2, 8, 8, 3), 255, dtype=torch.uint8)
        rgb[0, 0] = 0
        before = rgb.clone()
        result = normalise_stain(rgb, profile, profile)
        assert result.shape == rgb.shape and result.dtype == torch.uint8
        assert torch.equal(rgb, before)
        assert (result[1] == 255).all()

    def test_brings_a_slide_to_the_targets_colours(self):
        other = np.array([[0.50, 0.75, 0.43], [0.25, 0.88, 0.40]])
        rgb, expected = stained(PLANTED), stained(other)
        source = StainProfile(unit(PLANTED), np.array([2.0, 2.0]))
        target = StainProfile(unit(other), np.array([2.0, 2.0]))
        result = normalise_stain(torch.from_numpy(rgb)[None], source, target)[0].numpy()
        assert np.abs(result.astype(int) - expected).mean() < 2

    @pytest.mark.slow
    def test_of_a_batch_is_that_of_its_patches(self):
        profile = StainProfile(unit(PLANTED), np.array([1.5, 1.0]))
        target = load_target("builtin")
        patches = torch.from_numpy(np.stack([stained(PLANTED, side=224, seed=seed) for seed in range(3)]))
        whole = normalise_stain(patches, profile, target)
        assert all(torch.equal(whole[i], normalise_stain(patches[i : i + 1], profile, target)[0]) for i in range(3))


class TestOtherMethods:
    def test_macenko_is_that_of_staintools(self):
        from staintools.stain_extraction.macenko_stain_extractor import MacenkoStainExtractor

        rgb = region(REGIONS[0])
        expected = MacenkoStainExtractor.get_stain_matrix(rgb.copy())
        # Ours looks at every fifth pixel of tissue.
        assert degrees_apart(fit_stain(rgb, "macenko").matrix, expected).max() < 0.5

    def test_reinhard_is_that_of_staintools(self):
        from staintools.reinhard_color_normalizer import ReinhardColorNormalizer

        source, target = region(REGIONS[0]), region(REGIONS[1])
        theirs = ReinhardColorNormalizer()
        theirs.fit(target)
        expected = theirs.transform(source)
        # Theirs takes the statistics of the whole image, ours of its tissue.
        whole = [ColourProfile(*(np.ravel(values) for values in theirs.get_mean_std(rgb))) for rgb in (source, target)]
        ours = normalise_colour(torch.from_numpy(source.copy())[None], *whole)[0].numpy()
        assert share_of_pixels_within_one(ours, expected) >= 0.999

    def test_reinhard_gives_the_targets_mean_and_spread(self):
        source, target = stained(PLANTED, side=448), ColourProfile(np.array([60.0, 20, -15]), np.array([5.0, 4, 3]))
        brought = normalise_colour(torch.from_numpy(source)[None], fit_colour(source), target)[0].numpy()
        result = fit_colour(brought)
        assert np.abs(result.mean - target.mean).max() < 1 and np.abs(result.std - target.std).max() < 1

    def test_reinhard_refuses_what_has_one_colour(self):
        with pytest.raises(DegenerateStain):
            fit_colour(plain(100, 100))
        with pytest.raises(DegenerateStain, match="pixels of tissue"):
            fit_colour(plain(100, 100, (250, 250, 250)))


class TestTarget:
    def test_builtin_is_haematoxylin_and_eosin(self):
        target = load_target("builtin")
        assert np.allclose(np.linalg.norm(target.matrix, axis=1), 1)
        assert target.matrix[0, 0] > target.matrix[1, 0]  # haematoxylin absorbs more red
        assert (target.max_concentration > 0).all()

    def test_round_trip(self, tmp_path):
        Image.fromarray(stained(PLANTED)).save(tmp_path / "region.png")
        fit_stain_target([tmp_path / "region.png"], tmp_path / "target.json")
        target = load_target(str(tmp_path / "target.json"))
        assert degrees_apart(target.matrix, unit(PLANTED)).max() < 3
        assert json.loads((tmp_path / "target.json").read_text())["provenance"]["images"][0]["name"] == "region.png"

    @pytest.mark.parametrize(
        "content",
        ["not json", "{}", '{"matrix": [[1, 0, 0], [1, 0, 0]], "max_concentration": [1, 1]}',
         '{"matrix": [[1, 0, 0], [0, 1, 0]], "max_concentration": [0, 1]}'],
    )  # fmt: skip
    def test_of_no_use(self, tmp_path, content):
        (tmp_path / "t.json").write_text(content)
        with pytest.raises(UserError, match="must hold matrix"):
            load_target(str(tmp_path / "t.json"))

    def test_absent(self, tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load_target(str(tmp_path / "none.json"))


class TestBatch:
    @pytest.fixture
    def batch(self, tmp_path):
        """Two slides of known stain and one of none, of four tiles each, and one that failed before."""
        pictures = {"stained": stained(PLANTED, side=448), "flat": plain(448, 448), "failed": None}
        rows = []
        for slide_id, rgb in pictures.items():
            if rgb is None:
                rows.append((slide_id, "failed", "no_tissue", -1, -1))
            else:
                write_slide(tmp_path / f"{slide_id}.tiff", rgb, 0.5, compression="deflate")
                rows += [(slide_id, "ok", "", x, y) for y in (0, 224) for x in (0, 224)]
        paths = [str(tmp_path / f"{slide_id}.tiff") for slide_id in pictures]
        pd.DataFrame({"slide_id": list(pictures), "slide": paths, "mpp": np.nan}).to_csv(
            tmp_path / "samples.tsv", sep="\t", index=False
        )
        table = pd.DataFrame(rows, columns=["slide_id", "status", "reason", "x", "y"]).assign(pen=False)
        table.to_parquet(tmp_path / "tiles.parquet")
        return tmp_path

    def fit(self, folder, slides=SLIDES, **stain):
        settings = FitStainSettings(slides=slides, stain=Stain(**stain))
        output = folder / "stain.parquet"
        fit_stain_of_slides(folder / "samples.tsv", folder / "tiles.parquet", output, settings=settings)
        return read_profiles(output)

    def test_fits_or_falls_back(self, batch):
        table = self.fit(batch)
        assert table["status"].to_dict() == {"failed": "failed", "flat": "fallback", "stained": "ok"}
        assert table.loc["failed", "reason"] == "no_tissue"
        fitted = profile_of(table.loc["stained"])
        assert degrees_apart(fitted.matrix, unit(PLANTED)).max() < 3
        assert fitted.n_pixels >= 100_000
        assert np.allclose(profile_of(table.loc["flat"]).matrix, load_target("builtin").matrix)

    @pytest.mark.slow
    def test_pools_100_000_pixels_where_the_tiles_hold_them(self, batch):
        # A twelfth of 64 tiles is tissue: 267,605 of 3,211,264 pixels.
        side = 8 * 224
        rgb = plain(side, side, (246, 240, 244))
        columns = slice(0, side, 12)
        rgb[:, columns] = stained(PLANTED, side=side)[:, columns]
        write_slide(batch / "stained.tiff", rgb, 0.5, compression="deflate")
        corners = [(x, y) for y in range(0, side, 224) for x in range(0, side, 224)]
        tiles = pd.DataFrame(corners, columns=["x", "y"]).assign(slide_id="stained", status="ok", reason="", pen=False)
        tiles.to_parquet(batch / "tiles.parquet")
        table = self.fit(batch)
        assert table.loc["stained", "status"] == "ok"
        assert 100_000 <= table.loc["stained", "n_pixels"] <= 200_000

    @pytest.mark.slow
    def test_tiles_under_ink_are_left_out(self, batch):
        rgb = stained(PLANTED, side=448)
        before = self.fit(batch).loc["stained"]
        rgb[:224, :224] = (20, 120, 60)
        write_slide(batch / "stained.tiff", rgb, 0.5, compression="deflate")
        tiles = pd.read_parquet(batch / "tiles.parquet")
        inked = (tiles["slide_id"] == "stained") & (tiles["x"] == 0) & (tiles["y"] == 0)
        tiles.assign(pen=inked).to_parquet(batch / "tiles.parquet")
        after = self.fit(batch).loc["stained"]
        assert degrees_apart(profile_of(after).matrix, profile_of(before).matrix).max() < 0.5
        tiles.to_parquet(batch / "tiles.parquet")
        taken = self.fit(batch).loc["stained"]
        assert degrees_apart(profile_of(taken).matrix, profile_of(before).matrix).max() > 2

    def test_a_slide_lost_meanwhile_fails_alone(self, batch):
        (batch / "flat.tiff").unlink()
        table = self.fit(batch)
        assert table.loc["flat", ["status", "reason"]].tolist() == ["failed", "missing_file"]
        assert table.loc["stained", "status"] == "ok"

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["macenko", "reinhard"])
    def test_of_another_method(self, batch, method):
        table = self.fit(batch, method=method)
        assert table["status"].to_dict() == {"failed": "failed", "flat": "fallback", "stained": "ok"}
        target = load_target("builtin", method)
        flat, fitted = profile_of(table.loc["flat"]), profile_of(table.loc["stained"])
        if method == "macenko":
            assert degrees_apart(fitted.matrix, unit(PLANTED)).max() < 6
            assert np.allclose(flat.matrix, target.matrix)
        else:
            assert np.allclose([flat.mean, flat.std], [target.mean, target.std])
            assert fitted.n_pixels >= 100_000

    @pytest.mark.slow
    def test_a_slide_that_hangs_fails_alone(self, batch):
        (batch / "flat.tiff").unlink()
        os.mkfifo(batch / "flat.tiff")
        table = self.fit(batch, SLIDES.model_copy(update={"timeout": 15}))
        assert table.loc["flat", ["status", "reason"]].tolist() == ["failed", "timeout"]
        assert table.loc["stained", "status"] == "ok"

    def test_none(self, batch):
        assert self.fit(batch, method="none")["status"].to_dict() == {"failed": "failed", "flat": "ok", "stained": "ok"}
