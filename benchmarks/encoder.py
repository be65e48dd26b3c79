"""What an encoder tells apart on real slides, with and without stain normalisation.

    python benchmarks/encoder.py [--encoder NAME] [--input-px 224 112] [--data FOLDER] [--figure FILE]

The slides are two regions of TCGA (a glioblastoma and a lower-grade glioma) and OpenSlide's small Aperio file. All
tissue tiles are encoded, as read and brought to the built-in stain target (the slide's own stain, Vahadane). Printed
are, for each input size and for features as they are (cosine distance):

- nearest: of how many patches the nearest other patch is of the same slide, and what chance would give;
- within, between: the mean distance of two patches of one slide, and of two of different slides; AUC: how often the
  latter is the larger (50 %: a patch does not know its slide);
- the same for the two regions of brain alone, whose difference is partly stain and partly the tumour;
- apart: how far the means of the two regions lie apart, in spreads of a region's patches round their mean;
- the stain alone: the mean distance between a patch of a region and the same patch in the stain of another slide.

The figure shows the patches on the first two principal components of all of them, before and after.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import torch

from ksfusion.slides import build_encoder, fit_stain, normalise_stain, open_slide, tile_grid
from ksfusion.slides.encoders.batches import PatchEncoder
from ksfusion.slides.stain.target import load_target

ROOT = Path(__file__).resolve().parents[1]
SLIDES = {
    "glioblastoma": ("TCGA-06-0174_gbm_roi_0.5mpp.png", 0.5),
    "lower grade": ("TCGA-HT-7470_lgg_roi_0.5mpp.png", 0.5),
    "Aperio": ("cmu-1-small-region.svs", None),
}
REGIONS = ("glioblastoma", "lower grade")


def read_patches(path: Path, mpp: float | None) -> np.ndarray:
    """Read all tissue tiles of a slide: (n, 224, 224, 3) uint8."""
    slide = open_slide(path, mpp)
    tiles = tile_grid(slide, min_tiles=1)
    return np.stack([slide.read(x, y, 224, 0.5) for x, y in tiles[["x", "y"]].itertuples(index=False)])


def cosine_distances(features: np.ndarray) -> np.ndarray:
    """Return the distances (n, n) of features (n, d)."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return 1 - unit @ unit.T


def compare(features: np.ndarray, slide: np.ndarray) -> dict[str, float]:
    """Return how much closer patches of one slide are than of different ones."""
    from sklearn.metrics import roc_auc_score

    distance = cosine_distances(features)
    upper = np.triu_indices(len(slide), 1)
    apart, pairs = (slide[:, None] != slide)[upper], distance[upper]
    np.fill_diagonal(distance, np.inf)
    shares = np.array([(slide == name).sum() for name in np.unique(slide)])
    return {
        "nearest": 100 * float((slide[distance.argmin(axis=1)] == slide).mean()),
        "chance": 100 * float((shares * (shares - 1)).sum() / (len(slide) * (len(slide) - 1))),
        "within": float(pairs[~apart].mean()),
        "between": float(pairs[apart].mean()),
        "auc": 100 * float(roc_auc_score(apart, pairs)),
    }


def means_apart(first: np.ndarray, second: np.ndarray) -> float:
    """Return the distance of the means of two groups of features, in root mean squares of the spread round them."""
    spread = np.mean([((group - group.mean(axis=0)) ** 2).sum(axis=1).mean() for group in (first, second)])
    return float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)) / np.sqrt(spread))


def draw(panels: dict[str, np.ndarray], names: np.ndarray, file: Path) -> None:
    """Draw the patches (n, d) of each panel on the principal components that all panels of a size share."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.decomposition import PCA

    figure, axes = plt.subplots(len(panels) // 2, 2, figsize=(7, 3.2 * len(panels) // 2), squeeze=False)
    titles = list(panels)
    for row, pair in zip(axes, zip(titles[::2], titles[1::2], strict=True), strict=True):
        model = PCA(2, random_state=0).fit(np.concatenate([panels[title] for title in pair]))
        for axis, title in zip(row, pair, strict=True):
            for name, colour in zip(SLIDES, ("#b2432f", "#2f6db2", "#8a8a8a"), strict=True):
                x, y = model.transform(panels[title][names == name]).T
                axis.scatter(x, y, s=10, color=colour, label=name)
            axis.set_title(title, fontsize=9)
            axis.set(xticks=[], yticks=[])
        for axis in row[1:]:
            axis.set(xlim=row[0].get_xlim(), ylim=row[0].get_ylim())
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--input-px", nargs="+", type=int, default=[224, 112])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/slides", help="folder of the slides")
    parser.add_argument("--figure", type=Path, help="a PNG to draw")
    args = parser.parse_args()

    target = load_target("builtin")
    patches = {name: read_patches(args.data / file, mpp) for name, (file, mpp) in SLIDES.items()}
    stains = {name: fit_stain(rgb) for name, rgb in patches.items()}
    names = np.concatenate([[name] * len(rgb) for name, rgb in patches.items()])
    print(", ".join(f"{name}: {len(rgb)} patches" for name, rgb in patches.items()))
    for name, other in itertools.combinations(SLIDES, 2):
        cosines = (stains[name].matrix * stains[other].matrix).sum(axis=1)
        angles = " and ".join(f"{angle:.1f}" for angle in np.degrees(np.arccos(cosines)))
        print(f"stains of {name} and {other}: haematoxylin and eosin {angles} degrees apart")
    encoder, panels = build_encoder(args.encoder), {}
    for side in args.input_px:
        encode = PatchEncoder(encoder, target, "cpu", 2, input_px=side)
        for word in ("as read", "normalised"):
            normalised = word == "normalised"
            started = time.perf_counter()
            parts = [encode(rgb, stains[name] if normalised else None) for name, rgb in patches.items()]
            rate = len(names) / (time.perf_counter() - started)
            features = panels[f"{side} px, {word}"] = encode.gathered(parts).astype(np.float64)
            print(f"\n{side} px, {word} ({rate:.0f} patches a second)")
            for title, rows in (("all three", names == names), ("the two regions", np.isin(names, REGIONS))):
                found = compare(features[rows], names[rows])
                print(f"  {title:16}", "  ".join(f"{key} {value:.3g}" for key, value in found.items()))
            print(f"  {'apart':16} {means_apart(*(features[names == name] for name in REGIONS)):.2f}")
            for name, other in ((name, other) for name in REGIONS for other in SLIDES if other != name):
                restained = normalise_stain(torch.from_numpy(patches[name]), stains[name], stains[other]).numpy()
                stain = fit_stain(restained) if normalised else None
                moved = encode.gathered([encode(restained, stain)]).astype(np.float64)
                pairs = np.diagonal(cosine_distances(np.concatenate([features[names == name], moved])), len(moved))
                print(f"  the stain alone: {name} in that of {other} {pairs.mean():.4f}")
        encode.close()
    if args.figure:
        draw(panels, names, args.figure)


if __name__ == "__main__":
    main()
