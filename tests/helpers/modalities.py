"""Stand-in methods whose use of slide and genes is known, and the samples on which they are audited."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from run_files import GRADING
from torch import Tensor

from ksfusion.methods.output import Method, MethodOutput
from ksfusion.results.modalities.audit import audited_predictions
from ksfusion.results.runs import Run
from ksfusion.results.tables.modalities import modality_table
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.data import FoldData


class StandIn(Method):
    """One logit for each output: 0 for the first of two classes, else what is made of slide and profile."""

    def __init__(self, made: Callable[[Tensor, Tensor], Tensor], n_outputs: int = 2) -> None:
        super().__init__()
        self.made, self.n_outputs = made, n_outputs
        self.somewhere = torch.nn.Parameter(torch.zeros(1))

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        made = self.made(patches.mean(dim=(1, 2)), genes["tumour"][:, 0])
        logits = made[:, None].expand(-1, self.n_outputs).clone()
        if self.n_outputs == 2:
            logits[:, 0] = 0
        return MethodOutput(logits)


def fold_data(slide, profile, *, cases=None, cohorts="x", **truth) -> FoldData:
    """Return test samples whose slides have two patches of one value each, and whose profiles have one gene."""
    n = len(slide)
    samples = pd.DataFrame({"sample_id": [f"S{number:03d}" for number in range(n)]})
    samples["case_id"] = [f"C{number:03d}" for number in range(n)] if cases is None else list(cases)
    samples["cohort"], samples["split"] = cohorts, "test"
    return FoldData(
        samples=samples.assign(**truth),
        features=np.array(slide, dtype=np.float16)[:, None],
        rows=np.repeat(np.arange(n), 2).reshape(n, 2),
        slides=np.arange(n),
        genes={"tumour": torch.tensor(profile, dtype=torch.float32)[:, None]},
        niches={"tumour": ["A"]},
        groups={},
        modalities="pg",
    )


def audited(
    model: Method, data: FoldData, task: TaskOutcome, *, method="concat", seed=0, fold=0, projected=32, **scale
):
    """Return the table of an audit."""
    table = audited_predictions(model, data, task, projected=projected, batch_size=5, **scale)
    return table.assign(task=task.name, method=method, fold=fold, seed=seed)


def run_of(task: TaskOutcome, *, method="concat", seed=0, fold=0, reason="") -> Run:
    """Return a run, of which its reason is all that counts here."""
    return Run(
        task.name, method, fold, seed, Path(task.name, method, str(fold), str(seed)), reason, None, pd.DataFrame()
    )


def of_product(slide, profile):
    return slide * profile


def of_sum(slide, profile):
    return slide + profile


def of_slide(slide, profile):
    return slide


def table_of(*tables, task=GRADING, runs=None, methods=("concat",), **settings):
    runs = [run_of(task)] if runs is None else runs
    return modality_table(pd.concat(tables), runs, tasks=[task], methods=list(methods), **settings)


def row_of(table, metric, change, cohort="all"):
    keys = {"metric": metric, "permuted": change, "cohort": cohort}
    (row,) = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)].itertuples()
    return row


def planted(n_cases=14):
    """Return samples of cases with one to three each, in two cohorts, whose label slide and profile tell in part."""
    random = np.random.default_rng(3)
    case = np.repeat(np.arange(n_cases), random.integers(1, 4, n_cases))
    y = case % 2
    slide, profile = (np.round(y + random.normal(size=len(y)), 1).astype(np.float16) for _ in range(2))
    cohorts = np.where(case < n_cases // 2, "a", "b")
    return fold_data(slide, profile, cases=[f"C{number:02d}" for number in case], cohorts=cohorts, y=y)
