"""The feature vectors of every chosen patch."""

from __future__ import annotations

import logging
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ksfusion.core.malloc import keep_freed_memory
from ksfusion.core.timing import SlideTiming
from ksfusion.slides.config import Encoding, ExtractFeaturesSettings
from ksfusion.slides.encoders.names import check_patch_size
from ksfusion.slides.features.cache import FeatureCache, slide_key
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.patch_readers import PatchReaders
from ksfusion.slides.reading.prefetch import prefetch
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.staging import SlideCopies
from ksfusion.slides.stain.profiles import Profile, profile_of

if TYPE_CHECKING:
    import torch

    from ksfusion.slides.encoders.batches import PatchEncoder

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SlideWork:
    """What is to be read of a slide, or why nothing is."""

    slide_id: str
    source: SlideSource
    reason: str
    mpp: float
    corners: np.ndarray  # (unique, 2) level-0 x, y
    index: np.ndarray  # (count,) position in corners, in map order
    profile: Profile | None
    key: str = ""


def plan_work(
    sources: Mapping[str, SlideSource],
    tiles: pd.DataFrame,
    profiles: pd.DataFrame,
    patches: pd.DataFrame,
    shared: Mapping[str, Any],
    *,
    normalise: bool,
) -> list[SlideWork]:
    """Return what is to be read of each slide of a batch, in order of their ids.

    Parameters
    ----------
    sources
        The slides' files, by slide_id.
    tiles
        Table of `ksfusion.stages.tile_slides`: slide_id, mpp and digest of it.
    profiles
        Table of the fitted stains (`ksfusion.slides.stain.profiles.read_profiles`).
    patches
        Table of `ksfusion.stages.sample_patches`.
    shared
        Settings and code that the features of every slide are made with (`ksfusion.slides.features.cache.made_of`).
    normalise
        Bring patches to the target's stain.
    """
    known = tiles.drop_duplicates("slide_id").set_index("slide_id")
    work = []
    for slide_id, rows in patches.groupby("slide_id", sort=True):
        stain, source = profiles.loc[slide_id], sources[slide_id]
        reason = rows["reason"].iloc[0] or (stain["reason"] if stain["status"] == "failed" else "")
        _, first, index = np.unique(rows["tile"].to_numpy(), return_index=True, return_inverse=True)
        corners = rows[["x", "y"]].to_numpy()[first]
        profile = profile_of(stain) if normalise and not reason else None
        key = "" if reason else slide_key(shared, source, known.loc[slide_id, "digest"], corners, profile)
        mpp = float(known.loc[slide_id, "mpp"])
        work.append(SlideWork(slide_id, source, reason, mpp, corners, index, profile, key))
    return work


def encode_slides(
    work: Sequence[SlideWork],
    cache: FeatureCache,
    timing: SlideTiming,
    target: Profile,
    settings: ExtractFeaturesSettings,
    readers: PatchReaders,
    copies: SlideCopies,
    *,
    device: str,
) -> dict[str, SlideError]:
    """Encode slides, each tile once, and keep their features in the cache.

    Processes read and decode patches while those before them are normalised and encoded; on a processor as many threads
    encode.

    Parameters
    ----------
    work
        The slides.
    cache
        The place of their features.
    timing
        The place of the seconds that each took.
    target
        The stain that they are brought to.
    settings
        The settings of reading, normalising and encoding.
    readers
        The processes that read; the result does not depend on their number.
    copies
        The place where slides are copied to before they are read.
    device
        A PyTorch device.

    Returns
    -------
    dict of str to SlideError
        Those that failed.

    Raises
    ------
    UserError
        If the encoder does not fit the patches.
    """
    failures: dict[str, SlideError] = {}
    parts: defaultdict[int, dict[int, torch.Tensor]] = defaultdict(dict)  # of each slide under way, by where they start
    shown = tqdm(total=len(work), unit="slide", disable=not sys.stderr.isatty())
    with logging_redirect_tqdm(), shown:
        encode = _patch_encoder(settings.features, settings.slides.patch_px, target, device, readers.processes)
        local = copies.ahead([item.source for item in work])
        wanted = ((source, item.corners) for source, item in zip(local, work, strict=True))
        with (
            closing(encode),
            closing(prefetch(readers.read(wanted, settings.features.batch_size, encode.pin))) as groups,
        ):
            started = time.monotonic()
            for group in groups:
                item = work[group.slide]
                failure, features = group.failure, None
                if group.rgb is not None:
                    parts[group.slide][group.start] = encode(group.rgb, item.profile)
                    if not group.last:
                        continue
                    features = encode.gathered([part for _, part in sorted(parts[group.slide].items())])
                    failure = _not_finite(features, settings.features)
                parts.pop(group.slide, None)
                copies.done(group.slide)
                if failure is not None:
                    failures[item.slide_id] = failure
                    log.warning("%s\t%s: %s", item.slide_id, failure.reason, failure)
                elif features is not None:
                    cache.keep(item.slide_id, item.key, features)
                    seconds = time.monotonic() - started
                    timing.record(item.slide_id, seconds)
                    n, rate = len(item.corners), len(item.corners) / max(seconds, 1e-9)
                    log.info("%s\t%d patches\t%.2f s\t%.0f a second", item.slide_id, n, seconds, rate)
                started = time.monotonic()
                shown.update()
    return failures


def _not_finite(features: np.ndarray, settings: Encoding) -> SlideError | None:
    """Return what is wrong with the features of a slide where some are no finite numbers; None where all are."""
    bad = int((~np.isfinite(features)).any(axis=1).sum())
    if not bad:
        return None
    lost = f"{bad} of {len(features)} patches have features that are no finite numbers"
    if settings.precision == "float16":
        remedy = "set features.precision to bfloat16 or float32: beyond 65504 there is nothing in float16"
    else:
        remedy = "its weights may be damaged, or its features beyond 65504, the largest number that is stored"
    return SlideError(
        "not_finite", f"{lost} (features.encoder {settings.encoder}, features.precision {settings.precision}); {remedy}"
    )


def _patch_encoder(settings: Encoding, patch_px: int, target: Profile, device: str, threads: int) -> PatchEncoder:
    """Build the encoder and what feeds it."""
    # PyTorch comes with them.
    from ksfusion.slides.encoders.batches import PatchEncoder
    from ksfusion.slides.encoders.build import build_encoder

    keep_freed_memory()
    encoder = build_encoder(
        settings.encoder,
        settings.weights,
        device=device,
        precision=settings.precision,
        compiled=settings.compile,
    )
    check_patch_size(settings.encoder, encoder.input_px, patch_px, settings.input_px)
    return PatchEncoder(encoder, target, device, threads, input_px=settings.input_px)
