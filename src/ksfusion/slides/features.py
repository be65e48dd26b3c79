"""The feature vectors of every chosen patch."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ksfusion.errors import UserError
from ksfusion.slides.encoders import Encoder, build_encoder
from ksfusion.slides.presets import check_patch_size
from ksfusion.slides.reader import SlideError, open_slide
from ksfusion.slides.sources import SlideSource, slide_sources
from ksfusion.slides.stain import load_target, profile_of, read_profiles, require_supported
from ksfusion.slides.vahadane import StainProfile, normalise_stain

if TYPE_CHECKING:
    import h5py

BATCHES_AHEAD = 3
PATCHES_AT_ONCE = 16


class SlideWork(NamedTuple):
    """What is to be read of a slide, or why nothing is."""

    slide_id: str
    source: SlideSource
    reason: str
    mpp: float
    corners: np.ndarray  # (unique, 2) level-0 x, y
    index: np.ndarray  # (count,) position in corners, in map order
    profile: StainProfile | None


class Loaded(NamedTuple):
    """A batch of patches (n, px, px, 3) uint8 of a slide; the last has ``done``."""

    work: SlideWork
    rgb: np.ndarray | None
    done: bool
    failure: SlideError | None = None


def extract_batch(
    samples: Path,
    tiles: Path,
    stain_profiles: Path,
    patches: Path,
    output: Path,
    *,
    slides: Mapping[str, Any],
    stain: Mapping[str, Any],
    features: Mapping[str, Any],
    device: str = "cpu",
    threads: int | None = None,
) -> None:
    """Encode the patches of a batch of slides, each tile once.

    Patches are read and decoded in the background while those before them are normalised and encoded.

    Parameters
    ----------
    samples, tiles, stain_profiles, patches
        The user's table of samples, and those of the stages before.
    output
        HDF5: of each slide a group with ``features`` (unique, d) float16, ``coords`` (unique, 2) level-0 x and y,
        ``index`` (count,) in map order, and attributes status, reason, mpp; of a failed slide the attributes alone.
    slides, stain, features
        The settings blocks.
    device
        A PyTorch device: ``cpu`` or ``cuda``.
    threads
        How many threads read, and on a processor encode; the result does not depend on it. By default, PyTorch's.

    Raises
    ------
    UserError
        If a setting is not supported, or the encoder does not fit the patches.
    """
    import h5py
    import torch

    from ksfusion.provenance import provenance
    from ksfusion.storage import PROVENANCE_KEY, atomic

    if features["source"] != "extract":
        raise UserError(f"features.source: {features['source']!r} is not supported yet; use extract")
    require_supported(stain["method"])
    target = load_target(stain["target"])
    encoder = build_encoder(
        features["encoder"],
        features["weights"],
        device=device,
        precision=features["precision"],
        compiled=features["compile"],
    )
    check_patch_size(features["encoder"], encoder.input_px, slides["patch_px"])
    work = _plan(samples, tiles, stain_profiles, patches, normalise=stain["method"] != "none")
    settings = {"slides": dict(slides), "stain": dict(stain), "features": dict(features)}
    threads = threads or torch.get_num_threads()
    with (
        atomic(output) as temporary,
        h5py.File(temporary, "w") as file,
        closing(_Encoding(encoder, target, device, threads)) as encode,
        closing(_in_background(_load(work, slides, features["batch_size"], threads))) as batches,
    ):
        file.attrs[PROVENANCE_KEY] = json.dumps(provenance("ksfusion.slides.features", settings), sort_keys=True)
        encoded, started = [], time.monotonic()
        for loaded in batches:
            if loaded.rgb is not None:
                encoded.append(encode(loaded.rgb, loaded.work.profile))
            if loaded.done:
                _write_slide(file, loaded, encoded, time.monotonic() - started)
                encoded, started = [], time.monotonic()


def _plan(samples: Path, tiles: Path, stain_profiles: Path, patches: Path, *, normalise: bool) -> list[SlideWork]:
    """Gather what the stages before say of each slide."""
    from ksfusion.storage import read_parquet

    sources = slide_sources(samples)
    profiles = read_profiles(stain_profiles)
    mpp = read_parquet(tiles, columns=["slide_id", "mpp"]).drop_duplicates("slide_id").set_index("slide_id")["mpp"]
    work = []
    for slide_id, rows in read_parquet(patches).groupby("slide_id", sort=True):
        stain = profiles.loc[slide_id]
        reason = rows["reason"].iloc[0] or (stain["reason"] if stain["status"] == "failed" else "")
        _, first, index = np.unique(rows["tile"].to_numpy(), return_index=True, return_inverse=True)
        corners = rows[["x", "y"]].to_numpy()[first]
        profile = profile_of(stain) if normalise and not reason else None
        source = sources[slide_id]
        work.append(SlideWork(slide_id, source, reason, float(mpp[slide_id]), corners, index, profile))
    return work


def _load(work: list[SlideWork], slides: Mapping[str, Any], batch_size: int, threads: int) -> Iterator[Loaded]:
    """Read the patches of slide after slide, in batches."""
    size, mpp = slides["patch_px"], slides["mpp"]
    with ThreadPoolExecutor(threads) as pool:
        for item in work:
            if item.reason:
                yield Loaded(item, None, done=True)
                continue
            try:
                with open_slide(*item.source, reader=slides["reader"]) as slide:

                    def read(corner: list[int], slide: Any = slide) -> np.ndarray:
                        return slide.read(*corner, size, mpp)

                    for start in range(0, len(item.corners), batch_size):
                        batch = item.corners[start : start + batch_size].tolist()
                        rgb = np.stack(list(pool.map(read, batch)))
                        yield Loaded(item, rgb, done=start + batch_size >= len(item.corners))
            except SlideError as error:
                yield Loaded(item, None, done=True, failure=error)


def _in_background(items: Iterator[Loaded]) -> Generator[Loaded, None, None]:
    """Run an iterator in a thread, a few items ahead; an error in it is raised here."""
    ahead: queue.Queue = queue.Queue(maxsize=BATCHES_AHEAD)
    end, cancelled = object(), threading.Event()

    def put(value: Any) -> None:
        while not cancelled.is_set():
            try:
                ahead.put(value, timeout=0.2)
                return
            except queue.Full:
                continue

    def run() -> None:
        try:
            for item in items:
                put(item)
                if cancelled.is_set():
                    return
            put(end)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        cancelled.set()
        thread.join()


class _Encoding:
    """Normalises and encodes patches, a few at a time on each thread.

    On a processor each thread works alone on its own patches, rather than all on each small step: threads that wait
    for one another at every step come to a standstill when the cores have other work, and the result would depend on
    their number.
    """

    def __init__(self, encoder: Encoder, target: StainProfile, device: str, threads: int):
        import torch

        self._encoder, self._target, self._device = encoder, target, device
        on_processor = torch.device(device).type == "cpu"
        self._part = PATCHES_AT_ONCE if on_processor else None
        limit = {"initializer": torch.set_num_threads, "initargs": (1,)} if on_processor else {}
        self._pool = ThreadPoolExecutor(threads if on_processor else 1, **limit)
        constant = {"dtype": torch.float32, "device": device}
        std = torch.tensor(encoder.std, **constant)[:, None, None]
        self._scale = 1 / (255 * std)
        self._shift = -torch.tensor(encoder.mean, **constant)[:, None, None] / std

    def __call__(self, rgb: np.ndarray, profile: StainProfile | None) -> np.ndarray:
        """Turn (n, px, px, 3) uint8 patches into (n, d) float16."""
        step = self._part or len(rgb)
        parts = [rgb[start : start + step] for start in range(0, len(rgb), step)]
        return np.concatenate(list(self._pool.map(self._encode, parts, [profile] * len(parts))))

    def close(self) -> None:
        self._pool.shutdown()

    def _encode(self, rgb: np.ndarray, profile: StainProfile | None) -> np.ndarray:
        import torch

        with torch.inference_mode():
            patches = torch.from_numpy(rgb).to(self._device)
            if profile is not None:
                patches = normalise_stain(patches, profile, self._target)
            planes = torch.empty((len(patches), 3, *patches.shape[1:3]), device=patches.device)
            for colour in range(3):
                planes[:, colour] = patches[..., colour]
            planes.mul_(self._scale).add_(self._shift)
            return self._encoder(planes).half().cpu().numpy()


def _write_slide(file: h5py.File, loaded: Loaded, encoded: list[np.ndarray], seconds: float) -> None:
    work, failure = loaded.work, loaded.failure
    reason = failure.reason if failure else work.reason
    group = file.create_group(work.slide_id)
    group.attrs.update({"status": "failed" if reason else "ok", "reason": reason, "mpp": work.mpp})
    if reason:
        print(f"{work.slide_id}\t{reason}{f': {failure}' if failure else ''}", file=sys.stderr, flush=True)
        return
    group.create_dataset("features", data=np.concatenate(encoded))
    group.create_dataset("coords", data=work.corners.astype(np.int32))
    group.create_dataset("index", data=work.index.astype(np.int32))
    rate = len(work.corners) / max(seconds, 1e-9)
    print(f"{work.slide_id}\t{len(work.corners)} patches\t{rate:.0f} a second", file=sys.stderr, flush=True)
