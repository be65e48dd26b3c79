"""A cohort whose truth is known, at the level of features and genes: what `benchmarks/planted.py` trains on.

The data model, stated once and not tuned to any method. A case has four latent values, independent standard normals:
t (its tumour's gene programme), e (its microenvironment's), p1 and p2 (how far two histological patterns have spread).

- Genes, 59 of the tumour and 361 of the microenvironment: 30 % follow the niche's programme (loading 0.5), all follow
  five factors that mean nothing (loadings of sd 0.3) and have noise of sd 1.
- Patches: a square map of tissue of six kinds in smooth regions; each kind has its own mean feature, a slide has a
  shift of its own (staining), a patch has noise of sd 1. Pattern 1 covers one region, a share of 0 to 0.5 of the map
  that rises with p1 (0.5 Phi(p1)), and shifts its patches by a vector of length 3; pattern 2 likewise with p2.
- Which pattern matters depends on the genes: m = p1 where t > 0, else p2. One modality alone cannot know m.
- Diagnosis has four classes, made of two bits: one is 1 with probability sigmoid(3 (t + e) / sqrt(2)), the other with
  sigmoid(3 m). Survival is exponential with log hazard 0.6 t + 0.6 e + 0.9 m; a third or so of the cases are censored.
- A case has one sample or two (every fourth case), with the same latents and labels, new genes' noise and a new slide.

Training and validation have the paper's 534 and 66 cases. The test set has more than the paper's 68, which tell methods
apart by no less than some five points. The oracles are Bayes rules given all four latents, the genes' (t, e) or the
patches' (p1, p2): no method that reads these can do better.

Beside the files of the earlier stages stand what each patch shows, ``shown.parquet``, and where it lies, ``places.h5``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from ksfusion.core.features_file import FeaturesWriter
from ksfusion.terms.tasks import TaskOutcome

N_TRAIN, N_VAL = 534, 66
N_GENES = {"tumour": 59, "tme": 361}
CLASSES = ["00", "01", "10", "11"]
TASKS = {
    "diagnosis": TaskOutcome(name="diagnosis", kind="classification", classes=CLASSES),
    "survival": TaskOutcome(name="survival", kind="survival"),
}
FILES = ["store", "expression.parquet", "selected.tsv", "samples.tsv", "cases.parquet", "splits.tsv"]
# What each patch shows, and where it lies.
SHOWN, PLACES = "shown.parquet", "places.h5"
TARGETS = ["first", "second", "pattern", "matters"]
# Of the logit of a bit of the diagnosis in what it depends on.
STEEPNESS = 3.0


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def smooth_field(random: np.random.Generator, side: int, scale: float) -> np.ndarray:
    """Draw a smooth random field (side * side,)."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(random.normal(size=(side, side)), scale, mode="wrap").ravel()


def draw_cases(
    random: np.random.Generator, n_test: int, *, n_train: int = N_TRAIN, steepness: float = STEEPNESS
) -> pd.DataFrame:
    """Draw latents, labels, and what the oracle says of them; ``steepness`` says how sure the labels are."""
    n_cases = n_train + N_VAL + n_test
    cases = pd.DataFrame(random.normal(size=(n_cases, 4)), columns=["t", "e", "p1", "p2"])
    cases["case_id"] = [f"C{number:04d}" for number in range(n_cases)]
    matters = np.where(cases["t"] > 0, cases["p1"], cases["p2"])
    p_first = sigmoid(steepness * (cases["t"] + cases["e"]) / np.sqrt(2))
    p_second = sigmoid(steepness * matters)
    first, second = (random.random(n_cases) < p for p in (p_first, p_second))
    cases["label_diagnosis"] = pd.array(2 * first + second, dtype="Int64")
    genes_risk, even = 0.6 * (cases["t"] + cases["e"]), np.full(n_cases, 0.5)
    p_either, either_risk = (
        (sigmoid(steepness * cases["p1"]) + sigmoid(steepness * cases["p2"])) / 2,
        0.45 * (cases["p1"] + cases["p2"]),
    )
    for known, bits, log_hazard in (
        ("all", (p_first, p_second), genes_risk + 0.9 * matters),
        ("genes", (p_first, even), genes_risk),
        ("patches", (even, p_either), either_risk),
    ):
        cases[f"{known}_risk"] = log_hazard
        for name in CLASSES:
            chances = [p if bit == "1" else 1 - p for p, bit in zip(bits, name, strict=True)]
            cases[f"{known}_{name}"] = chances[0] * chances[1]
    death = 700 * np.exp(-cases["all_risk"]) * random.exponential(size=n_cases)
    censoring = 1500 * random.exponential(size=n_cases)
    cases["days_survival"] = np.minimum(death, censoring).round() + 1
    cases["event_survival"] = pd.array((death <= censoring).astype(int), dtype="Int64")
    cases["split"] = np.repeat(["train", "val", "test"], [n_train, N_VAL, n_test])
    return cases


