"""The optimiser: torch's Adam, without the one or two seconds that its compiler takes to import in every process."""

from __future__ import annotations

import inspect

import torch


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, its methods called past the wrappers that only matter under ``torch.compile``.

    The wrappers import ``torch._dynamo`` when they are first called; what they wrap is the same arithmetic. Many a
    training takes no longer than that import. The wrapped function is found as any decorator leaves it
    (``__wrapped__``): where a later torch has none, this is `torch.optim.Adam` as it is.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the parameters by one step."""
        inspect.unwrap(torch.optim.Adam.step)(self)
