"""What encoding takes in memory, for the table of rates (benchmarks/rates.py): each number is a slope of two sizes.

On a processor each thread encodes a few patches by itself, so that memory grows with those that are encoded at the same
time; and with the batches that wait for it, which the readers have filled.
"""

from __future__ import annotations

import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import torch
from drawn_slides import draw_region, write_pyramid
from processes import tree_memory
from slides import sample, settings

from ksfusion.core.malloc import keep_freed_memory
from ksfusion.estimates.running import verb
from ksfusion.estimates.workload import BATCHES_WAITING
from ksfusion.slides.encoders.batches import PatchEncoder
from ksfusion.slides.encoders.build import Encoder, ThirdBlock, TokenAndMean, build_encoder, create_published
from ksfusion.slides.encoders.names import LITE0, RESNET50, SEEDED
from ksfusion.slides.encoders.presets import PRESETS

PX = 224
# Patches that a thread encodes at once; readers; patches of a batch.
ENCODED, READERS, BATCHES = (2, 10), (1, 4), (16, 256)
STATUS = Path("/proc/self/status")


def drawn_encoder(name: str) -> Encoder:
    """Return an encoder; the weights of published ones are zeros, which takes as much memory."""
    import timm

    if name == RESNET50:
        encoder = Encoder(ThirdBlock(timm.create_model("resnet50")), n_features=1024)
    elif preset := PRESETS.get(name):
        with torch.device("meta"):
            network = create_published(preset)
        network = network.to_empty(device="cpu")
        for values in (*network.parameters(), *network.buffers()):
            values.data.zero_()
        pooled = TokenAndMean(network) if preset.pooling == "token+mean" else network
        encoder = Encoder(pooled, n_features=preset.n_features)
    else:
        return build_encoder(name)
    return encoder.to(memory_format=torch.channels_last)


def encoding_mb(name: str, patches: int) -> float:
    """Return what one thread takes, in MB, to encode so many patches, beyond the network and these."""
    keep_freed_memory()
    encode = PatchEncoder(drawn_encoder(name), None, "cpu", 1)
    rgb = np.random.default_rng(0).integers(0, 256, (patches, PX, PX, 3), dtype=np.uint8)
    # The most so far becomes what there is now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _noted("VmRSS")
    encode(rgb, None)
    return _noted("VmHWM") - before


def _noted(name: str) -> float:
    (kilobytes,) = re.findall(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    return int(kilobytes) / 1000


def each_patch_mb(name: str) -> float:
    """Return what each further patch that is encoded at the same time takes, in MB."""
    taken = []
    for patches in ENCODED:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            taken.append(pool.submit(encoding_mb, name, patches).result())
    return max(taken[1] - taken[0], 0.0) / (ENCODED[1] - ENCODED[0])


def reading_mb() -> tuple[float, float, float]:
    """Return what a job, each process that reads and each patch of the batches that wait take, in MB.

    Batches wait where encoding takes longer than reading; the encoder of the other two takes next to nothing itself.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pyramid(folder / "slide.tif", draw_region(), 24_000, 20_000)
        (folder / "samples.tsv").write_text(f"slide_id\tslide\tmpp\nslide\t{folder}/slide.tif\t\n")
        given = ["--samples", f"{folder}/samples.tsv"]
        tiles, stain, patches = (folder / f"{part}.parquet" for part in ("tiles", "stain", "patches"))

        def run(verb_name: str, *options: str, encoder: str = SEEDED, **encoding: int) -> float:
            asked = settings(encoder=encoder, **encoding)[verb_name].as_json()
            return peak_mb([*verb(verb_name), *given, *options, "--settings", asked])

        run("tile-slides", "--batch", "0", "--masks", "--output", str(tiles))
        run("fit-stain", "--tiles", str(tiles), "--output", str(stain))
        sample(tiles, patches, 1600)
        files = ["--tiles", str(tiles), "--stain", str(stain), "--patches", str(patches)]

        def extract(readers: int, batch: int, encoder: str) -> float:
            output = folder / f"{encoder}-{readers}-{batch}" / "0.h5"
            options = [*files, "--threads", str(readers), "--output", str(output)]
            taken = run("extract-features", *options, encoder=encoder, batch_size=batch)
            print(f"extract_features, {readers} readers, batches of {batch}, {encoder}: {taken:.0f} MB", flush=True)
            return taken

        one, four = (extract(readers, BATCHES[0], SEEDED) for readers in READERS)
        few, many = (extract(READERS[0], batch, LITE0) for batch in BATCHES)
    waiting = [(READERS[0] + BATCHES_WAITING) * batch for batch in BATCHES]
    queued = max(many - few, 0.0) / (waiting[1] - waiting[0])
    reader = max(four - one, 0.0) / (READERS[1] - READERS[0])
    return one - READERS[0] * reader - waiting[0] * queued, reader, queued


def peak_mb(command: list[str]) -> float:
    """Return the most that a command and its children take at a time, in MB; what they share counts once."""
    process, most = psutil.Popen(command), 0
    while process.poll() is None:
        most = max(most, tree_memory(process))
        time.sleep(0.03)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed")
    return most / 1e6
