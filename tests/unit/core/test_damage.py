"""Damage of a file is noticed when it is read; a process that is killed while it writes damages nothing."""

import json
import os
import subprocess
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from ksfusion import cli
from ksfusion.core import storage
from ksfusion.core.atomic import atomic
from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.feature_store import open_store
from ksfusion.core.features_file import FeaturesWriter, open_features, unsealed
from ksfusion.core.machine_errors import explain
from ksfusion.core.parquet import read_parquet, read_wide_parquet, write_parquet
from ksfusion.core.storage import read_json, read_provenance, read_rows, read_tsv, write_json, write_text, write_tsv
from ksfusion.slides.features.cache import FeatureCache
from ksfusion.training.checkpoint import load_model, write_run

pytestmark = pytest.mark.slow

MADE_BY = {"ksfusion": "9", "code": "abc", "settings": {"count": 3}}
TABLE = pd.DataFrame({"symbol": ["NA", "EGFR", "CD3E"], "n": [1, 2, 3], "value": [0.5, np.nan, 2.25]})
FEATURES = np.arange(24, dtype=np.float16).reshape(3, 8)
COORDS, INDEX = np.arange(6, dtype=np.int32).reshape(3, 2), np.array([0, 1, 2, 0], np.int32)


def parquet(folder):
    write_parquet(TABLE, folder / "a.parquet", MADE_BY)
    return folder / "a.parquet", lambda: (read_parquet(folder / "a.parquet"), read_provenance(folder / "a.parquet"))


def some_columns(folder):
    write_parquet(TABLE, folder / "a.parquet", MADE_BY)
    return folder / "a.parquet", lambda: read_parquet(folder / "a.parquet", columns=["symbol"])


def wide_parquet(folder):
    write_parquet(TABLE[["symbol", "value"]].assign(more=1.0), folder / "a.parquet", MADE_BY)
    return folder / "a.parquet", lambda: read_wide_parquet(folder / "a.parquet", ["symbol"])


def tsv(folder):
    write_tsv(TABLE, folder / "a.tsv", MADE_BY)
    return folder / "a.tsv", lambda: (read_tsv(folder / "a.tsv"), read_rows(folder / "a.tsv"))


def beside_tsv(folder):
    write_tsv(TABLE, folder / "a.tsv", MADE_BY)
    path = folder / "a.tsv"
    return folder / ".a.tsv.provenance.json", lambda: (read_tsv(path), read_provenance(path)["settings"])


def listed(folder):
    write_text('[{"name": "roc", "task": "a"}]', folder / "figures.json", MADE_BY)
    return folder / "figures.json", lambda: read_json(folder / "figures.json")


def mapping(folder):
    write_json({"value": 0.5, "nested": {"provenance": {"seal": "other"}}, "provenance": MADE_BY}, folder / "a.json")

    def read():
        values = read_json(folder / "a.json")
        return values["value"], values["nested"], values["provenance"]["settings"]

    return folder / "a.json", read


def features(folder):
    path = folder / "0.h5"
    with FeaturesWriter(path, MADE_BY) as file:
        file.write("a", {"status": "ok", "reason": "", "mpp": 0.5, "key": "k"}, arrays())
        file.write("b", {"status": "failed", "reason": "no_tissue", "mpp": float("nan")})

    def read():
        with open_features(path) as slides:
            known = {slide_id: str(sorted(group.attributes.items())) for slide_id, group in slides.items()}
            return slides.made_by, known, [slides["a"].read(name).tolist() for name in arrays()]

    return path, read


def arrays():
    return {"features": FEATURES, "coords": COORDS, "index": INDEX}


def weights(folder):
    torch.manual_seed(0)
    from ksfusion.methods import build

    shape = {"n_features": 4, "n_patches": 4, "niches": {"tumour": ["A"], "tme": ["B"]}, "n_outputs": 2, "groups": {}}
    model = build("attmil", **shape, dropout=0.1)
    config = {"method": "attmil", **shape, "options": {"dropout": 0.1}, "provenance": MADE_BY}
    write_run(folder, weights=model.state_dict(), config=config, predictions=TABLE, history=TABLE, metrics={})
    state = {name: value.tolist() for name, value in model.state_dict().items()}
    assert {name: value.tolist() for name, value in load_model(folder).state_dict().items()} == state
    return folder / "model.safetensors", lambda: {n: v.tolist() for n, v in load_model(folder).state_dict().items()}


