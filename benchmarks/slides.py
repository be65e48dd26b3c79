"""How fast slides become features: stain normalisation against staintools, the encoder, and the whole stage.

    python benchmarks/slides.py [--region IMAGE] [--encoder NAME] [--weights FILE] [--device cpu] [--threads N]

IMAGE is a region of stained tissue at 0.5 um/px (PNG, JPEG or TIFF); without it, one is drawn. All figures of a run
come from the same machine in the same minutes; compare ratios rather than seconds.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import torch
from PIL import Image

from ksfusion.slides import build_encoder, fit_stain, normalise_stain, open_slide
from ksfusion.slides.encoding import Encoding
from ksfusion.slides.features import extract_batch
from ksfusion.slides.sampling import sample_batch
from ksfusion.slides.stain import fit_batch, load_target
from ksfusion.slides.tiling import tile_batch

SLIDES = {
    "reader": "auto", "icc": "none", "mpp": 0.5, "patch_px": 224, "min_tissue": 0.5, "min_tiles": 10,
    "max_upsampling": 1.1, "batches": 1, "timeout": 600,
}  # fmt: skip
STAIN = {"method": "vahadane", "target": "builtin"}


def best_of(repeats, function):
    """Return the shortest of several runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def draw_region():
    """Draw pixels of two stains."""
    random = np.random.default_rng(0)
    concentrations = random.gamma(1.5, 0.4, (1024, 1024, 2))
    matrix = np.array([[0.65, 0.65, 0.39], [0.16, 0.93, 0.33]])
    return np.round(255 * np.exp(-concentrations @ matrix)).astype(np.uint8)


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
    ratios = f"{fitting / ours:.0f} and {applying / ours:.1f} times as fast"
    print(f"                    ksfusion   {ours * 1e3:8.2f} ms: {ratios}")
    print(f"fit a slide's stain ksfusion   {best_of(2, lambda: fit_stain(patches_of(region, 200_000))) * 1e3:8.0f} ms")


def patches_of(region, count):
    pixels = region.reshape(-1, 3)
    return pixels[np.linspace(0, len(pixels) - 1, count).astype(int)]


def time_extraction(region, folder, arguments):
    """Print the rate of reading alone, encoding alone, and both together."""
    slide_path = folder / "slide.tiff"
    tifffile.imwrite(
        slide_path, np.tile(region[:1008, :1008], (5, 4, 1)), tile=(256, 256), photometric="rgb", compression="jpeg",
        resolution=(20000, 20000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    names = ("samples.tsv", "tiles.parquet", "stain.parquet", "patches.parquet")
    samples, tiles, stain, patches = inputs = [folder / name for name in names]
    pd.DataFrame({"slide_id": ["slide"], "slide": [str(slide_path)], "mpp": [np.nan]}).to_csv(
        samples, sep="\t", index=False
    )
    tiling = best_of(1, lambda: tile_batch(samples, tiles, batch=0, slides=SLIDES))
    staining = best_of(1, lambda: fit_batch(samples, tiles, stain, slides=SLIDES, stain=STAIN))
    sample_batch(tiles, patches, patches={"count": 400, "order": "raster"})
    corners = pd.read_parquet(patches).drop_duplicates("tile")[["x", "y"]].to_numpy().tolist()

    encoder = build_encoder(arguments.encoder, arguments.weights).to(arguments.device)
    encode = Encoding(encoder, load_target("builtin"), arguments.device, arguments.threads)

    def read_all():
        with open_slide(slide_path) as slide:
            return [slide.read(x, y, 224, 0.5) for x, y in corners]

    rgb, profile = np.stack(read_all()), fit_stain(region)
    reading = best_of(2, read_all)
    network = best_of(2, lambda: encode(rgb, None))
    encoding = best_of(2, lambda: encode(rgb, profile))
    features = {"source": "extract", "encoder": arguments.encoder, "weights": arguments.weights, "batch_size": 64}
    options = {"slides": SLIDES, "stain": STAIN, "features": features}
    options |= {"device": arguments.device, "threads": arguments.threads}
    whole = best_of(2, lambda: extract_batch(*inputs, folder / "features.h5", **options))
    n = len(corners)
    print(f"tile a slide        {tiling:6.2f} s with its worker's start; its stain {staining:.2f} s with reading")
    print(f"encode              {n / network:6.0f} patches/s, {n / encoding:.0f} with stain normalisation")
    print(f"read                {n / reading:6.0f} patches/s on one thread")
    slower = max(reading / arguments.threads, encoding)
    print(f"extract             {n / whole:6.0f} patches/s: {whole / slower:.2f} times its slower part alone")
    if arguments.device == "cpu":
        work = reading / arguments.threads + encoding
        print(f"                    {whole / work:.2f} times both parts, which share the cores")


def main():
    """Run every benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", type=Path)
    parser.add_argument("--encoder", default="seeded-conv")
    parser.add_argument("--weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    region = np.asarray(Image.open(arguments.region).convert("RGB")) if arguments.region else draw_region()
    print(f"{arguments.encoder} on {arguments.device}, {arguments.threads} threads")
    compare_normalisation(region)
    with tempfile.TemporaryDirectory() as folder:
        time_extraction(region, Path(folder), arguments)


if __name__ == "__main__":
    main()
