"""The epochs of a training, and which of them is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.methods.registry import TrainingRules
from ksfusion.training.data import FoldData
from ksfusion.training.epoch import Labelled, NotFiniteError, cut, predict, train_epoch
from ksfusion.training.objective import Classification, Survival
from ksfusion.training.optimiser import Adam
from ksfusion.training.progress import Progress
from ksfusion.training.resume import Best, Resume, TrainingState

if TYPE_CHECKING:
    from ksfusion.methods.output import Method

HISTORY = ["epoch", "train_loss", "val_loss", "val_metric", "learning_rate", "seconds"]


class NotFiniteLossError(UserError):
    """A training whose loss is no longer finite; the message says where, and what to do."""


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
    bf16: bool = False,
    resume: Resume | None = None,
    tensorboard: Path | None = None,
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
    bf16
        Compute the model in bfloat16 where torch's autocast allows it.
    resume
        Where the state is kept after each epoch; what is kept there already is gone on from.
    tensorboard
        Folder of event files.

    Raises
    ------
    NotFiniteLossError
        If the loss is no longer finite.
    """
    lr, batch_size, weight_by = settings["lr"], settings["batch_size"], settings["weight_by"]
    train = Labelled.of(data, "train", objective, weight_by=weight_by, device=next(model.parameters()).device)
    val = Labelled.of(data, "val", objective, weight_by=weight_by, device=torch.device("cpu"))
    # L2 weight decay in the gradient, as in the paper, not AdamW's.
    optimiser = Adam(model.parameters(), lr=lr, weight_decay=settings["weight_decay"], fused=True)
    state = TrainingState(model, optimiser, np.random.default_rng(seed))
    if resume is not None:
        resume.load(state)
    # An incomplete batch that is the only one stays.
    drop_last = rules.drop_last and len(train) >= batch_size
    steps = len(train) // batch_size if drop_last else math.ceil(len(train) / batch_size)

    done = len(state.history)
    with Progress(name, epochs=epochs, steps=steps, done=done, tensorboard=tensorboard) as progress:
        for epoch in range(done + 1, epochs + 1):
            start = time.perf_counter()
            rates = cosine(lr, np.arange((epoch - 1) * steps, epoch * steps) / (epochs * steps))
            batches = list(cut(state.order.permutation(len(train)), batch_size))[:steps]
            try:
                means = train_epoch(
                    model,
                    optimiser,
                    data,
                    train,
                    batches,
                    rates,
                    objective=objective,
                    rules=rules,
                    bf16=bf16,
                    after_step=progress.step,
                )
                found = _validate(state, data, val, objective, rules, batch_size=batch_size)
            except NotFiniteError as error:
                raise NotFiniteLossError(
                    f"{name}: the loss of {error} in epoch {epoch} is not finite; lower training.lr ({lr}), or look "
                    "for extreme values in the features and the expression"
                ) from None
            seconds = round(time.perf_counter() - start, 3)
            state.history.append({"epoch": epoch, **means, **found, "learning_rate": rates[0], "seconds": seconds})
            if resume is not None:
                resume.save(state)
            progress.epoch(state.history[-1])
    return _summary(state, objective, val)


def cosine(highest: float, shares: np.ndarray) -> list[float]:
    """Return the learning rate at shares (0 to 1) of the way from the first step to the end."""
    return (highest * (1 + np.cos(np.pi * shares)) / 2).tolist()


def _validate(
    state: TrainingState,
    data: FoldData,
    val: Labelled,
    objective: Classification | Survival,
    rules: TrainingRules,
    *,
    batch_size: int,
) -> dict[str, float]:
    """Score the model on the validation samples, and keep its weights if it is the best so far."""
    score = val_loss = accuracy = math.nan
    if len(val):
        logits = predict(state.model, data, val.positions, batch_size=batch_size)
        score, val_loss = objective.score(logits, val.truth), float(objective.loss(logits, val.truth, val.weights))
        accuracy = objective.accuracy(logits, val.truth) if rules.keep_by_accuracy else math.nan
        if not math.isfinite(val_loss):
            raise NotFiniteError("the validation samples")
    epoch, best = len(state.history) + 1, state.best
    merit = _merit(score, val_loss, epoch)
    if rules.keep_by_accuracy:
        merit = merit[:1]  # an equal metric is no better, whatever the loss
    # NaN is above nothing: without that rule, and for survival, accuracy keeps no epoch.
    if best is None or merit > best.merit or accuracy > best.accuracy:
        weights = {name: tensor.detach().clone() for name, tensor in state.model.state_dict().items()}
        state.best = Best(merit, accuracy, epoch, weights)
    return {"val_loss": val_loss, "val_metric": 100 * score}


def _merit(score: float, val_loss: float, epoch: int) -> tuple[float, ...]:
    """Order epochs: by metric, equal ones by loss; by loss where the metric is undefined; else the last."""
    if math.isnan(val_loss):
        return (epoch,)
    return (-val_loss,) if math.isnan(score) else (score, -val_loss)


def _summary(state: TrainingState, objective: Classification | Survival, val: Labelled) -> Fitted:
    """Say which epoch was kept, and why."""
    table = pd.DataFrame(state.history)
    table = table[HISTORY + [column for column in table if column not in HISTORY]]
    best, kept = state.best, state.history[state.best.epoch - 1]
    selected_by, reason = objective.metric, ""
    if not len(val):
        selected_by, reason = "last", "no labelled validation sample"
    elif math.isnan(kept["val_metric"]):
        selected_by, reason = "loss", objective.why_undefined(val.truth)
    if not math.isnan(best.accuracy):
        selected_by += "_or_accuracy"
    metrics = {objective.metric: kept["val_metric"], "loss": kept["val_loss"]}
    metrics = {name: None if math.isnan(value) else value for name, value in metrics.items()}
    return Fitted(dict(best.weights), best.epoch, selected_by, reason, metrics, table)
