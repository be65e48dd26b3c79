"""A study in object storage: what is fetched and kept, and whose results these are; storage is a folder here."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.core.object_storage import ObjectStorage, named_paths, tracked_files

PREFIX = "s3://bucket/study"


class Stored:
    """A file or a folder in storage, as a plugin of Snakemake has it."""

    def __init__(self, provider, query):
        self.provider, self.there = provider, provider.root / query.removeprefix("s3://")
        self.copy = Path(".snakemake/storage/s3") / query.removeprefix("s3://")

    def local_path(self):
        return self.copy

    def set_local_path(self, path):
        self.copy = path

    def exists(self):
        self.provider.asked.append(self.there.name)
        return self.there.exists()

    def mtime(self):
        return self.there.stat().st_mtime

    def size(self):
        return self.there.stat().st_size

    def local_footprint(self):
        files = [self.there] if self.there.is_file() else self.there.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def cache_key(self):
        return str(self.there)

    async def inventory(self, listing):
        """List its folder and those in it, as that of S3 does."""
        self.provider.asked.append(f"{self.there.parent.name}/")
        for file in self.there.parent.rglob("*"):
            listing.size[str(file)] = file.stat().st_size

    async def managed_retrieve(self):
        self.provider.fetched.append(self.there.name)
        (shutil.copytree if self.there.is_dir() else shutil.copyfile)(self.there, self.copy)

    async def managed_store(self):
        self.provider.stored.append(self.there.name)
        self.there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.copy, self.there)


class Provider:
    def __init__(self, root):
        self.root, self.asked, self.fetched, self.stored = root, [], [], []

    def object(self, query):
        return Stored(self, query)


@pytest.fixture
def provider(tmp_path):
    return Provider(tmp_path / "storage")


@pytest.fixture
def study(provider):
    """Return the folder of the study in storage, with a table, a slide beside it, and a folder of expression."""
    folder = provider.root / "bucket/study"
    for name, text in {"data/samples.tsv": "a\n", "data/x.svs": "slide", "data/y.svs": "slides", "z.svs": "1"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "expression/p1").mkdir(parents=True)
    (folder / "expression/p1/counts.tsv").write_text("gene\n")
    return folder


def on_machine(folder, provider, monkeypatch):
    """Return the storage as a machine sees it whose study is in a folder."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    return ObjectStorage(provider, f"{PREFIX}/", asyncio.run)


@pytest.fixture
def storage(tmp_path, provider, study, monkeypatch):
    return on_machine(tmp_path / "here", provider, monkeypatch)


def test_a_file_is_fetched_once_and_again_when_it_has_changed(storage, provider, study):
    assert storage.fetch("data/samples.tsv")
    copy = storage.folder / "data/samples.tsv"
    assert copy.read_text() == "a\n" and copy.stat().st_mtime == (study / "data/samples.tsv").stat().st_mtime
    assert not storage.fetch("data/samples.tsv") and provider.fetched == ["samples.tsv"]
    (study / "data/samples.tsv").write_text("a\nb\n")
    assert storage.fetch("data/samples.tsv") and copy.read_text() == "a\nb\n"
    assert not storage.fetch("data/none.tsv") and not (storage.folder / "data/none.tsv").exists()


def test_a_folder_is_fetched_again_when_a_file_in_it_has_changed(storage, study):
    assert storage.fetch("expression") and not storage.fetch("expression")
    (study / "expression/p1/counts.tsv").write_text("gene\nEGFR\n")
    assert storage.fetch("expression")
    assert (storage.folder / "expression/p1/counts.tsv").read_text() == "gene\nEGFR\n"


def test_only_what_is_not_here_is_fetched(storage, provider):
    Path("expression").mkdir()
    paths = ["expression", "data/samples.tsv", "/data/x.svs", "https://host/x.svs", "", "data/samples.tsv"]
    paths += ["../study/z.svs", "data/../../study/z.svs", ".", "data/../z.svs"]
    storage.fetch_missing(paths, [Path.cwd()])
    assert provider.fetched == ["samples.tsv", "z.svs"]


def test_a_list_in_storage_leads_to_no_place_outside(storage, study, tmp_path):
    for path in ("../../../../../../outside", str(tmp_path / "outside"), "results/../../outside"):
        write(study, "results/untracked.json", json.dumps({path: [1, 1]}))
        with pytest.raises(UserError, match="outside is not of this study; delete the list"):
            storage.bring()


def test_what_is_fetched_by_halves_is_not_there(storage, monkeypatch):
    async def fail(stored):
        stored.copy.write_text("half")
        raise OSError("connection lost")

    monkeypatch.setattr(Stored, "managed_retrieve", fail)
    with pytest.raises(OSError, match="connection lost"):
        storage.fetch("data/samples.tsv")
    assert [path.name for path in (storage.folder / "data").iterdir()] == []


