"""What reading patches takes, alone and in the stage with a device that takes a known time: parts of `slides.py`."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest.mock import patch

import numpy as np
import psutil
import torch
from drawn_slides import large_slide, write_pyramid

from ksfusion.core.timing import SlideTiming
from ksfusion.slides import open_slide, tile_grid
from ksfusion.slides.config import Encoding, ExtractFeaturesSettings, Reading, Stain
from ksfusion.slides.features import extraction
from ksfusion.slides.features.cache import FeatureCache
from ksfusion.slides.reading.patch_readers import PatchReaders, make_patch_reader
from ksfusion.slides.reading.shared_memory import SharedMemory
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.staging import SlideCopies
from ksfusion.slides.stain.target import load_target
from ksfusion.slides.tiles.sampling import sample_patches

GROUP = 64
DEVICE_RATE, FEATURES = 6000, 1024  # patches a second of the stand-in device, and the length of a feature vector
TURNS = 3


def _read_and_keep(source, corners, group, reading):
    """Read patches in groups as a reader of the stage does, and hand none on; runs in a process of its own.

    Returns its processor time, in seconds.
    """
    n_bytes = group * reading.patch_px**2 * 3
    with SharedMemory() as memory:
        read, place = make_patch_reader(reading, memory), memory.take(n_bytes)
        read(source, corners[:1], place, n_bytes)  # the slide is open then
        started = time.process_time()
        for start in range(0, len(corners), group):
            read(source, corners[start : start + group], place, n_bytes)
    return time.process_time() - started


def time_plain_reading(source, corners, group, processes, reading=None):
    """Return the seconds that reading takes in so many processes where nothing is handed on, and their processor time.

    Each reads its share.
    """
    parts = np.array_split(corners, max(1, min(processes, -(-len(corners) // group))))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:

        def read_all(corners_of_parts):
            arguments = zip(*[(source, part, group, reading or Reading()) for part in corners_of_parts], strict=True)
            started = time.perf_counter()
            return sum(pool.map(_read_and_keep, *arguments)), time.perf_counter() - started

        read_all([part[:1] for part in parts])
        spent, seconds = read_all(parts)
    return seconds, spent


class StandInDevice:
    """A device that takes so many patches a second and computes nothing, in the place of `PatchEncoder`."""

    def __init__(self, rate):
        self._rate, self._done_at = rate, 0.0

    def __call__(self, rgb, profile):
        """Wait as long as the device would take from when it was done with what came before."""
        now = time.monotonic()
        self._done_at = max(now, self._done_at) + len(rgb) / self._rate
        time.sleep(max(0.0, self._done_at - now))
        return torch.zeros((len(rgb), FEATURES), dtype=torch.float16)

    def gathered(self, parts):
        """Return the features of several calls."""
        return torch.cat(parts).numpy()

    def pin(self, memory):
        """Take memory as it is."""

    def close(self):
        """Hold nothing."""


def _readers_seconds():
    """Return the processor time of this process's own processes so far."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())


def time_stage(source, corners, folder, processes, rate=float("inf"), *, group=GROUP):
    """Return what the loop of the stage takes on one slide with a stand-in device, once all are started.

    Returns
    -------
    tuple of float
        Seconds; processor time of the readers; that of this process alone.
    """
    output, target = folder / "stand_in.h5", load_target("builtin")

    def encode(which, key, group):
        features = Encoding(encoder="seeded-conv", batch_size=group)
        settings = ExtractFeaturesSettings(slides=Reading(), stain=Stain(), features=features)
        work = extraction.SlideWork("slide", source, "", 0.5, which, np.arange(len(which)), None, key)
        cache = FeatureCache(output)
        with SlideCopies(None, settings.slides.timeout) as copies:
            failures = extraction.encode_slides(
                [work], cache, SlideTiming(output), target, settings, readers, copies, device="cpu"
            )
        assert not failures
        assert len(cache.find("slide", key)) == len(which)
        cache.close()

    with (
        patch.object(extraction, "_patch_encoder", lambda *_: StandInDevice(rate)),
        PatchReaders(Reading(), processes) as readers,
    ):
        encode(corners[:processes], "start", group=1)  # each has opened the slide then
        wall, own, readers_own = time.perf_counter(), time.process_time(), _readers_seconds()
        encode(corners, "all", group)
        return time.perf_counter() - wall, _readers_seconds() - readers_own, time.process_time() - own


