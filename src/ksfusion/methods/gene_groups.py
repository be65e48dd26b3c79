"""Genes by group: one embedding for each set of genes with a common function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ksfusion.methods.layers import self_normalising_network
from ksfusion.methods.registry import Inputs


def columns_by_group(inputs: Inputs) -> list[list[int]]:
    """Return the columns of each group among the genes of all niches side by side; groups without genes are left out.

    Without groups each niche is one. A gene in several groups counts in each; those in none are a group of their own.
    """
    column = {symbol: number for number, symbol in enumerate(s for part in inputs.niches.values() for s in part)}
    groups = list((inputs.groups or inputs.niches).values())
    placed = {symbol for group in groups for symbol in group}
    groups.append([symbol for symbol in column if symbol not in placed])
    columns = [[column[symbol] for symbol in group if symbol in column] for group in groups]
    return [group for group in columns if group]


class GroupedGenes(nn.Module):
    """A self-normalising network for each group."""

    order: Tensor

    def __init__(self, inputs: Inputs, widths: Sequence[int], *, dropout: float) -> None:
        super().__init__()
        groups = columns_by_group(inputs)
        self.niches, self.sizes = tuple(inputs.niches), [len(group) for group in groups]
        self.register_buffer("order", torch.tensor([column for group in groups for column in group]), persistent=False)
        self.networks = nn.ModuleList(self_normalising_network((size, *widths), dropout=dropout) for size in self.sizes)

    def forward(self, genes: Mapping[str, Tensor]) -> Tensor:
        """Return embeddings (B, groups, widths[-1]) of the genes of each niche, (B, genes)."""
        profile = torch.cat([genes[niche] for niche in self.niches], dim=1)[:, self.order]
        pairs = zip(self.networks, profile.split(self.sizes, dim=1), strict=True)
        return torch.stack([network(group) for network, group in pairs], dim=1)
