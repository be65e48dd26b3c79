"""How fast slides become features, as ratios measured in one run, and how much memory it takes.

    python benchmarks/slides.py [normalise] [read] [stand-in] [tile] [extract] [memory] [--region IMAGE]
                                [--encoder NAME] [--precision float32] [--device cpu] [--threads N] [--patches 2500]

normalise   stain normalisation of a patch against staintools' own, on one core
read        patches from pyramids in JPEG, with OpenSlide and without, in turn
stand-in    the stage with a device that computes nothing, beside reading alone
tile        tissue and grid of a pyramidal slide of 100,000 x 80,000 px
extract     patches to features, against reading alone and the encoder alone
memory      peak memory for a slide of ten times the area, and for ten times as many slides

IMAGE is a region of stained tissue at 0.5 um/px (PNG, JPEG or TIFF); without it, one is drawn. The encoder's weights
are drawn, as none can be fetched everywhere: that changes the features, not the time. All figures of a run come from
the same machine in the same minutes; compare ratios rather than seconds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from drawn_slides import draw_region, large_slide, write_pyramid, write_samples
from PIL import Image
from processes import run
from slide_reading import time_plain_reading, time_reading, time_stage, time_stand_in

from ksfusion.core.malloc import keep_freed_memory
from ksfusion.slides import build_encoder, fit_stain, normalise_stain, open_slide, tile_grid
from ksfusion.slides.config import (
    DrawOverviewsSettings,
    Encoding,
    ExtractFeaturesSettings,
    FitStainSettings,
    Patches,
    Reading,
    SamplePatchesSettings,
    Stain,
    TileSlidesSettings,
    Tiling,
)
from ksfusion.slides.encoders.batches import PatchEncoder
from ksfusion.slides.encoders.build import create_published
from ksfusion.slides.encoders.presets import PRESETS
from ksfusion.slides.reading.patch_readers import PatchReaders
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.stain.target import load_target
from ksfusion.stages.fit_stain import fit_stain as fit_stain_of_slides
from ksfusion.stages.sample_patches import sample_patches
from ksfusion.stages.tile_slides import tile_slides

VERBS = ("tile-slides", "fit-stain", "draw-overviews", "extract-features")
READING, STAIN = Reading(), Stain()
FORWARD_PATCHES = 400  # that the encoder alone is timed on
PARTS = ("normalise", "read", "stand-in", "tile", "extract", "memory")


def settings(**encoding):
    """Return the settings of each verb, at their defaults but for these of the encoder."""
    encoding = Encoding(**{"batch_size": 64} | encoding)
    of_verbs = (
        TileSlidesSettings(slides=Tiling(batches=1)),
        FitStainSettings(slides=READING, stain=STAIN),
        DrawOverviewsSettings(slides=READING),
        ExtractFeaturesSettings(slides=READING, stain=STAIN, features=encoding),
    )
    return dict(zip(VERBS, of_verbs, strict=True))


def sample(tiles, patches, count):
    """Choose so many patches of each slide, in raster order."""
    chosen = SamplePatchesSettings(patches=Patches(count=count), min_tiles=1)
    sample_patches(tiles, patches, settings=chosen)


def best_of(repeats, function):
    """Return the shortest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def compare_normalisation(region):
    """Print staintools' time for a patch and ours, on one thread."""
    from staintools.stain_normalizer import StainNormalizer

    patches = [np.ascontiguousarray(region[y : y + 224, x : x + 224]) for y in (0, 224, 448) for x in (0, 224, 448)]
    profile, target = fit_stain(region), load_target("builtin")
    theirs = StainNormalizer("vahadane")
    theirs.stain_matrix_target, theirs.maxC_target = target.matrix, target.max_concentration.reshape(1, 2)
    fitting = best_of(2, lambda: theirs.transform(patches[0].copy()))
    theirs.extractor = type("Fitted", (), {"get_stain_matrix": staticmethod(lambda _: profile.matrix)})
    applying = best_of(3, lambda: [theirs.transform(patch.copy()) for patch in patches]) / len(patches)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    stack = torch.from_numpy(np.stack(patches))
    ours = best_of(5, lambda: normalise_stain(stack, profile, target)) / len(patches)
    torch.set_num_threads(threads)
    print(f"normalise a patch   staintools {fitting * 1e3:8.1f} ms, its matrix fitted on each patch")
    print(f"                    staintools {applying * 1e3:8.1f} ms, its matrix given")
    print(f"                    ksfusion   {ours * 1e3:8.2f} ms: {fitting / ours:.0f} times as fast (aim: 400),")
    print(f"                    {applying / ours:.1f} times with the matrix given")
    pixels = region.reshape(-1, 3)[np.linspace(0, region[..., 0].size - 1, 200_000).astype(int)]
    print(f"fit a slide's stain ksfusion   {best_of(2, lambda: fit_stain(pixels)) * 1e3:8.0f} ms on 200,000 pixels")