def _opening(path):
    """Return the processor time of opening a slide and reading a patch, in which tiles are compared."""
    started = time.process_time()
    with open_slide(path) as slide:
        slide.read(slide.dimensions[0] / 2, slide.dimensions[1] / 2, 224, 0.5)
    return time.process_time() - started


def _sampled(region, folder, count):
    """Return a large slide and the corners of so many patches that are sampled from it."""
    path = large_slide(folder, region)
    with open_slide(path) as slide:
        corners = tile_grid(slide)[["x", "y"]].to_numpy()
    return path, corners[sample_patches(len(corners), count)]


def time_reading(region, folder, arguments):
    """Print what reading patches of 224 px at 0.5 um/px from slides at 0.25 takes, with OpenSlide and without."""
    path, threads = write_pyramid(folder / "read.tiff", region, 40_000, 34_000), arguments.threads
    with open_slide(path) as slide:
        corners = tile_grid(slide)[["x", "y"]].to_numpy()[: arguments.patches]
    scenes = {
        "side by side": (path, corners),
        "sampled from 100,000 x 80,000 px": _sampled(region, folder, arguments.patches),
    }
    for name, (path, corners) in scenes.items():
        source, n = SlideSource(str(path), None), len(corners)
        seconds, spent = {"openslide": [], "auto": []}, {"openslide": [], "auto": []}
        for _ in range(TURNS):  # in turn
            for reader in seconds:
                wall, own = time_plain_reading(source, corners, GROUP, threads, Reading(reader=reader))
                seconds[reader].append(wall)
                spent[reader].append(own)
        opening = min(_opening(path) for _ in range(TURNS))
        print(f"read {n} patches {name}, {threads} readers, the median of {TURNS} turns; opening the slide, which")
        print(f"             each reader does, takes {opening * 1e3:.0f} ms more")
        for reader in seconds:
            each = np.median(spent[reader]) / n
            print(f"  {reader:10} {each * 1e3:.2f} ms of processor time a patch: {2 / each:.0f} a second on two cores")
            print(f"             with nothing else (aim: 1,200); {n / np.median(seconds[reader]):.0f} by the clock")
        print(f"  ratio      {np.median(np.divide(spent['openslide'], spent['auto'])):.2f} in processor time")


def time_stand_in(region, folder, arguments):
    """Print what the stage takes beside reading alone with a stand-in device, on patches sampled from a large slide."""
    path, corners = _sampled(region, folder, arguments.patches)
    source, threads, n = SlideSource(str(path), None), arguments.threads, len(corners)
    walls, shares, own, reading = [], [], [], []
    for _ in range(TURNS):  # in turn
        alone, alone_spent = time_plain_reading(source, corners, GROUP, threads)
        wall, readers, parent = time_stage(source, corners, folder, threads)
        walls.append(alone / wall)
        shares.append(alone_spent / (readers + parent))
        own.append(parent)
        reading.append(alone_spent)
    _, _, with_device = time_stage(source, corners, folder, threads, DEVICE_RATE)
    print(f"the stage with a device that takes no time, {n} patches, {threads} readers, the median of {TURNS} turns")
    print(f"  reading alone takes {np.median(reading) / n * 1e3:.2f} ms of processor time a patch; the stage has")
    print(f"  {np.median(shares):.2f} of its rate (aim: 0.9), from the processor time of all its processes")
    print(f"  ({', '.join(f'{share:.2f}' for share in shares)}), {np.median(walls):.2f} by the clock")
    print(f"  its own process alone takes {np.median(own) / n * 1e3:.3f} ms a patch (aim: 0.05);")
    print(f"  {with_device / n * 1e3:.3f} ms with a device of {DEVICE_RATE:,} patches a second")
