"""What the slides of the demo cohort show: it follows from their view of the case, with some play per slide."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.ids import stable_hash
from ksfusion.demo.cohort import SEED, SLIDE_LATENTS, planted_samples
from ksfusion.demo.looks import SlideAppearance
from ksfusion.demo.slides import SlideTruth, draw_slide

# Share of the microvascular proliferation and of the necrosis that the look of a diagnosis can have.
VESSELS = {"glioblastoma": 0.8, "astrocytoma_g4": 0.55, "astrocytoma": 0.2, "oligodendroglioma": 0.45}
NECROSIS = {"glioblastoma": 0.8, "astrocytoma_g4": 0.35, "astrocytoma": 0.0, "oligodendroglioma": 0.0}


def seed_of(slide_id: str) -> int:
    """Return the seed that a slide is drawn with."""
    return stable_hash(f"{SEED}:{slide_id}")


def appearance_of(sample: pd.Series, seed: int) -> SlideAppearance:
    """Return what a sample's slide shows.

    Parameters
    ----------
    sample
        A row of `ksfusion.demo.cohort.planted_samples`.
    seed
        Seed of the random part.
    """
    play = np.random.default_rng(seed).normal(0, 0.05, 4)

    def amount(value: float, number: int) -> float:
        return float(np.clip(value + play[number], 0, 1))

    look, tumour, tme = (sample[name] for name in SLIDE_LATENTS)
    return SlideAppearance(
        diagnosis=look,
        tumour=amount(tumour, 0),
        lymphocytes=amount(tme, 1),
        vessels=amount(VESSELS[look] * (0.4 + 0.6 * tme), 2),
        necrosis=amount(NECROSIS[look] * tumour, 3) if NECROSIS[look] else 0.0,
        site=int(sample["site"]),
        width_um=sample["slide_width_um"],
        height_um=sample["slide_height_um"],
        mpp=sample["slide_mpp"],
    )


def planted_appearances(slide_ids: Collection[str]) -> dict[str, SlideAppearance]:
    """Return what slides of the demo show, by their ids; the demo's sample table names them."""
    planted = planted_samples().set_index("sample_id", drop=False)
    return {slide_id: appearance_of(planted.loc[slide_id], seed_of(slide_id)) for slide_id in slide_ids}


def draw_slides(
    appearances: Mapping[str, SlideAppearance], folder: Path, *, threads: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw slides, several at the same time.

    Parameters
    ----------
    appearances
        Appearance of each slide, by its id.
    folder
        Folder that gets ``{slide_id}.tiff``.
    threads
        The number of slides drawn at the same time.

    Returns
    -------
    slides : pandas.DataFrame
        One row per slide: slide_id, and what was drawn on it.
    tiles : pandas.DataFrame
        One row per tile: slide_id, and what was drawn there (`ksfusion.demo.truth.tile_truth`).
    """
    jobs = [(folder / f"{slide_id}.tiff", shown, seed_of(slide_id)) for slide_id, shown in appearances.items()]
    with ProcessPoolExecutor(threads, mp_context=get_context("forkserver")) as pool:
        drawn = dict(zip(appearances, pool.map(_draw, jobs), strict=True))
    slides = pd.DataFrame(
        [{"slide_id": slide_id, **asdict(appearances[slide_id]), **vars(truth)} for slide_id, truth in drawn.items()]
    ).drop(columns="tiles")
    slides["stain_matrix"] = [
        " ".join(f"{value:.4f}" for row in matrix for value in row) for matrix in slides["stain_matrix"]
    ]
    tiles = pd.concat({slide_id: truth.tiles for slide_id, truth in drawn.items()}, names=["slide_id"])
    return slides, tiles.reset_index("slide_id").reset_index(drop=True)


def _draw(job: tuple[Path, SlideAppearance, int]) -> SlideTruth:
    return draw_slide(*job)
