"""Runs as training leaves them."""

import json

import pandas as pd

from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import write_tsv
from ksfusion.results.config import ShownTask

GRADING = ShownTask(name="grading", kind="classification", classes=["G2", "G3"])
SURVIVAL = ShownTask(name="survival", kind="survival")


def write_run(folder, task, rows, *, method="snn", fold=0, seed=0, reason="", best_epoch=2, external=(), has=None):
    """Write a run. Rows: sample_id, case_id, cohort, then y and the probabilities, or days, event and risk.

    ``external``: such rows of external cohorts. ``has``: what the samples have, where they differ in that.
    """
    run = folder / task.name / method / f"fold{fold}" / f"seed{seed}"
    run.mkdir(parents=True)
    outcome = ["days", "event", "risk"] if task.kind == "survival" else ["y", *(f"prob_{c}" for c in task.classes)]
    columns = ["sample_id", "case_id", "cohort", *outcome]
    predictions = pd.DataFrame([] if reason else [*rows, *external], columns=columns).assign(fold=fold)
    predictions["split"] = ["external" if number >= len(rows) else "test" for number in range(len(predictions))]
    if has is not None:
        predictions["modalities"] = has
    write_parquet(predictions, run / "predictions.parquet", {})
    metrics = {"status": "skipped" if reason else "ok", "reason": reason, "best_epoch": best_epoch}
    metrics.update(task=task.name, method=method, fold=fold, seed=seed)
    (run / "metrics.json").write_text(json.dumps(metrics))
    history = {"epoch": [1, 2, 3], "train_loss": [1.0, 0.8, 0.7], "val_metric": [0.5, 0.7, 0.6]}
    write_tsv(pd.DataFrame(history), run / "history.tsv")
    return run


ROWS = [
    ("S1", "C1", "a", 0, 0.8, 0.2),
    ("S2", "C1", "a", 0, 0.4, 0.6),
    ("S3", "C2", "b", 1, 0.1, 0.9),
]