def draw_genes(random: np.random.Generator, samples: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw expression (samples x genes) and the table of genes."""
    tables, rows = [], []
    nuisance = random.normal(size=(len(samples), 5))
    for niche, latent in (("tumour", "t"), ("tme", "e")):
        n = N_GENES[niche]
        loading = np.where(random.random(n) < 0.3, 0.5 * random.choice([-1, 1], size=n), 0)
        values = samples[latent].to_numpy()[:, None] * loading
        values = values + nuisance @ random.normal(scale=0.3, size=(5, n)) + random.normal(size=(len(samples), n))
        symbols = [f"{niche}{number}" for number in range(n)]
        tables.append(pd.DataFrame(values.astype(np.float32), columns=symbols, index=samples["sample_id"]))
        categories = [f"{niche} {number % 4}" for number in range(n)]
        rows.append(pd.DataFrame({"symbol": symbols, "niche": niche, "category": categories}))
    return pd.concat(tables, axis=1), pd.concat(rows)


def draw_store(
    random: np.random.Generator,
    samples: pd.DataFrame,
    folder: Path,
    n_patches: int,
    width: int,
    *,
    placed: bool = False,
) -> dict[str, np.ndarray]:
    """Draw the maps of all samples into a store; return of each which patches show the two patterns, (2, n_patches).

    With ``placed`` the two patterns look alike: one lies in the left half of each map, the other in the right, so that
    what matters is told by its place alone.
    """
    from scipy.stats import norm

    folder.mkdir()
    side, n = int(n_patches**0.5), len(samples)
    kinds = random.normal(size=(6, width))
    pattern = random.normal(size=(2, width))
    pattern *= 3 / np.linalg.norm(pattern, axis=1, keepdims=True)
    left = np.tile(np.arange(side) < side // 2, side)
    halves = [left, ~left] if placed else [np.ones(n_patches, bool)] * 2
    if placed:
        pattern[1] = pattern[0]
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, (n * n_patches, width))
    shown = {}
    for number, sample in enumerate(samples.itertuples()):
        shown[sample.sample_id] = np.zeros((2, n_patches), bool)
        fields = np.stack([smooth_field(random, side, side / 8) for _ in kinds])
        patches = kinds[fields.argmax(axis=0)] + 0.3 * random.normal(size=width)
        patches = patches + random.standard_normal((n_patches, width), dtype=np.float32)
        for kind, (shift, spread, half) in enumerate(zip(pattern, (sample.p1, sample.p2), halves, strict=True)):
            field = smooth_field(random, side, side / 8)
            here = half & (field > np.quantile(field[half], 1 - 0.5 * norm.cdf(spread)))
            patches[here] += shift
            shown[sample.sample_id][kind] = here
        features[number * n_patches : (number + 1) * n_patches] = patches
    features.flush()
    np.save(folder / "index.npy", np.tile(np.arange(n_patches, dtype=np.int32), (n, 1)))
    blocks = pd.DataFrame({"slide_id": samples["slide_id"], "offset": np.arange(n) * n_patches, "n_unique": n_patches})
    blocks.to_csv(folder / "slides.tsv", sep="\t", index=False)
    (folder / "store.json").write_text(json.dumps({"d": width, "count": n_patches}), encoding="utf-8")
    return shown


def write_shown(folder: Path, samples: pd.DataFrame, shown: dict[str, np.ndarray]) -> None:
    """Write what each patch shows, either pattern and the one that matters by the case's genes, and where it lies."""
    side = int(next(iter(shown.values())).shape[1] ** 0.5)
    y, x = np.divmod(np.arange(side * side), side)
    tables = []
    with FeaturesWriter(folder / PLACES) as places:
        for sample in samples.itertuples():
            first, second = shown[sample.sample_id]
            matters = first if sample.t > 0 else second
            place = {"slide_id": sample.slide_id, "x": x, "y": y}
            values = (first, second, first | second, matters)
            tables.append(pd.DataFrame({**place, **dict(zip(TARGETS, values, strict=True))}))
            arrays = {"coords": np.stack([x, y], axis=1), "index": np.arange(side * side)}
            places.write(sample.slide_id, {"status": "ok", "mpp": 1.0}, arrays)
    pd.concat(tables, ignore_index=True).to_parquet(folder / SHOWN)


def draw_cohort(
    folder: Path,
    *,
    n_test: int,
    n_patches: int,
    width: int,
    seed: int,
    n_train: int = N_TRAIN,
    steepness: float = STEEPNESS,
    placed: bool = False,
) -> pd.DataFrame:
    """Draw a cohort and write it as the earlier stages would; return its cases."""
    random = np.random.default_rng(seed)
    cases = draw_cases(random, n_test, n_train=n_train, steepness=steepness)
    samples = pd.concat([cases, cases.iloc[::4]], ignore_index=True)
    samples["sample_id"] = [f"S{number:04d}" for number in range(len(samples))]
    samples["slide_id"], samples["cohort"], samples["status"] = samples["sample_id"], "planted", "ok"
    expression, genes = draw_genes(random, samples)
    write_shown(folder, samples, draw_store(random, samples, folder / "store", n_patches, width, placed=placed))
    expression.to_parquet(folder / "expression.parquet")
    genes.to_csv(folder / "selected.tsv", sep="\t", index=False)
    columns = ["sample_id", "case_id", "cohort", "slide_id", "status"]
    samples[columns].to_csv(folder / "samples.tsv", sep="\t", index=False)
    cases.drop(columns="split").to_parquet(folder / "cases.parquet")
    cases[["case_id", "split"]].assign(fold=0).to_csv(folder / "splits.tsv", sep="\t", index=False)
    return cases
