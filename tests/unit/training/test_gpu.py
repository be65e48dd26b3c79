"""What a GPU changes: the same numbers as the CPU within bounds, the same twice, resuming, too little memory.

On a machine with one: ``python -m pytest -m gpu``.
"""

import subprocess
import sys

import pytest
import torch
from killing import run_until_killed
from training_cohort import N_FEATURES

from ksfusion.cli import main
from ksfusion.methods import build
from ksfusion.methods.registry import NETWORKS
from ksfusion.training.objective import Classification
from ksfusion.training.reproducible import reproducible
from ksfusion.training.step import training_step
from ksfusion.training.strategy import Strategy

DEVICE = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

GROUPS = {"one": ["A", "D"], "two": ["B", "C"], "three": ["E", "F", "G"]}
NICHES = {"tumour": ["A", "B", "C"], "tme": ["D", "E", "F", "G"]}
BASES = [name for name, info in NETWORKS.items() if name == info.base]


def train_command(cohort, output: str, method: str = "ksfusion") -> list[str]:
    arguments = cohort.command(output, method=method)
    arguments[arguments.index("--device") + 1] = DEVICE
    return arguments


def step_on(device: str, method: str, *, bf16: bool) -> tuple[float, torch.Tensor]:
    """Return the loss of a step without dropout, and the logits of the changed model in full precision."""
    with reproducible(0, device=torch.device(device), threads=1):
        model = build(method, n_features=N_FEATURES, n_patches=36, niches=NICHES, n_outputs=3, groups=GROUPS, dropout=0)
        optimiser = torch.optim.SGD(model.to(device).parameters(), lr=0.01)
        random = torch.Generator().manual_seed(1)
        patches = torch.randn(6, 36, N_FEATURES, generator=random).to(torch.bfloat16).to(device)
        genes = {niche: torch.randn(6, len(symbols), generator=random).to(device) for niche, symbols in NICHES.items()}
        record = training_step(
            model.train(),
            optimiser,
            patches if bf16 else patches.float(),
            genes,
            {"y": torch.tensor([0, 1, 2, 0, 1, 2], device=device)},
            torch.ones(6, device=device),
            objective=Classification(("a", "b", "c"), (1.0, 1.0, 1.0)),
            strategy=Strategy(),
            bf16=bf16,
        )
        with torch.inference_mode():
            return record["train_loss"].item(), model.eval()(patches.float(), genes).logits.cpu()


@pytest.mark.parametrize("method", BASES)
def test_a_step_is_that_of_the_cpu(method):
    (loss, logits), (expected, expected_logits) = (step_on(device, method, bf16=False) for device in (DEVICE, "cpu"))
    assert loss == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-3, atol=1e-3)
    # Training computes in bfloat16 there, which has 8 bits.
    assert step_on(DEVICE, method, bf16=True)[0] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("method", ["ksfusion", "cmta"])
def test_a_training_is_the_same_twice_and_where_it_was_killed(cohort, method):
    outputs = ["first", "second", "killed"]
    # In the third of six steps of the third epoch.
    run_until_killed("ksfusion.training.fit", "training_step", 15, train_command(cohort, "killed", method))
    said = ""
    for output in outputs:
        command = [sys.executable, "-m", "ksfusion", *train_command(cohort, output, method)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "after epoch 2" in said
    for name in ("model.safetensors", "predictions.parquet", "metrics.json"):
        first, second, killed = ((cohort.folder / output / name).read_bytes() for output in outputs)
        assert first == second and first == killed


def test_features_that_do_not_fit_there_give_the_same(cohort, monkeypatch):
    """Read from disk batch by batch, they are the same numbers."""
    main(train_command(cohort, "held"))
    monkeypatch.setattr("ksfusion.training.data.SHARE_OF_GPU", 0)
    main(train_command(cohort, "on-disk"))
    for name in ("model.safetensors", "predictions.parquet"):
        held, on_disk = ((cohort.folder / output / name).read_bytes() for output in ("held", "on-disk"))
        assert held == on_disk


def test_too_little_memory_is_one_line_with_the_remedy(cohort, capsys):
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(SystemExit):
            main(train_command(cohort, "run"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "memory ran out; lower training.batch_size" in line
