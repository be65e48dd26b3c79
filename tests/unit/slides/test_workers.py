"""Processes that read slides: what kills or blocks one, and which reads what."""

import multiprocessing
import time

import numpy as np
import pytest
from PIL import Image
from slide_files import write_slide
from worker_functions import die_at_start, make_numbered_reader, misbehave

from ksfusion.core.errors import UserError
from ksfusion.slides import SlideError
from ksfusion.slides.config import Reading
from ksfusion.slides.reading import patch_readers, workers
from ksfusion.slides.reading.patch_readers import PatchReaders
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.workers import IsolatedCalls, Worker

SLIDES = Reading(timeout=60)


@pytest.fixture(scope="module")
def call():
    with IsolatedCalls(misbehave, 60) as function:
        yield function


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("memory", SlideError, "memory"),
        ("user", UserError, "install it"),
        ("bug", RuntimeError, "KeyError"),
        ("exit", SlideError, "crashed"),
        ("killed", SlideError, r"was killed: memory ran out; let fewer jobs run at once \(--cores\)"),
    ],
)
def test_what_goes_wrong_in_a_worker(call, how, error, message):
    with pytest.raises(error, match=message) as caught:
        call(how)
    if how in ("memory", "killed"):
        assert caught.value.reason == "too_large"
    assert call("well") == "well"


def test_one_that_is_killed_as_it_starts_is_a_line(monkeypatch):
    line = r"the process that reads slides was killed: memory ran out; let fewer jobs run at once \(--cores\)"
    monkeypatch.setattr(workers, "_same", die_at_start)
    with pytest.raises(UserError, match=line), IsolatedCalls(misbehave, 60) as function:
        function("well")
    monkeypatch.setattr(patch_readers, "make_patch_reader", die_at_start)
    with pytest.raises(UserError, match=line), PatchReaders(SLIDES, 2) as readers:
        list(readers.read([(SlideSource("a.png", 0.5), np.zeros((1, 2), np.int32))], 1))


def test_a_process_that_cannot_be_killed_stops_nothing(monkeypatch):
    worker = Worker(workers._same, time.sleep)
    worker.await_start()
    worker.call(600)
    process = worker._process
    kill = process.kill
    monkeypatch.setattr(process, "kill", lambda: None)  # as one that waits for a dead disk
    monkeypatch.setattr(workers, "STOPPING_SECONDS", 0.2)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 5
    # The interpreter waits for its active children when it ends.
    assert process.is_alive() and process not in multiprocessing.active_children()
    kill()
    process.join()


class TestWhoReads:
    def readers_of(self, monkeypatch, names, groups=4):
        """Return, slide by slide, the processes that read its groups."""
        monkeypatch.setattr(patch_readers, "make_patch_reader", make_numbered_reader)
        work = [(SlideSource(name, None), np.zeros((2 * groups, 2), int)) for name in names]
        found = [[] for _ in names]
        with PatchReaders(SLIDES, 2) as readers:
            for part in readers.read(work, 2):
                found[part.slide].append(bytes(part.rgb[0, 0, 0]))
        assert [len(processes) for processes in found] == [groups] * len(names)
        return [set(processes) for processes in found]

    def test_a_plain_image_has_one_reader(self, monkeypatch):
        first, second = self.readers_of(monkeypatch, ["a.png", "b.jpg"])
        assert len(first) == len(second) == 1 and first != second

    def test_another_slide_has_all(self, monkeypatch):
        assert [len(processes) for processes in self.readers_of(monkeypatch, ["a.svs"])] == [2]


def test_plain_images_and_others_come_in_order(tmp_path):
    work, expected = [], []
    for number, name in enumerate(["a.png", "b.tiff", "gone.png", "c.png", "d.tiff"]):
        rgb = np.random.default_rng(number).integers(0, 256, (448, 1120, 3), dtype=np.uint8)
        corners = np.array([(x, y) for y in (0, 224) for x in range(0, 1120, 224)])
        if name.endswith("tiff"):
            write_slide(tmp_path / name, rgb, 0.5, compression="deflate")
        elif name != "gone.png":
            Image.fromarray(rgb).save(tmp_path / name)
        work.append((SlideSource(str(tmp_path / name), 0.5), corners))
        expected.append([rgb[y : y + 224, x : x + 224] for x, y in corners])
    found, ended = [{} for _ in work], []
    with PatchReaders(SLIDES, 3) as readers:
        for part in readers.read(work, 3):
            assert part.slide not in ended
            ended += [part.slide] * part.last
            found[part.slide][part.start] = [part.failure.reason] if part.failure else list(part.rgb)
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert found[2] == {0: ["missing_file"]}
    for number in (0, 1, 3, 4):
        assert sorted(found[number]) == [0, 3, 6, 9]
        assert np.array_equal([patch for _, part in sorted(found[number].items()) for patch in part], expected[number])