KINDS = [parquet, some_columns, wide_parquet, tsv, beside_tsv, listed, mapping, features, weights]
# Of a file of many bytes, that many places.
PLACES = 700


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_flipped_byte_anywhere_is_noticed_or_changes_nothing(tmp_path, kind):
    path, read = kind(tmp_path)
    whole, wanted, noticed = path.read_bytes(), repr(read()), 0
    places = range(0, len(whole), max(1, len(whole) // PLACES))
    for place in places:
        for mask in (0xFF, 1 << place % 8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            try:
                assert repr(read()) == wanted, (place, mask)
            except DamagedFileError as error:
                noticed += 1
                assert str(error).endswith(" is damaged; delete it and run again")
    assert noticed > 0.9 * 2 * len(places)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_file_that_is_cut_or_empty_is_noticed(tmp_path, kind):
    path, read = kind(tmp_path)
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 4, len(whole) // 2, len(whole) * 9 // 10):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match="is damaged; delete it and run again"):
            read()


def test_features_that_have_lost_their_end_are_none_of_another_program(tmp_path):
    """As after a power cut: the last blocks of the file are zeros."""
    path, read = features(tmp_path)
    whole, wanted = path.read_bytes(), repr(read())
    place = whole.index(FEATURES.tobytes())
    assert place + FEATURES.nbytes < len(whole)
    for start in (place + 1, place + FEATURES.nbytes, len(whole) - 8):
        path.write_bytes(whole[:start] + bytes(len(whole) - start))
        with pytest.raises(DamagedFileError):
            assert repr(read()) == wanted
    kept = FeatureCache(tmp_path / "1.h5")
    kept.keep("a", "k", FEATURES)
    (path,) = (tmp_path / ".1.aside").iterdir()
    whole = path.read_bytes()
    start = whole.index(FEATURES.tobytes()) + 1
    path.write_bytes(whole[:start] + bytes(len(whole) - start))
    assert kept.find("a", "k") is None


def test_a_picture_that_is_cut_is_damaged(tmp_path):
    from PIL import Image

    from ksfusion.results.report.gallery import _read_png

    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10), "red").save(path)
    whole = path.read_bytes()
    assert _read_png(path, None) == whole
    for damaged in (whole[:-1], whole[:-12], whole[: len(whole) // 2], whole + bytes(4), b""):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"a.png is damaged; delete list.tsv and run again"):
            _read_png(path, Path("list.tsv"))


def test_the_line_names_the_file(tmp_path):
    path, read = parquet(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"^{path} is damaged; delete it and run again$"):
        read()


def test_other_readers_see_what_they_saw(tmp_path):
    parquet(tmp_path), features(tmp_path), mapping(tmp_path), tsv(tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), TABLE)
    assert set(pq.read_schema(tmp_path / "a.parquet").metadata) == {b"pandas", b"ksfusion"}
    with h5py.File(tmp_path / "0.h5") as file:
        assert {slide_id: dict(group.attrs) for slide_id, group in file.items()}["a"] == {
            "status": "ok", "reason": "", "mpp": 0.5, "key": "k"
        }  # fmt: skip
        assert list(file.attrs) == ["ksfusion"] and np.array_equal(file["a/features"], FEATURES)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["value"] == 0.5 and content["provenance"].items() >= MADE_BY.items()
    assert (tmp_path / "a.tsv").read_text() == TABLE.to_csv(sep="\t", index=False)


def test_the_same_content_is_the_same_file(tmp_path):
    for kind in KINDS:
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "b").mkdir(exist_ok=True)
        # One is written once, the other over an earlier file.
        kind(tmp_path / "a"), kind(tmp_path / "b"), kind(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


class TestFilesWithoutChecksum:
    """As version 0.1.0 and other programs write them."""

    def test_they_are_read(self, tmp_path):
        TABLE.to_parquet(tmp_path / "a.parquet")
        pd.testing.assert_frame_equal(read_parquet(tmp_path / "a.parquet"), TABLE)
        (tmp_path / "a.tsv").write_text(TABLE.to_csv(sep="\t", index=False))
        pd.testing.assert_frame_equal(read_tsv(tmp_path / "a.tsv"), TABLE)
        (tmp_path / ".a.tsv.provenance.json").write_text(json.dumps(MADE_BY))
        pd.testing.assert_frame_equal(read_tsv(tmp_path / "a.tsv"), TABLE)
        assert read_provenance(tmp_path / "a.tsv") == MADE_BY
        (tmp_path / "a.json").write_text(json.dumps({"provenance": MADE_BY}))
        assert read_json(tmp_path / "a.json") == {"provenance": MADE_BY}
        with h5py.File(tmp_path / "0.h5", "w") as file:
            file.create_group("a").create_dataset("features", data=FEATURES)
        with open_features(tmp_path / "0.h5") as slides:
            assert slides.made_by == {} and np.array_equal(slides["a"].read("features"), FEATURES)

    def test_what_cannot_be_read_is_a_line(self, tmp_path):
        TABLE.to_parquet(tmp_path / "a.parquet")
        (tmp_path / "a.json").write_text('{"a"')
        (tmp_path / "0.h5").write_bytes(b"none")
        (tmp_path / "a.tsv").write_text("")
        path = tmp_path / "a.parquet"
        path.write_bytes(path.read_bytes()[:-100])
        for read, name in ((read_parquet, "a.parquet"), (read_json, "a.json"), (read_tsv, "a.tsv")):
            with pytest.raises(DamagedFileError):
                read(tmp_path / name)
        with pytest.raises(DamagedFileError), open_features(tmp_path / "0.h5"):
            pass

    def test_a_missing_file_is_no_damage(self, tmp_path):
        for read, name in ((read_parquet, "a.parquet"), (read_json, "a.json"), (read_tsv, "a.tsv")):
            with pytest.raises(FileNotFoundError):
                read(tmp_path / name)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("earlier", ["with a checksum", "of 0.1.0", "none"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_kill_between_text_and_what_stands_beside_it_is_no_damage(tmp_path, monkeypatch, earlier, at):
    path = tmp_path / "a.tsv"
    if earlier != "none":
        write_text("old\n1\n", path, {"settings": "old"})
    if earlier == "of 0.1.0":
        (tmp_path / ".a.tsv.provenance.json").write_text('{"settings": "old"}')
    calls, replace = [], Path.replace

    def replace_or_die(self, target):
        calls.append(target)
        if len(calls) == at:
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    try:
        write_text("new\n2\n", path, {"settings": "new"})
        assert len(calls) < at
    except Killed:
        pass
    monkeypatch.undo()
    if path.exists():
        column = read_tsv(path).columns.item()
        assert read_provenance(path) == {"settings": column}
    write_text("new\n2\n", path, {"settings": "new"})
    assert (
        read_provenance(path) == {"settings": "new"} and "old" not in (tmp_path / ".a.tsv.provenance.json").read_text()
    )


def test_a_damaged_text_is_not_taken_for_what_was_there_before(tmp_path):
    path, _ = tsv(tmp_path)
    path.write_text("symbol\n")
    assert storage._before(path) is None


def test_attributes_that_are_changed_have_their_checksum_anew(tmp_path):
    path, read = features(tmp_path)
    before = read()
    with unsealed(path) as file:
        file["a"].attrs["key"] = "another"
    made_by, known, values = read()
    assert (made_by, values) == (before[0], before[2]) and "another" in known["a"]
    path.write_bytes(path.read_bytes().replace(b"another", b"anothes"))
    with pytest.raises(DamagedFileError):
        read()


class TestKeptFeatures:
    """What a batch keeps for its next run is the same file as the batch, and damaged with it."""

    @pytest.fixture
    def cache(self, tmp_path):
        path = tmp_path / "0.h5"
        with FeaturesWriter(path) as file:
            for number, slide_id in enumerate("ab"):
                file.write(slide_id, {"key": "k"}, {"features": FEATURES + 100 * number})
        FeatureCache(path).close()
        return path

    def flip(self, path, part: bytes):
        content = path.read_bytes()
        place = content.index(part)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ 1]))

    def test_a_damaged_slide_is_not_taken_and_its_neighbour_is(self, cache):
        self.flip(cache, (FEATURES + 100).tobytes())
        cache.unlink()
        found = FeatureCache(cache)
        assert ("a", "k") in found and np.array_equal(found.find("a", "k"), FEATURES)
        assert ("b", "k") not in found and found.find("b", "k") is None

    def test_of_a_damaged_file_nothing_is_taken(self, cache):
        self.flip(cache, b"features")
        found = FeatureCache(cache)
        assert ("a", "k") not in found and ("b", "k") not in found

    def test_a_damaged_slide_of_an_unfinished_batch(self, tmp_path):
        found = FeatureCache(tmp_path / "0.h5")
        found.keep("a", "k", FEATURES)
        assert ("a", "k") in found
        (kept,) = (tmp_path / ".0.aside").iterdir()
        self.flip(kept, FEATURES.tobytes())
        assert ("a", "k") not in found


class TestStore:
    @pytest.fixture
    def store(self, tmp_path):
        from stores import gather_store

        path, _ = features(tmp_path)
        gather_store([path], tmp_path / "store")
        return tmp_path / "store"

    def test_features_are_looked_at_as_they_are_read(self, store):
        open_store(store).check([0])
        content = (store / "features.npy").read_bytes()
        (store / "features.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        opened = open_store(store)
        with pytest.raises(DamagedFileError, match="store is damaged; delete it"):
            opened.check([0])

    @pytest.mark.parametrize("name", ["index.npy", "slides.tsv", "store.json"])
    def test_all_else_when_it_is_opened(self, store, name):
        content = (store / name).read_bytes()
        for damaged in (content[: len(content) // 2], b"", content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]):
            (store / name).write_bytes(damaged)
            with pytest.raises(DamagedFileError, match="store is damaged; delete it"):
                open_store(store)

    def test_one_of_an_earlier_version_is_read(self, store):
        known = json.loads((store / "store.json").read_text())
        earlier = {"provenance": MADE_BY, "d": known["d"], "count": known["count"]}
        (store / "store.json").write_text(json.dumps(earlier))
        open_store(store).check([0])

    def test_damaged_features_never_reach_it(self, tmp_path):
        from stores import gather_store

        path, _ = features(tmp_path)
        content = path.read_bytes()
        place = content.index(FEATURES.tobytes())
        path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
        with pytest.raises(DamagedFileError, match=r"0.h5 is damaged"):
            gather_store([path], tmp_path / "store")
        assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_have_the_mode_of_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        for kind in KINDS:
            kind(tmp_path)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
        (path.name for path in tmp_path.iterdir()), mode
    )


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


LARGE = np.random.default_rng(0).random((300, 1000))


def write_large(kind, folder):
    from ksfusion.slides.features.store import _created

    if kind == "parquet":
        write_parquet(pd.DataFrame(LARGE).rename(columns=str), folder / "a", {})
    elif kind == "text":
        write_text("x" * 2**20, folder / "a", {})
    elif kind == "features":
        with atomic(folder / "a") as temporary, FeaturesWriter(temporary) as file:
            for number in range(len(LARGE)):
                file.write(str(number), {}, {"features": LARGE[number]})
    elif kind == "weights":
        frame = pd.DataFrame()
        tensors = {"a": torch.from_numpy(LARGE)}
        write_run(folder, weights=tensors, config={"provenance": {}}, predictions=frame, history=frame, metrics={})
    elif kind == "memory map":
        with atomic(folder / "a") as temporary:
            temporary.mkdir()
            _created(temporary / "features.npy", np.float64, LARGE.shape)[:] = LARGE
    elif kind == "torch":
        with atomic(folder / "a") as temporary:
            torch.save(torch.from_numpy(LARGE), temporary)


@pytest.mark.parametrize("kind", ["parquet", "text", "features", "weights", "memory map", "torch"])
def test_a_full_disk_is_a_line_that_names_the_folder(small_disk, kind):
    with pytest.raises(UserError, match=rf"^{small_disk} has no room left for \S+; free some") as caught:
        write_large(kind, small_disk)
    assert "\n" not in str(caught.value)
    assert not [path for path in small_disk.iterdir() if path.suffix != ".json"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "/data/study/a.tsv"), "error: /data/study has no room left; free some"),
        (OSError(28, "No space left on device"), f"error: {Path.cwd()} or {tempfile.gettempdir()} has no room left"),
        (OSError(122, "Disk quota exceeded", "/data/study/a.tsv"), "error: /data/study has no room left"),
        (MemoryError(), "memory ran out; lower training.batch_size, let fewer jobs run at once (--cores)"),
        (BrokenProcessPool("died"), "memory ran out; "),
        (torch.OutOfMemoryError("CUDA out of memory"), "memory ran out; lower training.batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory ran out; "),
    ],
)
def test_what_the_machine_lacks_is_a_line(monkeypatch, capsys, error, line):
    def fail(**_):
        raise error

    monkeypatch.setattr(cli, "_function", lambda module: fail)
    monkeypatch.setattr(cli, "_add_options", lambda parser, function: {})
    with pytest.raises(SystemExit) as end:
        cli.main(["train-model"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1


def test_other_errors_are_bugs():
    assert explain(KeyError("a"), "train_model") is None
    lost = ModuleNotFoundError("No module named 'timm'", name="timm")
    assert explain(lost, "extract_features") == (
        "extract_features: a package cannot be loaded (No module named 'timm'); ksfusion doctor says which are not as "
        "they should be"
    )
    assert explain(ImportError("cannot import name 'x' from 'ksfusion.core'", name="ksfusion.core"), "a") is None
    assert explain(OSError(5, "Input/output error", "/data/a"), "train_model") is None