def time_tiling(region, folder):
    """Print the time and memory of tissue and grid of a large slide."""
    path = large_slide(folder, region)

    def tile(reader="auto"):
        with open_slide(path, reader=reader) as slide:
            return tile_grid(slide)

    def processor_seconds(reader):
        started = time.process_time()
        tile(reader)
        return time.process_time() - started

    keep_freed_memory()  # as the stage's processes do
    tile()
    spent = {reader: min(processor_seconds(reader) for _ in range(3)) for reader in ("openslide", "auto")}
    print(f"tile 100,000 x 80,000 px: tissue and grid {spent['auto']:.2f} s of processor time (aim: 1.2), by OpenSlide")
    print(f"                          {spent['openslide']:.2f} s; {len(tile())} tiles")
    seconds, memory = run(stage(folder, "tile-slides", write_samples(folder, [path])), folder)
    print(f"                          the whole stage {seconds:.2f} s with its start, {memory:.2f} GiB (aim: 1)")


def stage(folder, verb, samples, of_verbs=None, **options):
    """Return the command of a stage on the slides of a table."""
    of_verbs = of_verbs or settings(encoder="seeded-conv")
    given = {"samples": samples, "settings": of_verbs[verb].as_json()}
    given |= {"batch": 0} if verb == "tile-slides" else {"tiles": folder / "tile-slides.out"}
    given |= {"output": folder / f"{verb}.out"} | options
    command = [sys.executable, "-m", "ksfusion", verb]
    return command + [str(word) for name, value in given.items() for word in (f"--{name}", value)]


