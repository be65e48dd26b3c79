"""Our Adam is torch's, without its compiler."""

import subprocess
import sys

import torch

from ksfusion.training.optimiser import Adam

PROGRAM = """
import sys, torch
from ksfusion.training.optimiser import Adam
weight = torch.nn.Parameter(torch.ones(3))
optimiser = Adam([weight], lr=0.1, weight_decay=0.1, fused=True)
weight.sum().backward()
optimiser.step()
optimiser.zero_grad()
assert weight.max() < 1
sys.exit("torch._dynamo" in sys.modules)
"""


def test_steps_are_those_of_torch():
    weights = []
    for make in (Adam, torch.optim.Adam):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        optimiser = make(model.parameters(), lr=0.01, weight_decay=0.1, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=20)
        for _ in range(20):
            optimiser.zero_grad(set_to_none=True)
            (model(torch.randn(8, 5)) ** 2).mean().backward()
            optimiser.step()
            schedule.step()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(*weights)


def test_the_compiler_stays_out():
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 0
