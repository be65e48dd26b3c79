"""The features of the patches of a batch of slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ksfusion.core.atomic import atomic
from ksfusion.core.devices import Device, choose_device
from ksfusion.core.errors import UserError
from ksfusion.core.features_file import FeaturesWriter
from ksfusion.core.parquet import read_parquet
from ksfusion.core.provenance import code_version, provenance
from ksfusion.core.timing import SlideTiming
from ksfusion.slides.config import ExtractFeaturesSettings
from ksfusion.slides.features.cache import KEY, FeatureCache, made_of
from ksfusion.slides.features.extraction import encode_slides, plan_work
from ksfusion.slides.reading.patch_readers import PatchReaders
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.reading.staging import SlideCopies
from ksfusion.slides.stain.profiles import read_profiles
from ksfusion.slides.stain.target import load_target


def extract_features(
    samples: Path,
    tiles: Path,
    stain: Path,
    patches: Path,
    output: Path,
    *,
    threads: int,
    settings: ExtractFeaturesSettings,
    device: Device = "auto",
    stage: Path | None = None,
) -> None:
    """Encode the patches of a batch of slides, each tile once.

    A finished slide is kept beside the output (`ksfusion.slides.features.cache`), so that a job that was killed goes on
    where it was.

    Parameters
    ----------
    samples
        Table of slide_id, slide and mpp: ``results/cohort/manifest.tsv`` of a run, or a table of samples.
    tiles
        Table of `ksfusion.stages.tile_slides`.
    stain
        Table of `ksfusion.stages.fit_stain`.
    patches
        Table of `ksfusion.stages.sample_patches`.
    output
        HDF5: of each slide a group with ``features`` (unique, d) float16, ``coords`` (unique, 2) level-0 x and y,
        ``index`` (count,) in map order, and attributes status, reason, mpp, and of what its features are made; of a
        failed slide the attributes alone.
    threads
        The number of processes that read, and on a processor of the threads that encode; the result does not depend on
        it.
    settings
        The settings of reading, normalising and encoding.
    device
        The device that encodes: auto takes a free GPU, if there is one.
    stage
        A folder on a fast disk, to which each slide is copied while the one before it is read.

    Raises
    ------
    UserError
        If the encoder does not fit the patches.
    """
    # The readers start while PyTorch is imported.
    with PatchReaders(settings.slides, threads) as readers:
        where = choose_device(device)
        target = load_target(settings.stain.target, settings.stain.method)
        work = plan_work(
            slide_sources(samples),
            read_parquet(tiles, columns=["slide_id", "mpp", "digest"]),
            read_profiles(stain),
            read_parquet(patches),
            made_of(settings, target, code=code_version(__name__), device=where),
            normalise=settings.stain.method != "none",
        )
        cache = FeatureCache(output)
        wanted = [item for item in work if not item.reason and (item.slide_id, item.key) not in cache]
        failures = {}
        if wanted:
            timing = SlideTiming(output)
            with SlideCopies(stage, settings.slides.timeout) as copies:
                failures = encode_slides(wanted, cache, timing, target, settings, readers, copies, device=where)
    with atomic(output) as temporary, FeaturesWriter(temporary, provenance(__name__, settings.record())) as file:
        for item in work:
            failure = failures.get(item.slide_id)
            reason = failure.reason if failure else item.reason
            attributes = {"status": "failed" if reason else "ok", "reason": reason, "mpp": item.mpp}
            if reason:
                file.write(item.slide_id, attributes)
                continue
            coords, index = item.corners.astype(np.int32), item.index.astype(np.int32)
            if (features := cache.find(item.slide_id, item.key)) is None:
                raise UserError(f"slide {item.slide_id}: its features were damaged as soon as written; run again")
            arrays = {"features": features, "coords": coords, "index": index}
            file.write(item.slide_id, {**attributes, KEY: item.key}, arrays)
    cache.close()
