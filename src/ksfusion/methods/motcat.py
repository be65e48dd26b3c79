"""MOTCat: MCAT with an optimal transport between patches and groups of genes in the place of its co-attention.

Xu and Chen: Multimodal optimal transport-based co-attention transformer with global structure consistency for survival
prediction, ICCV 2023, arXiv:2306.08330. Its batches of 16,384 patches hold all patches of a map here.

Shapes: B samples, G groups of genes, N patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ksfusion.methods.mcat import MCAT
from ksfusion.methods.registry import register

# Of the source: weight of the entropy, and of the marginals' divergences from an even spread.
ENTROPY, MARGINALS = 0.1, 0.5
# Each shrinks the largest error of the logarithms to (MARGINALS / (MARGINALS + ENTROPY))^2 = 0.69 of what it was.
ITERATIONS = 50


def transport_plan(
    cost: Tensor, *, entropy: float = ENTROPY, marginals: float = MARGINALS, iterations: int = ITERATIONS
) -> Tensor:
    """Return the plan P of unbalanced optimal transport between two evenly spread sets.

    It minimises sum P cost + entropy sum P (log P - 1) + marginals (KL(P 1, 1 / G) + KL(P^T 1, 1 / N)), by Sinkhorn's
    iterations (Chizat et al., Math. Comp. 2018).

    Parameters
    ----------
    cost : Tensor (B, G, N)
        Cost of each pair, in units of the largest.
    entropy, marginals
        Weights.
    iterations
        Number of iterations, the same for all samples: a sample's plan does not depend on the others of its batch.

    Returns
    -------
    Tensor (B, G, N)
        Mass that goes from a group to a patch.
    """
    kernel, power = (-cost / entropy).exp(), marginals / (marginals + entropy)
    n_groups, n_patches = cost.shape[1:]
    to_patch = cost.new_ones(len(cost), n_patches, 1)
    for _ in range(iterations):
        to_group = (1 / (n_groups * (kernel @ to_patch))) ** power  # (B, G, 1)
        to_patch = (1 / (n_patches * (kernel.mT @ to_group))) ** power  # (B, N, 1)
    return to_group * kernel * to_patch.mT


class OptimalTransport(nn.Module):
    """Gather patches for each group by the plan between them. It has no parameters; no gradient goes through the plan.

    The cost is the squared distance of the tokens, each less its own least component, divided by the sample's largest.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

    @torch.no_grad()
    def plan(self, groups: Tensor, patches: Tensor) -> Tensor:
        """Return the plan (B, G, N) between groups (B, G, width) and patches (B, N, width), in float32 at least."""
        with torch.autocast(groups.device.type, enabled=False):
            first, second = (
                tokens.to(torch.promote_types(tokens.dtype, torch.float32)) for tokens in (groups, patches)
            )
            first, second = (tokens - tokens.amin(dim=2, keepdim=True) for tokens in (first, second))
            # Not by way of a matrix product: that of equal tokens would not be exactly zero.
            cost = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist").square()
            largest = cost.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(cost.dtype).tiny)
            return transport_plan(cost / largest)

    def forward(self, queries: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return what each group gathers (B, G, width), and where from as weights that sum to one (B, G, N)."""
        plan = self.plan(queries, context)
        return plan.to(context.dtype) @ context, plan / plan.sum(dim=2, keepdim=True)


@register("motcat", label="MOTCat", modalities="pg")
class MOTCat(MCAT):
    """The patches that a group of genes gathers are those that a transport between all of both gives it."""

    attention = OptimalTransport