def test_slides_are_found_beside_their_table_or_below_the_prefix_and_not_fetched(storage, provider):
    storage.fetch("data/samples.tsv")
    provider.asked.clear()
    named = ["x.svs", "y.svs", "z.svs", "none.svs", "/data/x.svs", "https://host/x.svs", "../../x.svs"]
    found = storage.slides(named, str(storage.folder / "data/samples.tsv"))
    assert {slide: (file.path, file.size) for slide, file in found.items()} == {
        "x.svs": ("data/x.svs", 5),
        "y.svs": ("data/y.svs", 6),
        "z.svs": ("z.svs", 1),
    }
    assert found["x.svs"].copy == ".snakemake/storage/s3/bucket/study/data/x.svs"
    assert not Path(found["x.svs"].copy).exists()
    # Folders are listed: only what no list has is asked for by itself.
    assert provider.asked == ["data/", "z.svs", "none.svs", "study/", "none.svs"]
    beside = storage.slides(["../z.svs"], str(storage.folder / "data/samples.tsv"))
    assert beside["../z.svs"].path == "z.svs"
    # Of a table that is here paths begin at the prefix.
    assert list(storage.slides(["x.svs", "z.svs"], "samples.tsv")) == ["z.svs"]


def write(folder, name, text, time=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if time:
        os.utime(path, (time, time))
    return path


def test_what_snakemake_does_not_know_goes_from_machine_to_machine(storage, provider, study, tmp_path, monkeypatch):
    storage.begin()
    assert Path("results").is_symlink()
    table = write(storage.folder, "results/tables/table1.tsv", "known to Snakemake")
    write(storage.folder, "results/features/store/part.bin", "in a folder that Snakemake knows")
    for name in ("results/study.json", "results/tables/.table1.tsv.provenance.json", "results/figures/roc.svg"):
        write(storage.folder, name, name)
    write(Path(), ".snakemake/metadata/job", "parameters")
    tracked = {str(table), str(storage.folder / "results/features/store")}
    storage.keep(tracked)
    kept = ["study.json", ".table1.tsv.provenance.json", "roc.svg", "untracked.json", "snakemake.tar.gz"]
    assert sorted(provider.stored) == sorted(kept)
    provider.stored.clear()
    storage.keep(tracked)
    assert provider.stored == ["untracked.json", "snakemake.tar.gz"]
    # Nothing of it is fetched where it was made.
    storage.begin()
    storage.bring()
    assert provider.fetched == []

    other = on_machine(tmp_path / "there", provider, monkeypatch)
    other.begin()
    assert Path("results/study.json").read_text() == "results/study.json"
    assert Path(".snakemake/metadata/job").read_text() == "parameters"
    other.bring()
    assert Path("results/figures/roc.svg").read_text() == "results/figures/roc.svg"
    assert (
        Path("results/tables/.table1.tsv.provenance.json").exists() and not Path("results/tables/table1.tsv").exists()
    )
    provider.fetched.clear()
    # What the other machine draws anew comes back.
    write(other.folder, "results/figures/roc.svg", "another", time=2_000_000_000)
    other.bring()
    assert provider.fetched == ["roc.svg"]
    write(other.folder, "results/figures/roc.svg", "another", time=2_000_000_000)
    other.keep(set())
    here = on_machine(tmp_path / "here", provider, monkeypatch)
    here.bring()
    assert Path("results/figures/roc.svg").read_text() == "another"


def test_results_of_elsewhere_are_refused(storage, provider, monkeypatch):
    Path("results").mkdir()
    with pytest.raises(UserError, match="results: is not of this storage; move it away"):
        storage.begin()
    Path("results").rmdir()
    ObjectStorage(provider, "s3://bucket/mistyped", asyncio.run).begin()
    storage.begin()  # in the place of a link to nothing
    Path("results/report.html").write_text("ours")
    with pytest.raises(UserError, match="results: is not of this storage"):
        ObjectStorage(provider, "s3://bucket/another", asyncio.run).begin()


def workflow(provider, prefix=None):
    settings = SimpleNamespace(default_storage_prefix=prefix)
    registry = SimpleNamespace(default_storage_provider=provider)
    return SimpleNamespace(storage_registry=registry, storage_settings=settings, async_run=asyncio.run)


def test_options_that_are_missing_are_a_line(storage, provider):
    assert ObjectStorage.of(workflow(None)) is None
    with pytest.raises(UserError, match="--default-storage-prefix: is missing"):
        ObjectStorage.of(workflow(provider))
    ObjectStorage.of(workflow(provider, PREFIX)).begin()
    with pytest.raises(UserError, match="results: is in object storage; give --default-storage-provider and"):
        ObjectStorage.of(workflow(None))


def test_paths_of_a_configuration_before_it_is_validated():
    expression = [{"cohort": "a", "path": "counts"}, {"cohort": "b", "path": "rna.csv", "sample_sheet": "sheet.tsv"}]
    values = {
        "title": "no/path",
        "cohort": {"samples": "s.tsv", "cases": "c.tsv", "expression": expression, "unknown": "x"},
        "genes": {"sets": {"tme": "tme.gmt"}, "groups": "builtin"},
        "slides": {"masks": None, "regions": "regions"},
        "stain": "vahadane",
        "methods_from": ["my.py"],
    }
    found = ["s.tsv", "c.tsv", "counts", "rna.csv", "sheet.tsv", "tme.gmt", "regions", "my.py"]
    assert sorted(named_paths(Config, values)) == sorted(found)
    assert list(named_paths(Config, None)) == []


def test_outputs_logs_and_benchmarks_are_known_to_snakemake():
    jobs = [
        SimpleNamespace(output=["a", "b"], log=["c"], benchmark="d"),
        SimpleNamespace(output=[], log=[], benchmark=None),
    ]
    assert tracked_files(jobs) == {"a", "b", "c", "d"}
