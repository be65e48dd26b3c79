"""From tiles to the store, end to end on small drawn slides."""

import hashlib
import json
import os
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from safetensors.torch import save_file
from sections import sample
from slide_files import write_slide
from stained_slides import PLANTED, SLIDES, stained
from stores import gather_store

from ksfusion.core.errors import UserError
from ksfusion.core.feature_store import open_store
from ksfusion.slides import build_encoder, normalise_stain, open_slide
from ksfusion.slides.config import Encoding, ExtractFeaturesSettings, FitStainSettings, Stain
from ksfusion.slides.features.cache import FeatureCache, made_of, slide_key
from ksfusion.slides.reading.fingerprint import file_digest
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.stain.profiles import profile_of, read_profiles
from ksfusion.slides.stain.target import load_target
from ksfusion.stages.extract_features import extract_features
from ksfusion.stages.fit_stain import fit_stain
from ksfusion.terms.flags import FLAGS

pytestmark = pytest.mark.slow

STAIN, NO_STAIN = Stain(), Stain(method="none")
ENCODING = Encoding(encoder="seeded-conv", batch_size=3)
TABLES = ("samples.tsv", "tiles.parquet", "stain.parquet", "patches.parquet")


class OneBad(torch.nn.Module):
    """An encoder of two features: the mean of a patch, and one value for the first patch of all it is given."""

    mean, std, input_px, n_features = (0.5,) * 3, (0.25,) * 3, None, 2

    def __init__(self, value):
        super().__init__()
        self._values = iter([value])

    def forward(self, patches):
        mean = patches.mean(dim=(1, 2, 3))
        # Slides come in order of their ids: few has two patches, many four.
        bad = torch.zeros_like(mean)
        if len(patches) == 3:
            bad[0] = next(self._values)
        return torch.stack([mean, bad], dim=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A slide of 9 tiles at 0.25 um/px, one of 2 at 0.5, and one that failed; 4 patches each."""
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "many.tiff", stained(PLANTED, side=1344), 0.25)
    write_slide(folder / "few.tiff", stained(PLANTED, side=448, seed=1)[:224], 0.5)
    rows = [("many", "ok", "", n, n % 3 * 448, n // 3 * 448, 0.25) for n in range(9)]
    rows += [("few", "ok", "", n, n * 224, 0, 0.5) for n in range(2)]
    rows += [("gone", "failed", "no_tissue", -1, -1, -1, 0.5)]
    columns = ["slide_id", "status", "reason", "tile", "x", "y", "mpp"]
    tiles = pd.DataFrame(rows, columns=columns).assign(**dict.fromkeys(FLAGS, False), digest="")
    tiles.to_parquet(folder / "tiles.parquet")
    names = ["many", "few", "gone"]
    paths = [str(folder / f"{name}.tiff") for name in names]
    pd.DataFrame({"slide_id": names, "slide": paths, "mpp": np.nan}).to_csv(
        folder / "samples.tsv", sep="\t", index=False
    )
    samples, tiles, stain, patches = (folder / name for name in TABLES)
    fit_stain(samples, tiles, stain, settings=FitStainSettings(slides=SLIDES, stain=STAIN))
    sample(tiles, patches)
    return folder


def copied(cohort, folder):
    """Copy a cohort that a test will damage."""
    shutil.copytree(cohort, folder / "copy")
    table = (folder / "copy" / "samples.tsv").read_text()
    (folder / "copy" / "samples.tsv").write_text(table.replace(str(cohort), str(folder / "copy")))
    return folder / "copy"


def damage_middle_tile(path):
    """Overwrite a tile in the middle of a TIFF with zeros."""
    with tifffile.TiffFile(path) as file:
        middle = len(file.pages[0].dataoffsets) // 2 - 4
        offset, size = file.pages[0].dataoffsets[middle], file.pages[0].databytecounts[middle]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(size))


def settings_of(stain=STAIN, slides=SLIDES, **features):
    return ExtractFeaturesSettings(slides=slides, stain=stain, features=ENCODING.model_copy(update=features))


def extract(cohort, output, *, threads=2, **changes):
    samples, tiles, stain, patches = (cohort / name for name in TABLES)
    settings = settings_of(**changes)
    extract_features(samples, tiles, stain, patches, output, threads=threads, settings=settings, device="cpu")
    return output


@pytest.fixture(scope="module")
def extracted(cohort):
    return extract(cohort, cohort / "features.h5")


class TestExtract:
    def test_each_tile_once_in_map_order(self, extracted):
        with h5py.File(extracted) as file:
            # Of nine tiles for four patches: i * 9 / 4 = 0, 2.25, 4.5, 6.75, so 0, 2, 4, 7. Of two: 0, 1, 0, 1.
            assert file["many"]["coords"][:].tolist() == [[0, 0], [896, 0], [448, 448], [448, 896]]
            assert file["many"]["index"][:].tolist() == [0, 1, 2, 3]
            assert file["few"]["coords"][:].tolist() == [[0, 0], [224, 0]]
            assert file["few"]["index"][:].tolist() == [0, 1, 0, 1]
            assert file["many"]["features"].dtype == np.float16 and file["many"].attrs["mpp"] == 0.25
            assert len(file["many"].attrs["key"]) == 32
            assert dict(file["gone"].attrs) == {"status": "failed", "reason": "no_tissue", "mpp": 0.5}
            assert len(file["gone"]) == 0
            assert "code" in file.attrs["ksfusion"]

    def test_is_what_the_parts_give(self, cohort, extracted):
        encoder = build_encoder("seeded-conv")
        profile = profile_of(read_profiles(cohort / "stain.parquet").loc["many"])
        with open_slide(cohort / "many.tiff") as slide:
            rgb = torch.from_numpy(slide.read(448, 896, 224, 0.5))
        normalised = normalise_stain(rgb[None], profile, load_target("builtin"))
        patch = normalised.permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            expected = encoder((patch - 0.5) / 0.25)[0]
        with h5py.File(extracted) as file:
            # float16 keeps eleven bits.
            assert np.allclose(file["many"]["features"][3], expected, rtol=2**-10, atol=2e-3)

    @pytest.mark.parametrize("threads", [1, 3])
    def test_same_bytes_whatever_the_threads(self, cohort, extracted, tmp_path, threads):
        assert extract(cohort, tmp_path / "again.h5", threads=threads).read_bytes() == extracted.read_bytes()

    def test_without_normalisation_differs(self, cohort, extracted, tmp_path):
        plain = extract(cohort, tmp_path / "plain.h5", stain=NO_STAIN)
        with h5py.File(plain) as a, h5py.File(extracted) as b:
            assert not np.allclose(a["few"]["features"], b["few"]["features"], atol=0.01)

    def test_a_broken_tile_fails_its_slide_alone(self, cohort, tmp_path, caplog):
        project = copied(cohort, tmp_path)
        damage_middle_tile(project / "many.tiff")
        with h5py.File(extract(project, project / "f.h5", batch_size=1)) as file:
            assert file["many"].attrs["status"] == "failed" and file["many"].attrs["reason"] == "unreadable"
            assert len(file["many"]) == 0
            assert file["few"]["features"].shape == (2, 192)
        assert "many\tunreadable: " in caplog.text

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("value", "precision", "remedy"),
        [
            (1e6, "float16", "set features.precision to bfloat16 or float32"),
            (1e6, "float32", "beyond 65504, the largest number that is stored"),
            (float("nan"), "float32", "weights may be damaged"),
        ],
    )
    def test_features_that_are_not_finite_fail_their_slide(
        self, cohort, tmp_path, caplog, monkeypatch, value, precision, remedy
    ):
        """One patch of the slide with nine tiles; the other slide is as it was."""
        monkeypatch.setattr("ksfusion.slides.encoders.build.build_encoder", lambda *_, **__: OneBad(value))
        with h5py.File(extract(cohort, tmp_path / "f.h5", precision=precision)) as file:
            assert dict(file["many"].attrs) == {"status": "failed", "reason": "not_finite", "mpp": 0.25}
            assert len(file["many"]) == 0
            assert np.isfinite(file["few"]["features"]).all() and file["few"].attrs["status"] == "ok"
        assert "many\tnot_finite: 1 of 4 patches have features that are no finite numbers" in caplog.text
        assert f"features.precision {precision}" in caplog.text and remedy in caplog.text

    def test_weights_that_are_not_finite_fail_every_slide(self, cohort, tmp_path, caplog):
        import timm

        weights = timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=0).state_dict()
        weights["norm.weight"][3] = float("nan")
        save_file(weights, tmp_path / "vit.safetensors")
        named = {"encoder": "timm:test_vit.r160_in1k", "weights": str(tmp_path / "vit.safetensors")}
        slides = SLIDES.model_copy(update={"patch_px": 160})
        with h5py.File(extract(cohort, tmp_path / "f.h5", slides=slides, **named)) as file:
            assert {name: group.attrs["reason"] for name, group in file.items()} == {
                "few": "not_finite",
                "gone": "no_tissue",
                "many": "not_finite",
            }
        assert "few\tnot_finite: 2 of 2 patches" in caplog.text

    def test_a_slide_that_hangs_fails_alone(self, cohort, tmp_path):
        project = copied(cohort, tmp_path)
        (project / "many.tiff").unlink()
        # Opening a pipe that nobody writes to never returns.
        os.mkfifo(project / "many.tiff")
        with h5py.File(
            extract(project, project / "f.h5", slides=SLIDES.model_copy(update={"timeout": 10}), threads=2)
        ) as file:
            assert file["many"].attrs["reason"] == "timeout"
            assert file["few"]["features"].shape == (2, 192)

    def test_an_error_of_ours_is_raised_and_leaves_no_file(self, cohort, tmp_path):
        project, output = copied(cohort, tmp_path), tmp_path / "out" / "f.h5"
        patches = pd.read_parquet(project / "patches.parquet")
        patches.astype({"x": str}).to_parquet(project / "patches.parquet")
        with pytest.raises(RuntimeError, match="TypeError"):
            extract(project, output)
        assert not output.parent.exists() or list(output.parent.iterdir()) == []

    def test_an_encoder_of_another_size(self, cohort, tmp_path):
        import timm

        model = timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=0)
        save_file(model.state_dict(), tmp_path / "vit.safetensors")
        with pytest.raises(UserError, match=r"patch_px"):
            extract(
                cohort, tmp_path / "f.h5", encoder="timm:test_vit.r160_in1k", weights=str(tmp_path / "vit.safetensors")
            )


@pytest.fixture
def encoded(caplog):
    """Return a function that tells which slides were encoded since it was last asked."""
    caplog.set_level("INFO")

    def names():
        lines = [line for line in caplog.messages if "patches" in line]
        caplog.clear()
        return [line.split("\t")[0] for line in lines]

    return names


class TestCache:
    @pytest.mark.slow
    def test_a_killed_job_goes_on(self, cohort, extracted, tmp_path, monkeypatch, encoded):
        keep = FeatureCache.keep

        def keep_and_die(self, slide_id, *rest):
            keep(self, slide_id, *rest)
            raise KeyboardInterrupt

        monkeypatch.setattr(FeatureCache, "keep", keep_and_die)
        with pytest.raises(KeyboardInterrupt):
            extract(cohort, tmp_path / "f.h5")
        assert not (tmp_path / "f.h5").exists()
        monkeypatch.undo()
        encoded()
        assert extract(cohort, tmp_path / "f.h5").read_bytes() == extracted.read_bytes()
        assert encoded() == ["many"]
        assert sorted(path.name for path in tmp_path.iterdir()) == [".f.kept.h5", ".f.timing.tsv", "f.h5"]

    def test_a_new_slide_leaves_its_neighbours(self, cohort, extracted, tmp_path, encoded):
        project = copied(cohort, tmp_path)
        patches = pd.read_parquet(project / "patches.parquet")
        patches[patches["slide_id"] != "few"].to_parquet(project / "patches.parquet")
        extract(project, project / "f.h5").unlink()  # as Snakemake does before it runs the job again
        patches.to_parquet(project / "patches.parquet")
        encoded()
        result = extract(project, project / "f.h5")
        assert encoded() == ["few"]
        with h5py.File(result) as file, h5py.File(extracted) as whole:
            assert np.array_equal(file["many"]["features"], whole["many"]["features"])

    @pytest.mark.slow
    def test_what_made_them_decides(self, cohort, tmp_path, encoded):
        project = copied(cohort, tmp_path)
        changes = [
            ({}, ["few", "many"]),
            ({}, []),
            ({"slides": SLIDES.model_copy(update={"timeout": 61})}, []),
            ({"stain": NO_STAIN}, ["few", "many"]),
            ({"batch_size": 2, "stain": NO_STAIN}, ["few", "many"]),
        ]
        for options, expected in changes:
            extract(project, project / "f.h5", **options)
            assert encoded() == expected
        write_slide(project / "few.tiff", stained(PLANTED, side=448, seed=2)[:224], 0.5)
        extract(project, project / "f.h5", batch_size=2, stain=NO_STAIN)
        assert encoded() == ["few"]

    @pytest.mark.slow
    def test_a_file_replaced_by_one_of_the_same_size(self, cohort, tmp_path, encoded):
        project = copied(cohort, tmp_path)
        tiles, sizes = pd.read_parquet(project / "tiles.parquet"), set()
        for seed, expected in ((1, ["few", "many"]), (2, ["few"])):
            path = write_slide(project / "few.tiff", stained(PLANTED, side=448, seed=seed)[:224], 0.5, compression=None)
            sizes.add(path.stat().st_size)
            digest = file_digest(path)
            tiles.assign(digest=tiles["digest"].mask(tiles["slide_id"] == "few", digest)).to_parquet(
                project / "tiles.parquet"
            )
            extract(project, project / "f.h5", stain=NO_STAIN)
            assert encoded() == expected
        assert len(sizes) == 1

    def test_the_recipe_of_a_key(self, cohort, extracted):
        """Where code has moved and computes the same, keys of finished files are computed anew: by this recipe."""
        with h5py.File(extracted) as file:
            code, key = json.loads(file.attrs["ksfusion"])["code"], file["few"].attrs["key"]
        path, target = cohort / "few.tiff", load_target("builtin")
        identity = {
            "code": code,
            "device": "cpu",
            "slides": {"reader": "auto", "icc": "none", "mpp": 0.5, "patch_px": 224, "max_upsampling": 1.1},
            "stain": {"method": "vahadane", "target": [target.matrix.tolist(), target.max_concentration.tolist()]},
            "features": {
                "encoder": "seeded-conv", "weights": None, "batch_size": 3, "precision": "float32", "compile": False
            },
            "slide": [str(path), None, path.stat().st_size, ""],
        }  # fmt: skip
        profile = profile_of(read_profiles(cohort / "stain.parquet").loc["few"])
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode())
        for array in (np.array([[0, 0], [224, 0]], np.int32), profile.matrix, profile.max_concentration):
            digest.update(array.tobytes())
        assert key == digest.hexdigest()[:32]
        shared = made_of(settings_of(), target, code=code, device="cpu")
        corners = np.array([[0, 0], [224, 0]], np.int32)
        assert slide_key(shared, SlideSource(str(path), None), "", corners, profile) == key

    def test_what_is_kept_is_found_without_loading_it(self, tmp_path):
        cache = FeatureCache(tmp_path / "f.h5")
        assert ("a", "key") not in cache and cache.find("a", "key") is None
        cache.keep("a", "key", np.eye(3))
        assert ("a", "key") in cache and ("a", "other") not in cache
        assert np.array_equal(cache.find("a", "key"), np.eye(3))


class TestStore:
    def write(self, path, slides, settings="{}", count=4):
        with h5py.File(path, "w") as file:
            file.attrs["ksfusion"] = f'{{"settings": {settings}}}'
            for slide_id, features in slides.items():
                group = file.create_group(slide_id)
                group.attrs["status"] = "failed" if features is None else "ok"
                if features is not None:
                    group["features"] = np.asarray(features, dtype=np.float16)
                    group["index"] = np.arange(count, dtype=np.int32) % len(features)
        return path

    def test_of_extracted_features(self, extracted, tmp_path):
        gather_store([extracted], tmp_path / "store")
        store = open_store(tmp_path / "store")
        assert store.slide_ids == ("few", "many")
        assert isinstance(store.features, np.memmap)
        with h5py.File(extracted) as file:
            for position, slide_id in enumerate(store.slide_ids):
                expected = file[slide_id]["features"][:][file[slide_id]["index"][:]]
                assert np.array_equal(store.patches(position), expected)

    def test_offsets_by_hand(self, tmp_path):
        first = self.write(tmp_path / "0.h5", {"c": [[5, 5]], "x": None})
        second = self.write(tmp_path / "1.h5", {"a": [[1, 1], [2, 2]], "b": [[3, 3], [4, 4]]})
        gather_store([first, second], tmp_path / "store")
        gather_store([second, first], tmp_path / "again")
        store = open_store(tmp_path / "store")
        assert store.slide_ids == ("a", "b", "c")
        assert store.offsets.tolist() == [0, 2, 4] and store.n_unique.tolist() == [2, 2, 1]
        assert store.features[:, 0].tolist() == [1, 2, 3, 4, 5]
        assert store.rows(1).tolist() == [2, 3, 2, 3]
        for path in (tmp_path / "store").iterdir():
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()

    @pytest.mark.parametrize(
        ("second", "options", "message"),
        [
            ({"a": [[1, 1]]}, {}, "slide a is in"),
            ({"b": [[1, 1, 1]]}, {}, "slide a has 2 features a patch, slide b has 3 features a patch; all must"),
            ({"b": [[1, 1]]}, {"count": 9}, "different settings"),
            ({"b": [[1, 1]]}, {"settings": '{"mpp": 1}'}, "different settings"),
        ],
    )
    def test_files_that_do_not_belong_together(self, tmp_path, second, options, message):
        paths = [self.write(tmp_path / "0.h5", {"a": [[0, 0]]}), self.write(tmp_path / "1.h5", second, **options)]
        with pytest.raises(UserError, match=message):
            gather_store(paths, tmp_path / "store")

    def test_no_slide_came_through(self, tmp_path):
        with pytest.raises(UserError, match="no slide came through"):
            gather_store([self.write(tmp_path / "0.h5", {"x": None})], tmp_path / "store")