def time_extraction(region, folder, arguments):
    """Print the rate of reading alone, of the encoder alone, and of the stage."""
    path = write_pyramid(folder / "slide.tiff", region, 40_000, 34_000)
    names = ("tiles.parquet", "stain.parquet", "patches.parquet")
    samples = write_samples(folder, [path])
    tiles, stain, patches = (folder / name for name in names)
    changes = {"encoder": arguments.encoder, "precision": arguments.precision}
    if arguments.encoder != "seeded-conv":
        import timm
        from safetensors.torch import save_file

        torch.manual_seed(0)
        if arguments.encoder in PRESETS and arguments.encoder != "resnet50":
            network = create_published(PRESETS[arguments.encoder])
        else:
            name = "resnet50.tv_in1k" if arguments.encoder == "resnet50" else arguments.encoder.removeprefix("timm:")
            network = timm.create_model(name, num_classes=0)
        save_file(network.state_dict(), folder / "drawn.safetensors")
        changes["weights"] = str(folder / "drawn.safetensors")
    if arguments.device != "cpu":
        changes["batch_size"] = 256
    of_verbs = settings(**changes)
    tile_slides(samples, tiles, batch=0, settings=of_verbs["tile-slides"])
    fit_stain_of_slides(samples, tiles, stain, settings=of_verbs["fit-stain"])
    sample(tiles, patches, arguments.patches)
    corners = pd.read_parquet(patches).drop_duplicates("tile")[["x", "y"]].to_numpy()
    n, group = len(corners), of_verbs["extract-features"].features.batch_size
    source = SlideSource(str(path), None)

    keep_freed_memory()  # as the stage does
    encoder = build_encoder(
        arguments.encoder, changes.get("weights"), device=arguments.device, precision=arguments.precision
    )
    encode = PatchEncoder(encoder, load_target("builtin"), arguments.device, arguments.threads)
    with PatchReaders(READING, arguments.threads) as readers:
        groups = [part.rgb for part in readers.read([(source, corners)], group)]
    piped, _, _ = time_stage(source, corners, folder, arguments.threads, group=group)
    reading = min(time_plain_reading(source, corners, group, arguments.threads)[0] for _ in range(2))

    groups = groups[: -(-FORWARD_PATCHES // group)]
    n_forward = sum(map(len, groups))
    on_device = [torch.from_numpy(rgb).to(arguments.device) for rgb in groups]
    profile = fit_stain(region)

    def forward(with_stain):
        # On a processor its threads take the patches from the same memory; on a GPU they lie there already.
        if arguments.device == "cpu":
            return [encode(rgb, profile if with_stain else None) for rgb in groups]
        result = [encode._encode(rgb, profile if with_stain else None) for rgb in on_device]
        torch.cuda.synchronize()
        return result

    forward(False)
    network = best_of(2, lambda: forward(False)) * n / n_forward
    encoding = best_of(2, lambda: forward(True)) * n / n_forward
    encode.close()
    options = {"tiles": tiles, "stain": stain, "patches": patches, "output": folder / "features.h5"}
    options |= {"device": arguments.device, "threads": arguments.threads}
    extraction, _ = run(stage(folder, "extract-features", samples, of_verbs, **options), folder)
    print(f"{arguments.encoder}, {arguments.precision}, {arguments.device}, {arguments.threads} threads, {n} patches")
    print(f"read and decode     {n / reading:6.0f} patches/s with as many processes,")
    print(f"                    {n / piped:6.0f} in the stage with a device that takes no time")
    print(f"encoder's forward   {n / network:6.0f} patches/s, {n / encoding:.0f} with stain normalisation before it")
    share = max(reading, network) / extraction
    print(f"the whole stage     {n / extraction:6.0f} patches/s with its start: {share:.2f} of the slower (aim: 0.85)")
    if arguments.device == "cpu":
        print(f"                    {(reading + encoding) / extraction:.2f} of both in turn, which share the cores")


def peak_memory(command):
    """Return the peak memory in GiB of the largest process of a command."""
    code = "import resource as r, subprocess as s, sys; s.run(sys.argv[1:], check=True, stderr=s.DEVNULL)"
    code += "; print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) / 2**20


def compare_memory(region, folder):
    """Print the peak memory of the largest process of the stages at ten times the area and ten times the slides."""
    small, large = (31_600, 25_300), (100_000, 80_000)
    cases = {"one slide": [small], "ten times the area": [large], "ten slides": [small] * 10}
    for name, sizes in cases.items():
        place = folder / name.replace(" ", "_")
        place.mkdir()
        paths = [write_pyramid(place / f"s{i}.tiff", region, *size) for i, size in enumerate(sizes)]
        samples, patches = write_samples(place, paths), place / "patches.out"
        peaks = [peak_memory(stage(place, verb, samples)) for verb in VERBS[:2]]
        sample(place / "tile-slides.out", patches, 400)
        peaks.append(peak_memory(stage(place, "draw-overviews", samples, patches=patches)))
        options = {"stain": place / "fit-stain.out", "patches": patches, "threads": 2}
        peaks.append(peak_memory(stage(place, "extract-features", samples, **options)))
        print(f"memory, {name:18}  " + "  ".join(f"{v} {p:.2f} GiB" for v, p in zip(VERBS, peaks, strict=True)))


def main():
    """Run the parts asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--region", type=Path)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--patches", type=int, default=2500, help="a square number")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(unknown)}")
    region = np.asarray(Image.open(arguments.region).convert("RGB")) if arguments.region else draw_region()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls = {
            "normalise": lambda: compare_normalisation(region),
            "read": lambda: time_reading(region, folder, arguments),
            "stand-in": lambda: time_stand_in(region, folder, arguments),
            "tile": lambda: time_tiling(region, folder),
            "extract": lambda: time_extraction(region, folder, arguments),
            "memory": lambda: compare_memory(region, folder),
        }
        for part in arguments.parts or PARTS:
            calls[part]()


if __name__ == "__main__":
    main()
