"""The epochs of a training: steps on the training samples, validation, and the best epoch kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ksfusion.core.errors import UserError
from ksfusion.methods.output import Method
from ksfusion.training.config import RunSettings
from ksfusion.training.data import FoldData
from ksfusion.training.distillation import Lessons
from ksfusion.training.labelled import Labelled
from ksfusion.training.objective import Objective
from ksfusion.training.optimiser import Adam
from ksfusion.training.predict import batched, predict
from ksfusion.training.progress import Progress
from ksfusion.training.resume import Best, Resume, TrainingState
from ksfusion.training.step import training_step
from ksfusion.training.strategy import Strategy, Validation

HISTORY_COLUMNS = ["epoch", "train_loss", "val_loss", "val_metric", "learning_rate", "seconds"]


def fit(
    model: Method,
    data: FoldData,
    objective: Objective,
    *,
    epochs: int,
    seed: int,
    settings: RunSettings,
    strategy: Strategy,
    name: str,
    resume: Resume | None = None,
    tensorboard: Path | None = None,
    lessons: Lessons | None = None,
) -> Fitted:
    """Train a model with Adam and a cosine schedule of the learning rate, from ``settings.lr`` towards 0.

    Parameters
    ----------
    model
        Model to train, which is left in the state of the last epoch; the best epoch's is returned. On a GPU it is
        computed in bfloat16 where torch's autocast allows it.
    data
        Samples of a fold: gradients come from the labelled training samples, the best epoch from the labelled
        validation samples.
    objective
        Loss and metric of the task, fitted on the training samples.
    epochs
        Number of passes over the training samples.
    seed
        Seed of the order of samples.
    settings
        Batch size, learning rate, weight decay, what samples are weighted by, and the share of them that lose slide or
        genes at each step (see `drop_modalities`).
    strategy
        The method's way to train: steps of an epoch and their learning rates, choice of the best epoch, CG-Coord.
    name
        Name of the run, for messages.
    resume
        Storage of the state after each epoch, from which training goes on where it holds one; None keeps nothing.
    tensorboard
        Folder for TensorBoard's event files; None writes none.
    lessons
        What a teacher says of the training samples, for a method that learns from one.

    Returns
    -------
    Fitted
        Weights of the best epoch, how it was chosen, and the history.

    Raises
    ------
    NotFiniteLossError
        If the loss is no longer finite.
    """
    device, batch_size = next(model.parameters()).device, settings.batch_size
    train = Labelled.of(data, "train", objective, weight_by=settings.weight_by, device=device)
    val = Labelled.of(data, "val", objective, weight_by=settings.weight_by, device=torch.device("cpu"))
    # L2 weight decay in the gradient, as in the paper, not AdamW's.
    optimiser = Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    state = TrainingState(model, optimiser, np.random.default_rng(seed))
    if resume is not None:
        resume.load(state)
    steps, done = strategy.steps(len(train), batch_size=batch_size), len(state.history)

    with Progress(name, epochs=epochs, steps=steps, done=done, tensorboard=tensorboard) as progress:
        for epoch in range(done + 1, epochs + 1):
            start = time.perf_counter()
            rates = cosine(settings.lr, strategy.shares(epoch, epochs=epochs, steps=steps))
            records = _train_epoch(
                state,
                data,
                train,
                objective,
                settings=settings,
                strategy=strategy,
                rates=rates,
                lessons=lessons,
                progress=progress,
            )
            try:
                means = _means(records)
                found = _validate(model, data, val, objective, batch_size=batch_size)
            except _NotFiniteError as error:
                raise NotFiniteLossError(
                    f"{name}: the loss {error} in epoch {epoch} is not finite; lower training.lr ({settings.lr}), "
                    "or look for extreme values in the features and the expression"
                ) from None
            if state.best is None or strategy.is_better(found, state.best.validation):
                state.best = Best.of(model, epoch, found)
            row = {"epoch": epoch, **means, "val_loss": found.loss, "val_metric": 100 * found.score}
            row |= {"learning_rate": rates[0], "seconds": round(time.perf_counter() - start, 3)}
            state.history.append(row)
            if resume is not None:
                resume.save(state, last=epoch == epochs)
            progress.epoch(row)
    return _summary(state, objective, strategy, val)


def _train_epoch(
    state: TrainingState,
    data: FoldData,
    train: Labelled,
    objective: Objective,
    *,
    settings: RunSettings,
    strategy: Strategy,
    rates: Sequence[float],
    lessons: Lessons | None,
    progress: Progress,
) -> list[dict[str, Tensor]]:
    """Take a step at each learning rate, on batches of the training samples in a drawn order; return what each did."""
    model, device = state.model, next(state.model.parameters()).device
    bf16 = device.type == "cuda"
    # The order is drawn before what is dropped: with another order of draws a seed would give another training.
    batches = list(batched(state.order.permutation(len(train)), settings.batch_size))[: len(rates)]
    share = settings.modality_dropout
    dropped = drop_modalities(state.order, len(train), share) if share else None
    model.train()
    records = []
    for batch, rate in zip(batches, rates, strict=True):
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        positions = train.positions[batch]
        taken = None if dropped is None else dropped[batch]
        patches, genes, *present = data.inputs(positions, device, bf16=bf16, dropped=taken)
        truth, weights = train.batch(batch)
        records.append(
            training_step(
                model,
                state.optimiser,
                patches,
                genes,
                truth,
                weights,
                objective=objective,
                strategy=strategy,
                bf16=bf16,
                present=present[0] if present else None,
                lesson=None if lessons is None else lessons.batch(positions),
            )
        )
        progress.step()
    return records


def cosine(highest: float, shares: np.ndarray) -> list[float]:
    """Return the learning rates of a cosine schedule from ``highest`` (share 0 of all steps) to 0 (share 1)."""
    rates: list[float] = (highest * (1 + np.cos(np.pi * shares)) / 2).tolist()
    return rates


def drop_modalities(random: np.random.Generator, n: int, share: float) -> np.ndarray:
    """Draw which modality each of n samples loses: ``p`` and ``g`` with half of a share each, else none (empty)."""
    drawn = random.random(n)
    return np.select([drawn < share / 2, drawn < share], ["p", "g"], default="")


def _means(records: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Return the mean of each value of `training_step` over the steps of an epoch that have it.

    A batch of one sample has no spread. Values are read once, here: on a GPU each reading waits for all steps before.

    Raises
    ------
    _NotFiniteError
        If a loss is not finite.
    """
    names = dict.fromkeys(name for record in records for name in record)
    values = {name: torch.stack([record[name] for record in records if name in record]).cpu() for name in names}
    for number, loss in enumerate(values["train_loss"].tolist(), start=1):
        if not math.isfinite(loss):
            raise _NotFiniteError(f"of batch {number} of {len(records)}")
    return {name: float(value.double().mean()) for name, value in values.items()}


