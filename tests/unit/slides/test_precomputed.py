"""Features of other tools: files laid out by hand as TRIDENT, CLAM and STAMP write them, and those written for them."""

import os

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sections import sample
from stores import gather_store

from ksfusion.core.errors import UserError
from ksfusion.core.feature_store import open_store
from ksfusion.core.ids import batch_of
from ksfusion.slides.config import FeatureFiles, ImportFeaturesSettings, ImportTilesSettings
from ksfusion.slides.features.export import nominal_magnification
from ksfusion.stages.export_features import export_features
from ksfusion.stages.import_features import import_features
from ksfusion.stages.import_tiles import import_tiles

# Six tiles of a 3 x 2 grid in an order that is not the raster's, and their numbers in raster order.
CORNERS = [[448, 0], [0, 0], [448, 448], [0, 448], [896, 0], [896, 448]]
RASTER = [1, 0, 4, 3, 2, 5]
VECTORS = np.arange(24, dtype=np.float32).reshape(6, 4) / 8


def write_trident(path, features=VECTORS, corners=CORNERS):
    """Write what TRIDENT's `extract_patch_features` saves."""
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "features", data=features, chunks=(1, *features.shape[1:]), maxshape=(None, *features.shape[1:])
        )
        file["features"].attrs.update({"name": path.stem, "savetodir": "features_uni_v1", "encoder": "uni_v1"})
        file.create_dataset("coords", data=np.asarray(corners, dtype=np.int64))
        file["coords"].attrs.update(
            {
                "patch_size": 224,
                "patch_size_level0": 448,
                "level0_magnification": 40,
                "target_magnification": 20,
                "overlap": 0,
                "name": path.stem,
                "savetodir": "coords",
                "level0_width": 1400,
                "level0_height": 900,
            }
        )


def write_clam(path, features=VECTORS, corners=CORNERS):
    """Write what CLAM's `extract_features_fp.py` saves."""
    path = path.parent / "h5_files" / path.name
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "features", data=features, chunks=(2, features.shape[1]), maxshape=(None, features.shape[1])
        )
        file.create_dataset("coords", data=np.asarray(corners, dtype=np.int32), maxshape=(None, 2), chunks=(2, 2))


def write_stamp(path, features=VECTORS, corners=CORNERS):
    """Write what STAMP's `preprocess` saves; its corners are in micrometres, here at 0.25 um/px."""
    with h5py.File(path, "w") as file:
        file["feats"] = features.astype(np.float16)
        file["coords"] = np.asarray(corners, dtype=np.float32) / 4
        file.attrs.update({"stamp_version": "2.4.0", "extractor": "uni2", "unit": "um", "feat_type": "tile"})
        file.attrs.update({"tile_size_um": 112.0, "tile_size_px": 224})


WRITERS = {"trident": write_trident, "clam": write_clam, "stamp": write_stamp}


def take(folder, slide_ids, count=4, min_tiles=2):
    """Import the slides of a folder, all in one batch; return the tables and the file of features."""
    names = {"slide_id": slide_ids, "slide": "", "mpp": [0.25, *[""] * (len(slide_ids) - 1)]}
    pd.DataFrame(names).to_csv(folder / "samples.tsv", sep="\t", index=False)
    tiles, patches, features = (folder / name for name in ("tiles.parquet", "patches.parquet", "features.hdf5"))
    settings = ImportTilesSettings(batches=1, path=str(folder), min_tiles=min_tiles, timeout=15)
    import_tiles(folder / "samples.tsv", tiles, batch=0, settings=settings)
    sample(tiles, patches, count=count)
    files = FeatureFiles(source="precomputed", path=str(folder))
    import_features(tiles, patches, features, settings=ImportFeaturesSettings(features=files))
    return pd.read_parquet(tiles), features


