"""What differs between devices: where features lie, in which precision a step computes, how many threads there are."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from training_cohort import DIAGNOSIS, N_FEATURES

from ksfusion.methods import build
from ksfusion.methods.registry import NETWORKS
from ksfusion.training.data import read_fold
from ksfusion.training.objective import Classification
from ksfusion.training.step import training_step
from ksfusion.training.strategy import Strategy

CPU = torch.device("cpu")
NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E", "F", "G"]}


@pytest.fixture
def data(drawn):
    return read_fold(drawn.files, task=DIAGNOSIS, fold=0, modalities="pg")


def test_features_held_on_a_device_give_the_same_batches(data, monkeypatch):
    monkeypatch.setattr("ksfusion.training.data.ROWS_AT_ONCE", 100)
    held = data.hold(CPU, memory=data.features.nbytes)
    positions = np.array([5, 0, 40])
    for bf16 in (False, True):
        (patches, genes), (same, others) = (each.gather(positions, CPU, bf16=bf16) for each in (data, held))
        assert torch.equal(patches, same) and patches.dtype == (torch.bfloat16 if bf16 else torch.float32)
        assert all(torch.equal(genes[niche], others[niche]) for niche in genes)
    slide = data.slides[5]
    expected = data.features[data.rows[slide]].astype(np.float32)
    np.testing.assert_array_equal(held.gather(positions, CPU)[0][0], expected)


def test_features_that_do_not_fit_stay_on_disk(data):
    assert data.hold(CPU, memory=data.features.nbytes - 1).resident is None


@pytest.mark.parametrize("method", [name for name, info in NETWORKS.items() if name == info.base])
def test_a_step_in_bfloat16_is_near_that_in_float32(method):
    """Weights and losses stay float32; bfloat16 has 8 bits, so that losses agree to a few percent."""
    losses = {}
    for bf16 in (False, True):
        torch.manual_seed(0)
        groups = {"one": ["A", "D"], "two": ["B", "C"], "three": ["E", "F", "G"]}
        model = build(
            method, n_features=N_FEATURES, n_patches=36, niches=NICHES, n_outputs=3, groups=groups, dropout=0.0
        )
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        patches = torch.randn(6, 36, N_FEATURES).to(torch.bfloat16)
        genes = {niche: torch.randn(6, len(symbols)) for niche, symbols in NICHES.items()}
        record = training_step(
            model.train(),
            optimiser,
            patches if bf16 else patches.float(),
            genes,
            {"y": torch.tensor([0, 1, 2, 0, 1, 2])},
            torch.ones(6),
            objective=Classification(("a", "b", "c"), (1.0, 1.0, 1.0)),
            strategy=Strategy(),
            bf16=bf16,
        )
        assert all(value.dtype == torch.float32 and value.isfinite() for value in record.values())
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        losses[bf16] = record["train_loss"].item()
    assert losses[True] == pytest.approx(losses[False], rel=0.05) and losses[True] != losses[False]


@pytest.mark.slow
@pytest.mark.parametrize("cores", ["1", "2"])
def test_same_bytes_whatever_the_number_of_cores(runs, cohort, cores):
    """Snakemake sets these variables to the threads that a job is given."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, cores)
    command = [sys.executable, "-m", "ksfusion", *cohort.command("run")]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    for name in ("model.safetensors", "predictions.parquet", "metrics.json", "config.json"):
        assert (cohort.folder / "run" / name).read_bytes() == (runs["diagnosis", "ksfusion"] / name).read_bytes()
