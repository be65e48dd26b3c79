"""A small cohort with a planted signal, as the earlier stages leave it, and training on it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.parquet import read_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.training.config import RunSettings, TrainedTask, TrainModelSettings
from ksfusion.training.data import FoldFiles

SETTINGS = RunSettings(batch_size=8, lr=1e-3, weight_decay=1e-2, dropout=0.1, alpha=0.5, weight_by="sample")
CLASSES = ["low", "middle", "high"]
DIAGNOSIS = TrainedTask(name="diagnosis", kind="classification", classes=CLASSES, epochs=6)
SURVIVAL = TrainedTask(name="survival", kind="survival", classes=[], epochs=12)
N_PATCHES, N_FEATURES = 36, 12
NICHES = {"tumour": [f"T{number}" for number in range(5)], "tme": [f"E{number}" for number in range(7)]}


@dataclass(frozen=True)
class Cohort:
    """Files as the earlier stages leave them."""

    folder: Path

    @property
    def files(self) -> FoldFiles:
        names = ["store", "expression.parquet", "selected.tsv", "samples.tsv", "cases.parquet", "splits.tsv"]
        return FoldFiles(*(self.folder / name for name in names))

    def train(
        self, output: str, *, task: TrainedTask = DIAGNOSIS, method: str = "ksfusion", seed: int = 0, **settings
    ) -> Path:
        folder = self.folder / output
        self.train_seeds({seed: folder}, task=task, method=method, **settings)
        return folder

    def train_seeds(
        self,
        outputs: dict[int, Path],
        *,
        task: TrainedTask = DIAGNOSIS,
        method: str = "ksfusion",
        chosen: Path | None = None,
        teacher: Sequence[Path] | None = None,
        tensorboard: bool = False,
        fold: int = 0,
        **settings,
    ) -> None:
        """Train a method; a teacher that is not given is trained for one epoch."""
        from ksfusion.methods.registry import METHODS
        from ksfusion.stages.train_model import train_model

        taught_by = METHODS[method].teacher if method in METHODS else ""
        if taught_by and teacher is None:
            short = epochs(task, 1)
            names = [f"teachers/{task.name}/{seed}" for seed in outputs]
            teacher = [
                self.train(name, task=short, method=taught_by, seed=seed)
                for name, seed in zip(names, outputs, strict=True)
            ]
        train_model(
            self.files,
            list(outputs.values()),
            method=method,
            fold=fold,
            seed=list(outputs),
            settings=TrainModelSettings(task=task, training=SETTINGS.model_copy(update=settings)),
            chosen=chosen,
            teacher=teacher or [],
            tensorboard=tensorboard,
            device="cpu",
        )

    def file_options(self) -> list[str]:
        """Return the arguments of ``ksfusion`` that name the files."""
        return [
            text for field in fields(FoldFiles) for text in (f"--{field.name}", str(getattr(self.files, field.name)))
        ]

    def command(self, output: str, *, task: TrainedTask = DIAGNOSIS, method: str = "ksfusion", **settings) -> list[str]:
        """Return the arguments of ``ksfusion`` that train the same as `train` does."""
        values = TrainModelSettings(task=task, training=SETTINGS.model_copy(update=settings)).as_json()
        run = ["--method", method, "--fold", "0", "--seed", "0", "--settings", values]
        return ["train-model", *self.file_options(), *run, "--output", str(self.folder / output), "--device", "cpu"]

    def cases_of(self, split: str) -> list[str]:
        splits = read_tsv(self.folder / "splits.tsv", dtype=str)
        return splits.loc[splits["split"] == split, "case_id"].tolist()

    def relabel(self, case_ids, **values) -> None:
        cases = read_parquet(self.folder / "cases.parquet")
        for column, value in values.items():
            cases.loc[cases["case_id"].isin(case_ids), column] = value
        cases.to_parquet(self.folder / "cases.parquet")


def draw_cohort(folder: Path, n_cases: int = 60) -> Cohort:
    """Draw cases whose class shifts one feature of the patches, one tumour gene and one gene of the microenvironment.

    Every third case has two slides. A slide has fewer unique patches than its map. The last case has a slide that
    failed, the one before no label.
    """
    random = np.random.default_rng(5)
    folder.mkdir()
    label = np.arange(n_cases) % 3
    cases = pd.DataFrame({"case_id": [f"{number:03d}" for number in range(n_cases)]})
    cases["label_diagnosis"] = pd.array(label, dtype="Int64")
    cases["days_survival"] = np.round(1000 * np.exp(-1.5 * label) * random.exponential(size=n_cases)) + 1
    cases["event_survival"] = pd.array((random.random(n_cases) < 0.7).astype(int), dtype="Int64")
    cases.loc[n_cases - 2, ["label_diagnosis", "days_survival", "event_survival"]] = [pd.NA, np.nan, pd.NA]
    cases.to_parquet(folder / "cases.parquet")
    sides = np.array(["train", "train", "train", "val", "test"])[np.arange(n_cases) // 3 % 5]
    pd.DataFrame({"fold": 0, "case_id": cases["case_id"], "split": sides}).to_csv(
        folder / "splits.tsv", sep="\t", index=False
    )

    of_case = np.sort(np.concatenate([np.arange(n_cases), np.arange(0, n_cases, 3)]))
    samples = pd.DataFrame({"sample_id": [f"s{number}" for number in range(len(of_case))]})
    samples["case_id"] = cases["case_id"].to_numpy()[of_case]
    samples["cohort"] = "A"
    samples["slide_id"] = [f"slide{number}" for number in range(len(of_case))]
    samples["status"], samples["reason"] = "ok", ""
    samples.loc[len(of_case) - 1, ["status", "reason"]] = ["excluded", "no_tissue"]
    samples.to_csv(folder / "samples.tsv", sep="\t", index=False)

    symbols = NICHES["tumour"] + NICHES["tme"]
    expression = random.normal(size=(len(of_case), len(symbols))).astype(np.float32)
    expression[:, [0, 5]] += 1.5 * label[of_case][:, None]
    table = pd.DataFrame(expression, columns=symbols, index=pd.Index(samples["sample_id"], name="sample_id"))
    table.iloc[:-1].sample(frac=1, random_state=0).to_parquet(folder / "expression.parquet")
    selected = pd.DataFrame({"symbol": symbols, "rank": range(1, 13), "variance": 1.0})
    selected["niche"] = ["tumour"] * 5 + ["tme"] * 7
    selected["category"] = ["growth"] * 5 + ["vessels"] * 3 + ["immune"] * 4
    selected["source"] = "drawn"
    selected.sample(frac=1, random_state=1).to_csv(folder / "selected.tsv", sep="\t", index=False)

    n_unique = random.integers(9, 20, size=len(of_case) - 1)
    offsets = np.concatenate([[0], np.cumsum(n_unique)[:-1]])
    features = random.normal(size=(n_unique.sum(), N_FEATURES))
    for slide, (offset, count) in enumerate(zip(offsets, n_unique, strict=True)):
        features[offset : offset + count, 3] += 0.8 * label[of_case[slide]]
    store = folder / "store"
    store.mkdir()
    np.save(store / "features.npy", features.astype(np.float16))
    np.save(store / "index.npy", np.stack([np.arange(N_PATCHES) % count for count in n_unique]).astype(np.int32))
    blocks = pd.DataFrame({"slide_id": samples["slide_id"][:-1], "offset": offsets, "n_unique": n_unique})
    blocks.to_csv(store / "slides.tsv", sep="\t", index=False)
    (store / "store.json").write_text(json.dumps({"d": N_FEATURES, "count": N_PATCHES}))
    return Cohort(folder)


def epochs(task: TrainedTask, number: int) -> TrainedTask:
    """Return a task that is trained for another number of epochs."""
    return task.model_copy(update={"epochs": number})


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())