@pytest.mark.parametrize("layout", WRITERS)
def test_chosen_in_raster_order(tmp_path, layout):
    WRITERS[layout](tmp_path / "a.h5")
    tiles, features = take(tmp_path, ["a"])
    # Of six tiles for four patches: i * 6 / 4 = 0, 1.5, 3, 4.5, rounded half to even: 0, 2, 3, 4.
    expected = [RASTER[number] for number in (0, 2, 3, 4)]
    scale = 4 if layout == "stamp" else 1
    with h5py.File(features) as file:
        assert np.array_equal(file["a/features"], VECTORS[expected]) and file["a/features"].dtype == np.float16
        assert (file["a/coords"][:] * scale).tolist() == [CORNERS[row] for row in expected]
        assert file["a/index"][:].tolist() == [0, 1, 2, 3]
        assert dict(file["a"].attrs) == {
            "status": "ok",
            "reason": "",
            "mpp": 0.25,
            "unit": "um" if layout == "stamp" else "px",
        }
    assert (tiles["x"] * scale).tolist() == [0, 448, 896] * 2 and tiles["tile"].tolist() == list(range(6))
    size = [1400, 900] if layout == "trident" else [0, 0]
    assert tiles[["width", "height"]].iloc[0].tolist() == size


def test_too_few_tiles_for_the_map_are_repeated(tmp_path):
    write_trident(tmp_path / "a.h5")
    with h5py.File(take(tmp_path, ["a"], count=16)[1]) as file:
        assert np.array_equal(file["a/features"], VECTORS[RASTER])
        assert file["a/index"][:].tolist() == [0, 1, 2, 3, 4, 5] * 2 + [0, 1, 2, 3]


def test_a_leading_axis_of_one(tmp_path):
    write_trident(tmp_path / "a.h5", VECTORS[None], [CORNERS])
    with h5py.File(take(tmp_path, ["a"])[1]) as file:
        assert np.array_equal(file["a/features"][0], VECTORS[1])


def with_value(value):
    changed = VECTORS.copy()
    changed[5, 2] = value
    return changed


BROKEN = {
    "missing_file": lambda path: None,
    "empty": lambda path: path.touch(),
    "not_hdf5": lambda path: path.write_text("features"),
    "no_features": lambda path: h5py.File(path, "w").close(),
    "a_group": lambda path: h5py.File(path, "w").create_group("features").file.close(),
    "slide_vector": lambda path: write_trident(path, VECTORS[0]),
    "other_lengths": lambda path: write_trident(path, VECTORS[:4]),
    "integers": lambda path: write_trident(path, VECTORS.astype(np.int32)),
    "nan": lambda path: write_trident(path, with_value(np.nan)),
    "beyond_float16": lambda path: write_trident(path, with_value(1e6)),
    "endless_coords": lambda path: write_stamp(path, corners=np.full((6, 2), np.inf)),
    "too_few_tiles": lambda path: write_trident(path, VECTORS[:1], CORNERS[:1]),
    "no_tiles": lambda path: write_trident(path, VECTORS[:0], np.zeros((0, 2))),
}


def write_datasets(path, features, coords, **attributes):
    """Write datasets that claim a shape and hold nothing."""
    with h5py.File(path, "w") as file:
        for name, shape in (("features", features), ("coords", coords)):
            kind = "f4" if name == "features" else "i8"
            file.create_dataset(name, shape, kind, chunks=tuple(min(side, 1024) for side in shape))
        file["coords"].attrs.update(attributes)


