"""The feature vectors of every chosen patch."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ksfusion.core.timing import SlideTiming
from ksfusion.slides.encoders.presets import check_patch_size
from ksfusion.slides.features.cache import KEY, Aside, key_of, weights_digest
from ksfusion.slides.reading.backends import SlideError
from ksfusion.slides.reading.patch_readers import PatchReaders
from ksfusion.slides.reading.prefetch import in_background
from ksfusion.slides.reading.slide_files import SlideSource, slide_sources
from ksfusion.slides.stain.target import Profile, load_target, profile_of, read_profiles

if TYPE_CHECKING:
    from ksfusion.slides.encoders.batches import Encoding

STAGE = "ksfusion.slides.features.extraction"


class SlideWork(NamedTuple):
    """What is to be read of a slide, or why nothing is."""

    slide_id: str
    source: SlideSource
    reason: str
    mpp: float
    corners: np.ndarray  # (unique, 2) level-0 x, y
    index: np.ndarray  # (count,) position in corners, in map order
    profile: Profile | None
    key: str = ""


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

    Processes read and decode patches while those before them are normalised and encoded. A finished slide is kept
    aside (see `Aside`), so that a job that was killed goes on where it was.

    Parameters
    ----------
    samples, tiles, stain_profiles, patches
        The user's table of samples, and those of the stages before.
    output
        HDF5: of each slide a group with ``features`` (unique, d) float16, ``coords`` (unique, 2) level-0 x and y,
        ``index`` (count,) in map order, and attributes status, reason, mpp, and of what its features are made; of a
        failed slide the attributes alone.
    slides, stain, features
        The settings blocks.
    device
        A PyTorch device: ``cpu`` or ``cuda``.
    threads
        How many processes read, and on a processor how many threads encode; the result does not depend on it. By
        default, PyTorch's.

    Raises
    ------
    UserError
        If the encoder does not fit the patches.
    """
    target = load_target(stain["target"], stain["method"])
    made_of = _made_of(slides, stain, features, target, device)
    work = _plan(samples, tiles, stain_profiles, patches, made_of, normalise=stain["method"] != "none")
    aside = Aside(output)
    wanted = [item for item in work if not item.reason and (item.slide_id, item.key) not in aside]
    failures = {}
    if wanted:
        failures = _encode(wanted, aside, SlideTiming(output), target, slides, features, device, threads)
    _pack(work, failures, aside, output, {"slides": dict(slides), "stain": dict(stain), "features": dict(features)})
    aside.close()


def _made_of(
    slides: Mapping[str, Any], stain: Mapping[str, Any], features: Mapping[str, Any], target: Profile, device: str
) -> dict[str, Any]:
    """Say what the features of every slide are made with; the last bit of some networks' depends on ``batch_size``."""
    from ksfusion.core.provenance import code_version

    weights = weights_digest(features["weights"]) if features["weights"] else None
    return {
        "code": code_version(STAGE),
        "device": device.split(":")[0],
        "slides": {key: value for key, value in slides.items() if key != "timeout"},
        "stain": {"method": stain["method"], "target": [values.tolist() for values in _arrays(target)]},
        "features": {**features, "weights": weights},
    }


def _arrays(profile: Profile) -> list[np.ndarray]:
    return [value for value in vars(profile).values() if isinstance(value, np.ndarray)]


