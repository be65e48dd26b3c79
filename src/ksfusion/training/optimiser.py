"""The optimiser: torch's Adam, without the two seconds that its compiler takes to import in every process."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, its methods called past the wrappers that only matter under ``torch.compile``.

    The wrappers import ``torch._dynamo`` when they are first called; what they wrap is the same arithmetic.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by one step."""
        inspect.unwrap(torch.optim.Adam.step)(self)