def damage_compressed(path):
    """Overwrite the middle of the compressed features."""
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=np.random.default_rng(0).random((6, 4096), np.float32), compression=1)
        file["coords"] = np.array(CORNERS)
        chunk = file["features"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(bytes(16))


BROKEN |= {
    "a_vector_of_terabytes": lambda path: write_datasets(path, (6, 10**12), (6, 2)),
    "a_trillion_tiles": lambda path: write_datasets(path, (10**12, 4), (10**12, 2)),
    "a_damaged_block": damage_compressed,
    "a_pipe": os.mkfifo,
}
REASONS = {
    "a_pipe": "timeout",
    "missing_file": "missing_file",
    "too_few_tiles": "too_few_tiles",
    "no_tiles": "too_few_tiles",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN)
def test_a_bad_file_fails_alone(tmp_path, caplog, fault):
    write_trident(tmp_path / "good.h5")
    BROKEN[fault](tmp_path / "bad.h5")
    tiles, features = take(tmp_path, ["good", "bad"])
    reason = REASONS.get(fault, "unreadable")
    with h5py.File(features) as file:
        assert file["good"].attrs["status"] == "ok" and file["good/features"].shape == (4, 4)
        assert (file["bad"].attrs["status"], file["bad"].attrs["reason"], len(file["bad"])) == ("failed", reason, 0)
    told = "not done after" if reason == "timeout" else f"{tmp_path}/bad.h5"
    assert f"bad\t{reason}: {told}" in caplog.text
    if fault not in ("nan", "beyond_float16", "a_damaged_block"):  # values are looked at when they are taken
        assert tiles.set_index("slide_id").loc["bad", ["status", "reason", "tile"]].tolist() == ["failed", reason, -1]


def test_a_size_that_no_slide_has_is_not_known(tmp_path):
    write_datasets(tmp_path / "a.h5", (6, 4), (6, 2), level0_width=2**40, level0_height=-3)
    assert take(tmp_path, ["a"])[0][["width", "height"]].iloc[0].tolist() == [0, 0]


def test_a_truncated_file(tmp_path):
    write_trident(tmp_path / "a.h5")
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: len(whole) // 2])
    with h5py.File(take(tmp_path, ["a"])[1]) as file:
        assert file["a"].attrs["reason"] == "unreadable"


def test_encoders_that_differ_between_slides(tmp_path):
    write_trident(tmp_path / "a.h5")
    write_trident(tmp_path / "b.h5", np.zeros((6, 3), dtype=np.float32))
    _, features = take(tmp_path, ["a", "b"])
    with pytest.raises(UserError, match="slide b has 3 features a patch, slide a has 4 features a patch"):
        gather_store([features], tmp_path / "store")


def test_a_batch_has_its_own_slides(tmp_path):
    for name in "abcdefgh":
        write_trident(tmp_path / f"{name}.h5")
    pd.DataFrame({"slide_id": list("abcdefgh"), "slide": ""}).to_csv(tmp_path / "s.tsv", sep="\t", index=False)
    settings = ImportTilesSettings(batches=3, path=str(tmp_path), min_tiles=1)
    import_tiles(tmp_path / "s.tsv", tmp_path / "1.parquet", batch=1, settings=settings)
    expected = {name for name in "abcdefgh" if batch_of(name, 3) == 1}
    assert set(pd.read_parquet(tmp_path / "1.parquet")["slide_id"]) == expected


class TestExport:
    @pytest.fixture
    def results(self, tmp_path):
        """Results of two slides, one of which failed; patches of 224 px at 0.5 um/px on a slide of 0.2462 um/px."""
        results = tmp_path / "results"
        (results / "features").mkdir(parents=True)
        with h5py.File(results / "features" / "3.h5", "w") as file:
            file.attrs["ksfusion"] = (
                '{"settings": {"slides": {"patch_px": 224, "mpp": 0.5}, "features": {"encoder": "uni"}}}'
            )
            file.create_group("bad").attrs.update({"status": "failed", "reason": "no_tissue", "mpp": 0.25})
            group = file.create_group("good")
            group.attrs.update({"status": "ok", "reason": "", "mpp": 0.2462})
            group["features"] = VECTORS[:3].astype(np.float16)
            group["coords"] = np.array([[0, 0], [455, 0], [910, 455]], dtype=np.int32)
            group["index"] = np.array([0, 1, 2, 0], dtype=np.int32)
        # What a batch keeps for its next run is no second batch.
        (results / "features" / ".3.kept.h5").hardlink_to(results / "features" / "3.h5")
        ledger = pd.DataFrame({"slide_id": ["bad", "good"], "width": [0, 2000], "height": [0, 1500]})
        ledger.to_csv(results / "slides.tsv", sep="\t", index=False)
        return results

    def test_trident(self, results, tmp_path, caplog):
        caplog.set_level("INFO")
        export_features("trident", tmp_path / "out", results=results)
        assert "1 of 2 slides" in caplog.text
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.h5"]
        with h5py.File(tmp_path / "out" / "good.h5") as file:
            assert set(file) == {"features", "coords"}
            assert file["features"].dtype == np.float32 and np.array_equal(file["features"], VECTORS[:3])
            assert file["coords"].dtype == np.int64 and file["coords"][:].tolist() == [[0, 0], [455, 0], [910, 455]]
            # 224 px of 0.5 um are 454.9 px of 0.2462 um; 0.2462 is a 40x scan, 0.5 is 20x.
            assert dict(file["coords"].attrs) == {
                "name": "good",
                "savetodir": "out",
                "patch_size": 224,
                "patch_size_level0": 455,
                "level0_magnification": 40,
                "target_magnification": 20,
                "overlap": 0,
                "level0_width": 2000,
                "level0_height": 1500,
            }
            assert dict(file["features"].attrs) == {"name": "good", "savetodir": "out", "encoder": "uni"}
            # Name for name, and kind for kind, what TRIDENT saves.
            write_trident(tmp_path / "theirs.h5")
            with h5py.File(tmp_path / "theirs.h5") as theirs:
                for name in ("features", "coords"):
                    kinds = [{key: type(value) for key, value in part[name].attrs.items()} for part in (file, theirs)]
                    assert kinds[0] == kinds[1]
                    assert file[name].dtype == theirs[name].dtype

    def test_clam(self, results, tmp_path):
        export_features("clam", tmp_path / "out", results=results)
        files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
        assert files == ["h5_files/good.h5", "pt_files/good.pt"]
        with h5py.File(tmp_path / "out" / "h5_files" / "good.h5") as file:
            assert set(file) == {"features", "coords"}
            assert file["features"].dtype == np.float32 and np.array_equal(file["features"], VECTORS[:3])
            assert file["coords"].dtype == np.int32 and file["coords"].shape == (3, 2)
            assert dict(file["coords"].attrs) == {"name": "good", "patch_level": 0, "patch_size": 455}
        vectors = torch.load(tmp_path / "out" / "pt_files" / "good.pt", weights_only=True)
        assert torch.equal(vectors, torch.from_numpy(VECTORS[:3]))

    @pytest.mark.parametrize("layout", ["trident", "clam"])
    def test_comes_back_the_same(self, results, tmp_path, layout):
        export_features(layout, tmp_path / "out", results=results)
        _, again = take(tmp_path / "out", ["good"])
        gather_store([results / "features" / "3.h5"], tmp_path / "a")
        gather_store([again], tmp_path / "b")
        first, second = open_store(tmp_path / "a"), open_store(tmp_path / "b")
        assert np.array_equal(first.features, second.features) and np.array_equal(first.index, second.index)

    def test_nothing_to_export(self, tmp_path):
        with pytest.raises(UserError, match="run the pipeline first"):
            export_features("clam", tmp_path / "out", results=tmp_path)

    def test_features_of_another_tool(self, results, tmp_path):
        write_trident(tmp_path / "a.h5")
        _, features = take(tmp_path, ["a"])
        features.rename(results / "features" / "0.h5")
        with pytest.raises(UserError, match="in another tool's layout already"):
            export_features("trident", tmp_path / "out", results=results)

    @pytest.mark.parametrize(("mpp", "objective"), [(0.1, 80), (0.17, 60), (0.25, 40), (0.5, 20), (1.0, 10), (2.0, 5)])
    def test_objectives(self, mpp, objective):
        assert nominal_magnification(mpp) == objective