def _plan(
    samples: Path, tiles: Path, stain_profiles: Path, patches: Path, made_of: Mapping[str, Any], *, normalise: bool
) -> list[SlideWork]:
    """Gather what the stages before say of each slide."""
    from ksfusion.core.storage import read_parquet

    sources = slide_sources(samples)
    profiles = read_profiles(stain_profiles)
    table = read_parquet(tiles, columns=["slide_id", "mpp", "digest"])
    known = table.drop_duplicates("slide_id").set_index("slide_id")
    work = []
    for slide_id, rows in read_parquet(patches).groupby("slide_id", sort=True):
        stain = profiles.loc[slide_id]
        reason = rows["reason"].iloc[0] or (stain["reason"] if stain["status"] == "failed" else "")
        _, first, index = np.unique(rows["tile"].to_numpy(), return_index=True, return_inverse=True)
        corners = rows[["x", "y"]].to_numpy()[first]
        profile = profile_of(stain) if normalise and not reason else None
        source = sources[slide_id]
        key = ""
        if not reason:
            # The file's digest, when it was tiled: another file of the same name may have the same size.
            identity = {**made_of, "slide": [*source, source.size(), known.loc[slide_id, "digest"]]}
            key = key_of(identity, corners, *(_arrays(profile) if profile else ()))
        work.append(
            SlideWork(slide_id, source, reason, float(known.loc[slide_id, "mpp"]), corners, index, profile, key)
        )
    return work


def _encode(
    work: Sequence[SlideWork],
    aside: Aside,
    timing: SlideTiming,
    target: Profile,
    slides: Mapping[str, Any],
    features: Mapping[str, Any],
    device: str,
    threads: int | None,
) -> dict[str, SlideError]:
    """Encode slides and keep their features aside; return those that failed."""
    from tqdm import tqdm

    failures, parts = {}, []
    shown = tqdm(total=len(work), unit="slide", disable=not sys.stderr.isatty())
    # The readers start while PyTorch is imported.
    with PatchReaders(slides, threads or os.cpu_count() or 1) as readers, shown:
        encode = _encoding(features, slides, target, device, threads)
        groups = readers.read([(item.source, item.corners) for item in work], features["batch_size"])
        with closing(encode), closing(in_background(groups)) as read:
            started = time.monotonic()
            for group in read:
                item = work[group.slide]
                if group.failure:
                    failures[item.slide_id] = group.failure
                    _say(f"{item.slide_id}\t{group.failure.reason}: {group.failure}")
                else:
                    parts.append(encode(group.rgb, item.profile))
                    if not group.last:
                        continue
                    aside.keep(item.slide_id, item.key, encode.gathered(parts))
                    seconds = time.monotonic() - started
                    timing.record(item.slide_id, seconds)
                    rate = len(item.corners) / max(seconds, 1e-9)
                    _say(f"{item.slide_id}\t{len(item.corners)} patches\t{seconds:.2f} s\t{rate:.0f} a second")
                parts, started = [], time.monotonic()
                shown.update()
    return failures


def _encoding(
    features: Mapping[str, Any], slides: Mapping[str, Any], target: Profile, device: str, threads: int | None
) -> Encoding:
    """Build the encoder and what feeds it."""
    import torch

    from ksfusion.core.malloc import keep_freed_memory
    from ksfusion.slides.encoders.batches import Encoding
    from ksfusion.slides.encoders.build import build_encoder

    keep_freed_memory()
    encoder = build_encoder(
        features["encoder"],
        features["weights"],
        device=device,
        precision=features["precision"],
        compiled=features["compile"],
    )
    check_patch_size(features["encoder"], encoder.input_px, slides["patch_px"])
    return Encoding(encoder, target, device, threads or torch.get_num_threads())


def _say(line: str) -> None:
    """Write a line to the log; above the progress bar, where there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


def _pack(
    work: Sequence[SlideWork],
    failures: Mapping[str, SlideError],
    aside: Aside,
    output: Path,
    settings: Mapping[str, Any],
) -> None:
    """Write the batch's file."""
    import h5py

    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import PROVENANCE_KEY, atomic

    with atomic(output) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[PROVENANCE_KEY] = json.dumps(provenance(STAGE, settings), sort_keys=True)
        for item in work:
            failure = failures.get(item.slide_id)
            reason = failure.reason if failure else item.reason
            group = file.create_group(item.slide_id)
            group.attrs.update({"status": "failed" if reason else "ok", "reason": reason, "mpp": item.mpp})
            if not reason:
                group.attrs[KEY] = item.key
                group.create_dataset("features", data=aside.find(item.slide_id, item.key))
                group.create_dataset("coords", data=item.corners.astype(np.int32))
                group.create_dataset("index", data=item.index.astype(np.int32))