def _validate(model: Method, data: FoldData, val: Labelled, objective: Objective, *, batch_size: int) -> Validation:
    """Score the model on the validation samples.

    Raises
    ------
    _NotFiniteError
        If the loss is not finite; without validation samples, if the weights are not.
    """
    if not len(val):
        if not all(bool(values.isfinite().all()) for values in model.parameters()):
            raise _NotFiniteError("after the last batch")
        return Validation(math.nan, math.nan, math.nan)
    logits = predict(model, data, val.positions, batch_size=batch_size)
    loss = float(objective.loss(logits, val.truth, val.weights))
    if not math.isfinite(loss):
        raise _NotFiniteError("of the validation samples")
    return Validation(objective.score(logits, val.truth), loss, objective.accuracy(logits, val.truth))


class _NotFiniteError(ArithmeticError):
    """A loss that is infinite or no number; the message says where: of which samples, or after which batch."""


class NotFiniteLossError(UserError):
    """A training whose loss is no longer finite; the message says where, and what to do."""


@dataclass(frozen=True)
class Fitted:
    """Outcome of a training.

    Attributes
    ----------
    weights
        The model's ``state_dict`` after the best epoch.
    best_epoch
        Number of that epoch, from 1.
    selected_by
        What it was chosen by, on validation samples: ``auc``, ``c_index`` or ``r2`` (the highest; equal ones by loss),
        ``auc_or_accuracy`` (the last to raise one of them), ``loss`` (the lowest); or ``last``.
    selection_reason
        Why it was not chosen by the metric; empty where it was.
    val
        Metric (percent, None where undefined) and loss (None without validation samples) of the best epoch.
    history : pandas.DataFrame
        One row per epoch: means over its steps, loss and metric (percent) on the validation samples, learning rate of
        its first step, and seconds.
    """

    weights: dict[str, Tensor]
    best_epoch: int
    selected_by: str
    selection_reason: str
    val: dict[str, float | None]
    history: pd.DataFrame

    def describe(self) -> dict[str, Any]:
        """Return which epoch was kept, what it was chosen by, and its metric and loss on the validation samples."""
        return {name: getattr(self, name) for name in ("best_epoch", "selected_by", "selection_reason", "val")}


def _summary(state: TrainingState, objective: Objective, strategy: Strategy, val: Labelled) -> Fitted:
    """Return the outcome of a training from its last state."""
    best = state.kept
    reason = ""
    if not len(val):
        reason = "no labelled validation sample"
    elif math.isnan(best.validation.score):
        reason = objective.why_undefined(val.truth)
    kept = {objective.metric: 100 * best.validation.score, "loss": best.validation.loss}
    table = pd.DataFrame(state.history)
    return Fitted(
        weights=dict(best.weights),
        best_epoch=best.epoch,
        selected_by=strategy.chosen_by(objective.metric, best.validation),
        selection_reason=reason,
        val={key: None if math.isnan(value) else value for key, value in kept.items()},
        history=table[HISTORY_COLUMNS + [column for column in table if column not in HISTORY_COLUMNS]],
    )
