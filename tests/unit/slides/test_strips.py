"""Which reader takes which patches, and the memory that they are handed on in."""

import itertools
from multiprocessing import get_context

import numpy as np
import pytest
from slide_files import write_slide
from worker_functions import fill

from ksfusion.slides import SlideError, open_slide
from ksfusion.slides.config import Reading
from ksfusion.slides.reading.patch_readers import PatchReaders
from ksfusion.slides.reading.shared_memory import SharedMemory
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.strips import SlideStrips, next_strip


def slide(position, groups, readers=2):
    return SlideStrips(position, SlideSource("a.svs", None), np.zeros((3 * groups - 1, 2), int), 3, readers)


def taken(strip):
    return [(strip.slide.position, strip.take().start) for _ in range(strip.left)]


class TestStrips:
    def test_each_reader_has_a_half(self):
        plan, under_way = iter([slide(0, 5)]), []
        first, second = (next_strip(plan, under_way) for _ in range(2))
        assert taken(first) == [(0, 0), (0, 3)] and taken(second) == [(0, 6), (0, 9), (0, 12)]
        assert next_strip(plan, under_way) is None

    def test_one_that_is_done_begins_the_next_slide(self):
        plan, under_way = iter([slide(0, 4), slide(1, 1), slide(2, 2)]), []
        assert [next_strip(plan, under_way).slide.position for _ in range(4)] == [0, 0, 1, 2]

    def test_at_the_end_it_takes_half_of_what_is_left(self):
        plan, under_way = iter([slide(0, 12)]), []
        first, second = (next_strip(plan, under_way) for _ in range(2))
        assert len(taken(first)) == 6
        second.take()  # five are left
        assert taken(next_strip(plan, under_way)) == [(0, 30), (0, 33)]
        assert taken(second) == [(0, 21), (0, 24), (0, 27)]

    def test_a_plain_image_is_shared_with_nobody(self):
        plan, under_way = iter([slide(0, 6, readers=1)]), []
        assert next_strip(plan, under_way).left == 6
        assert next_strip(plan, under_way) is None

    def test_of_a_slide_that_failed_no_more_is_taken(self):
        plan, under_way = iter([slide(0, 6), slide(1, 1)]), []
        first = next_strip(plan, under_way)
        first.take()
        first.slide.fail(SlideError("timeout", "late"))
        assert first.left == 0 and first.slide.pending == 1  # the one under way
        assert next_strip(plan, under_way).slide.position == 1

    @pytest.mark.parametrize(("groups", "readers"), list(itertools.product([1, 2, 7, 40], [1, 2, 3, 16])))
    def test_everything_is_taken_once(self, groups, readers):
        plan, under_way, found = iter([slide(0, groups, readers), slide(1, groups, readers)]), [], []
        random, own = np.random.default_rng(0), {}
        while True:
            reader = int(random.integers(readers))
            if reader not in own or not own[reader].left:
                own[reader] = next_strip(plan, under_way)
                if own[reader] is None:
                    break
            found.append((own[reader].slide.position, own[reader].take().start))
        for strip in own.values():
            found += taken(strip) if strip else []
        assert sorted(found) == [(position, 3 * group) for position in (0, 1) for group in range(groups)]


class TestSharedMemory:
    def test_another_process_writes_into_it(self):
        with SharedMemory() as memory:
            pieces = [memory.take(5000) for _ in range(3)]
            assert len(set(pieces)) == 3
            process = get_context("spawn").Process(target=fill, args=(memory, pieces[1], 5000, 7))
            process.start()
            process.join()
            assert process.exitcode == 0
            assert [int(memory.array(piece, 5000).sum()) for piece in pieces] == [0, 35_000, 0]

    def test_a_piece_is_taken_again_once_nothing_refers_to_it(self):
        with SharedMemory() as memory:
            piece = memory.take(100)
            patches = memory.lend(piece, 100, 48).reshape(4, 2, 2, 3)
            part = patches[1:, ..., 0]
            del patches
            other = memory.take(100)
            assert other != piece
            del part
            assert memory.take(100) == piece

    def test_what_is_new_is_told_once(self):
        told = []
        with SharedMemory() as memory:
            piece = memory.take(100, lambda array: told.append(array.shape))
            memory.give_back(piece, 100)
            memory.take(100, lambda array: told.append(array.shape))
        assert told == [(100,)]


def test_patches_are_those_of_the_slide_however_many_read_and_hold_them(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (1200, 1400, 3), dtype=np.uint8)
    path = write_slide(tmp_path / "a.tiff", rgb, 0.25)
    corners = np.array(list(itertools.product(range(0, 900, 100), range(0, 700, 90))))
    with open_slide(path) as slide:
        expected = [slide.read(x, y, 56, 0.5) for x, y in corners.tolist()]
    with PatchReaders(Reading(patch_px=56), 3) as readers:
        for group in (1, 7, 100):
            held = list(readers.read([(SlideSource(str(path), None), corners)] * 2, group))
            for number in (0, 1):
                parts = {part.start: part.rgb for part in held if part.slide == number}
                assert np.array_equal(np.concatenate([parts[start] for start in sorted(parts)]), expected)
