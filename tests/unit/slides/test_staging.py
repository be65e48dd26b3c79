"""Copies of slides on a fast disk: what is copied when, and that nothing stays."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slide_files import plain, write_slide

from ksfusion.slides import open_slide
from ksfusion.slides.config import Slides
from ksfusion.slides.reading import staging
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.staging import SlideCopies, files_of

HELD = """
import sys, time
from pathlib import Path
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.staging import SlideCopies
copies = SlideCopies(Path(sys.argv[1]), 60)
print(next(copies.ahead([SlideSource(sys.argv[2], None)])).path, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _no_reserve(monkeypatch):
    monkeypatch.setattr(staging, "LEAST_FREE", 0)


@pytest.fixture
def slides(tmp_path):
    """Write three files of one name in folders of their own."""
    paths = [tmp_path / "slow" / str(number) / "a.svs" for number in range(3)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes([number]) * 1000)
    return [SlideSource(str(path), 0.5) for path in paths]


def copies_in(folder):
    return sorted(str(file.relative_to(folder)).partition("/")[2] for file in folder.rglob("*.svs"))


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_next_is_copied_while_one_is_read_and_goes_once_it_is_done(tmp_path, slides):
    fast = tmp_path / "fast"
    with SlideCopies(fast, 60) as copies:
        for number, local in enumerate(copies.ahead(slides)):
            assert local.path.startswith(str(fast)) and local.mpp == 0.5
            assert Path(local.path).read_bytes() == bytes([number]) * 1000
            following = [f"{number + 1}/a.svs"] if number < 2 else []
            wait_for(lambda wanted=[f"{number}/a.svs", *following]: copies_in(fast) == wanted)
            copies.done(number)
    assert list(fast.iterdir()) == []


def test_without_a_folder_nothing_is_copied(slides):
    with SlideCopies(None, 60) as copies:
        assert list(copies.ahead(slides)) == slides
        assert list(copies.ahead([])) == []


def test_the_folder_may_be_named_by_a_variable_of_the_job(tmp_path, slides, monkeypatch):
    monkeypatch.setenv("LOCAL_DISK", str(tmp_path / "fast"))
    with SlideCopies("$LOCAL_DISK/slides", 60) as copies:
        assert next(copies.ahead(slides)).path.startswith(str(tmp_path / "fast" / "slides"))


def test_where_there_is_no_room_a_slide_is_read_where_it_lies(tmp_path, slides, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=999))
    with SlideCopies(tmp_path / "fast", 60) as copies:
        assert list(copies.ahead(slides)) == slides
    assert "there is no room for it); it is read where it lies" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_meanwhile_leaves_no_part(tmp_path, slides, monkeypatch, caplog):
    original = SlideCopies._copy

    def fill(self, file, target):
        original(self, file, target)
        Path("/dev/full").write_bytes(b"1")

    monkeypatch.setattr(SlideCopies, "_copy", fill)
    with SlideCopies(tmp_path / "fast", 60) as copies:
        assert list(copies.ahead(slides)) == slides
        assert copies_in(tmp_path / "fast") == []
    assert "No space left on device" in caplog.text


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path, slides, caplog):
    (tmp_path / "file").write_text("")
    with SlideCopies(tmp_path / "file" / "fast", 60) as copies:
        assert list(copies.ahead(slides)) == slides
    assert "slides are read where they lie" in caplog.text


def test_a_slide_that_is_not_there_is_left_to_who_reads_it(tmp_path, caplog):
    sources = [SlideSource(str(tmp_path / "gone.svs"), None), SlideSource("https://example.org/a.tiff", 0.5)]
    with SlideCopies(tmp_path / "fast", 60) as copies:
        assert list(copies.ahead(sources)) == sources
    assert caplog.text == ""


def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path, slides, monkeypatch, caplog):
    monkeypatch.setattr(SlideCopies, "_copy", lambda *_: time.sleep(3))
    started = time.monotonic()
    with SlideCopies(tmp_path / "fast", 0.2) as copies:
        assert list(copies.ahead(slides)) == slides
        assert time.monotonic() - started < 2
    assert "not copied after 0.2 s" in caplog.text


def test_what_a_killed_job_left_is_removed_and_what_another_holds_is_not(tmp_path, slides):
    fast = tmp_path / "fast"
    command = [sys.executable, "-c", HELD, str(fast), slides[0].path]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    killed, alive = (Path(job.stdout.readline().strip()) for job in jobs)
    try:
        jobs[0].send_signal(signal.SIGKILL)
        jobs[0].wait()
        assert killed.exists() and alive.exists()
        with SlideCopies(fast, 60):
            assert not killed.exists() and alive.exists()
            assert len(list(fast.iterdir())) == 2
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


class TestFiles:
    def test_one_file(self, slides):
        assert [str(file) for file in files_of(Path(slides[0].path))] == [slides[0].path]

    def test_mirax_has_a_folder(self, tmp_path):
        for name in ("a.mrxs", "a/Slidedat.ini", "a/Data0000.dat", "b.mrxs", "b/Data0000.dat"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        names = [str(file.relative_to(tmp_path)) for file in files_of(tmp_path / "a.mrxs")]
        assert names == ["a.mrxs", "a/Data0000.dat", "a/Slidedat.ini"]
        with SlideCopies(tmp_path / "fast", 60) as copies:
            local = Path(next(copies.ahead([SlideSource(str(tmp_path / "a.mrxs"), None)])).path)
            assert local.read_text() == "a.mrxs"
            assert (local.parent / "a" / "Slidedat.ini").read_text() == "a/Slidedat.ini"

    def test_dicom_is_the_files_beside_it(self, tmp_path):
        for name in ("1.dcm", "2.dcm"):
            (tmp_path / name).write_bytes(bytes(128) + b"DICM")
        (tmp_path / "notes.txt").write_text("")
        assert [file.name for file in files_of(tmp_path / "2.dcm")] == ["1.dcm", "2.dcm"]

    def test_a_list_of_other_files_is_read_where_it_lies(self, tmp_path):
        (tmp_path / "a.vms").write_text("")
        assert files_of(tmp_path / "a.vms") == []


def test_a_copy_is_read_like_the_slide(tmp_path):
    source = SlideSource(str(write_slide(tmp_path / "a.tiff", plain(600, 600), 0.5)), None)
    with SlideCopies(tmp_path / "fast", 60) as copies, open_slide(next(copies.ahead([source])).path) as slide:
        assert (slide.read(0, 0, 224, 0.5) == slide.read(300, 300, 224, 0.5)).all()


def test_it_is_no_setting_that_results_depend_on():
    assert Slides(stage="/fast").record() == Slides().record()
    assert "stage" not in Slides().as_json()
