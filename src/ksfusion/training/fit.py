"""The epochs of a training, and which of them is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.errors import UserError
from ksfusion.methods.registry import TrainingRules
from ksfusion.training.data import FoldData
from ksfusion.training.objective import Classification, Survival, sample_weights
from ksfusion.training.optimiser import Adam
from ksfusion.training.step import training_step

if TYPE_CHECKING:
    from ksfusion.methods.output import Method

HISTORY = ["epoch", "train_loss", "val_loss", "val_metric", "learning_rate", "seconds"]


@dataclass
class Fitted:
    """A training's outcome.

    Attributes
    ----------
    weights
        State of the model after the best epoch.
    best_epoch
        From 1.
    selected_by
        On validation samples: ``auc`` or ``c_index`` (the highest; equal ones by loss), ``auc_or_accuracy`` (the last
        to raise one of them), ``loss`` (the lowest); or ``last``.
    selection_reason
        Why it was not chosen by the metric; empty where it was.
    val
        Metric (percent, None where undefined) and loss (None without validation samples) of the best epoch.
    history : pandas.DataFrame
        One row per epoch: means over its steps, and the validation's loss and metric (percent).
    """

    weights: dict[str, Tensor]
    best_epoch: int
    selected_by: str
    selection_reason: str
    val: dict[str, float | None]
    history: pd.DataFrame


def predict(model: Method, data: FoldData, positions: np.ndarray, *, batch_size: int) -> Tensor:
    """Return the logits of samples, (n, n_outputs), on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        logits = [model(*data.gather(part, device)).logits.float().cpu() for part in _batches(positions, batch_size)]
    return torch.cat(logits)


def fit(
    model: Method,
    data: FoldData,
    objective: Classification | Survival,
    *,
    epochs: int,
    seed: int,
    settings: Mapping[str, Any],
    rules: TrainingRules,
    name: str,
) -> Fitted:
    """Train a model with Adam, its learning rate falling along a cosine from the first step to the last.

    Parameters
    ----------
    model
        Is changed; its final state is that of the last epoch.
    data
        Its labelled training samples teach, its labelled validation samples choose the epoch.
    objective
        Fitted on the training samples.
    epochs
        How many times each sample is seen.
    seed
        Of the order of samples.
    settings
        ``batch_size``, ``lr``, ``weight_decay`` and ``weight_by``.
    rules
        Of the method.
    name
        Which run this is, for messages.

    Raises
    ------
    UserError
        If the loss is no longer finite.
    """
    device = next(model.parameters()).device
    train, val = data.labelled("train"), data.labelled("val")
    truth, weights = _known(data, train, objective, settings, device)
    val_truth, val_weights = _known(data, val, objective, settings, torch.device("cpu"))
    batch_size = settings["batch_size"]
    # L2 weight decay in the gradient, as in the paper, not AdamW's.
    optimiser = Adam(model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"], fused=True)
    # An incomplete batch that is the only one stays.
    n_seen = max(len(train) // batch_size, 1) * batch_size if rules.drop_last else len(train)
    n_steps = epochs * math.ceil(min(n_seen, len(train)) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=n_steps)
    order = np.random.default_rng(seed)

    history: list[dict[str, float]] = []
    best: tuple[tuple[float, ...], int, dict[str, Tensor]] | None = None
    best_accuracy = math.nan
    for epoch in range(1, epochs + 1):
        start, learning_rate, records = time.perf_counter(), schedule.get_last_lr()[0], []
        model.train()
        for part in _batches(order.permutation(len(train))[:n_seen], batch_size):
            chosen = torch.from_numpy(part).to(device)
            records.append(
                training_step(
                    model,
                    optimiser,
                    *data.gather(train[part], device),
                    {key: values[chosen] for key, values in truth.items()},
                    weights[chosen],
                    objective=objective,
                    coordinate_rows=rules.coordinate_rows,
                )
            )
            schedule.step()
        means = _means(records)
        score = val_loss = accuracy = math.nan
        if len(val):
            logits = predict(model, data, val, batch_size=batch_size)
            score, val_loss = objective.score(logits, val_truth), float(objective.loss(logits, val_truth, val_weights))
            accuracy = objective.accuracy(logits, val_truth) if rules.keep_by_accuracy else math.nan
        if not math.isfinite(means["train_loss"]) or (len(val) and not math.isfinite(val_loss)):
            raise UserError(
                f"{name}: the loss is not finite in epoch {epoch}; lower training.lr ({settings['lr']}), or look for "
                "extreme values in the features and the expression"
            )
        seconds = time.perf_counter() - start
        row = {"epoch": epoch, "val_loss": val_loss, "val_metric": 100 * score, "learning_rate": learning_rate}
        history.append({**means, **row, "seconds": round(seconds, 3)})
        key = _merit(score, val_loss, epoch)
        # NaN is above nothing: without that rule, and for survival, accuracy keeps no epoch.
        if best is None or key > best[0] or accuracy > best_accuracy:
            best_accuracy = accuracy
            best = (key, epoch, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()})

    table = pd.DataFrame(history)
    table = table[HISTORY + [column for column in table if column not in HISTORY]]
    kept = history[best[1] - 1]
    selected_by, reason = objective.metric, ""
    if not len(val):
        selected_by, reason = "last", "no labelled validation sample"
    elif math.isnan(kept["val_metric"]):
        selected_by, reason = "loss", objective.why_undefined(val_truth)
    if not math.isnan(best_accuracy):
        selected_by += "_or_accuracy"
    metrics = {objective.metric: kept["val_metric"], "loss": kept["val_loss"]}
    metrics = {name: None if math.isnan(value) else value for name, value in metrics.items()}
    return Fitted(best[2], best[1], selected_by, reason, metrics, table)


def _batches(positions: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut positions into batches; the last may be smaller."""
    return (positions[start : start + batch_size] for start in range(0, len(positions), batch_size))


def _known(
    data: FoldData,
    positions: np.ndarray,
    objective: Classification | Survival,
    settings: Mapping[str, Any],
    device: torch.device,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return truth and weights of labelled samples."""
    samples = data.samples.iloc[positions]
    truth = {key: values.to(device) for key, values in objective.truth(samples).items()}
    weights = sample_weights(samples, weight_by=settings["weight_by"]).astype(np.float32)
    return truth, torch.from_numpy(weights).to(device)


def _means(records: list[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean of each value over the steps where it is defined (a batch of one has no spread)."""
    return pd.DataFrame([{name: float(value) for name, value in record.items()} for record in records]).mean().to_dict()


def _merit(score: float, val_loss: float, epoch: int) -> tuple[float, ...]:
    """Order epochs: by metric, equal ones by loss; by loss where the metric is undefined; else the last."""
    if math.isnan(val_loss):
        return (epoch,)
    return (-val_loss,) if math.isnan(score) else (score, -val_loss)
