"""Draw the slides of the demo cohort, and apart from them the truth."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ksfusion.core.ids import stable_hash
from ksfusion.core.storage import write_tsv
from ksfusion.demo.cohort import SEED, planted_samples
from ksfusion.demo.slides import SlideAppearance, draw_slide

if TYPE_CHECKING:
    from collections.abc import Sequence

# Share of the microvascular proliferation and of the necrosis that a diagnosis can show.
VESSELS = {"glioblastoma": 0.8, "astrocytoma_g4": 0.55, "astrocytoma": 0.2, "oligodendroglioma": 0.45}
NECROSIS = {"glioblastoma": 0.8, "astrocytoma_g4": 0.35, "astrocytoma": 0.0, "oligodendroglioma": 0.0}


def appearance_of(sample: pd.Series, seed: int) -> SlideAppearance:
    """Return what a sample's slide shows: amounts follow from diagnosis and latent scores, with some play per slide."""
    play = np.random.default_rng(seed).normal(0, 0.05, 4)

    def amount(value: float, number: int) -> float:
        return float(np.clip(value + play[number], 0, 1))

    return SlideAppearance(
        diagnosis=sample["diagnosis"],
        tumour=amount(sample["tumour"], 0),
        lymphocytes=amount(sample["tme"], 1),
        vessels=amount(VESSELS[sample["diagnosis"]] * (0.4 + 0.6 * sample["tme"]), 2),
        necrosis=amount(NECROSIS[sample["diagnosis"]] * sample["tumour"], 3) if NECROSIS[sample["diagnosis"]] else 0.0,
        site=int(sample["site"]),
        width_um=sample["slide_width_um"],
        height_um=sample["slide_height_um"],
        mpp=sample["slide_mpp"],
    )


def _draw(job: tuple[Path, SlideAppearance, int]) -> dict:
    path, appearance, seed = job
    return asdict(draw_slide(path, appearance, seed))


def draw_demo_slides(slide_ids: Sequence[str], folder: Path, truth: Path, *, threads: int = 1) -> None:
    """Draw slides of the demo cohort and write what was drawn on each.

    Parameters
    ----------
    slide_ids
        Which slides; the demo's sample table names them.
    folder
        Where ``{slide_id}.tiff`` goes.
    truth
        Table of the planted truth, one row per slide; no stage of the pipeline reads it.
    threads
        How many slides are drawn at the same time.
    """
    planted = planted_samples().set_index("sample_id", drop=False)
    jobs = []
    for slide_id in slide_ids:
        seed = stable_hash(f"{SEED}:{slide_id}")
        jobs.append((folder / f"{slide_id}.tiff", appearance_of(planted.loc[slide_id], seed), seed))
    with ProcessPoolExecutor(threads, mp_context=get_context("forkserver")) as pool:
        drawn = list(pool.map(_draw, jobs))
    rows = [
        {"slide_id": path.stem, **asdict(appearance), **shown}
        for (path, appearance, _), shown in zip(jobs, drawn, strict=True)
    ]
    table = pd.DataFrame(rows)
    table["stain_matrix"] = [
        " ".join(f"{value:.4f}" for row in matrix for value in row) for matrix in table["stain_matrix"]
    ]
    write_tsv(table, truth)
