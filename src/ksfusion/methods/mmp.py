"""MMP: a slide is a mixture of prototypes, and prototypes and groups of genes are tokens of one attention.

Song et al.: Multimodal prototyping for cancer survival prediction, ICML 2024, arXiv:2407.00224, with its Transformer.
The mixture is that of PANTHER (Song et al., CVPR 2024), the groups are the pathways.

Shapes: B samples, G groups of genes, N patches, C prototypes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional

from ksfusion.methods.gene_groups import GroupedGenes
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.output import Method, MethodOutput, Parts
from ksfusion.methods.registry import Inputs, register


@dataclass(frozen=True)
class MMPSettings:
    """Sizes of the source, which drops out a quarter in the networks of the groups and a tenth elsewhere."""

    prototypes: int = 16
    width: int = 256
    identity: int = 32  # numbers that are learned for each token, whatever the sample
    dropout: float = 0.1


class Mixture(nn.Module):
    """Describe a slide by a mixture of Gaussians, one step of expectation and maximisation away from the prototypes.

    Before it, the components are the prototypes, with variance and strength of prior 1 and equal shares. Until
    `fit` is called the prototypes are drawn at random. Nothing of this is trained.
    """

    centres: Tensor

    def __init__(self, n_features: int, n_prototypes: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.randn(n_prototypes, n_features))

    def fit(self, patches: np.ndarray) -> None:
        """Put the prototypes at the centres that k-means finds among patches (n, n_features), the best of three runs.

        Of fewer patches than prototypes some stand twice.
        """
        wanted = len(self.centres)
        distinct = np.unique(patches, axis=0)
        if len(distinct) <= wanted:
            found = np.resize(distinct, (wanted, patches.shape[1]))
        else:
            with threadpool_limits(1):  # several would add up in no fixed order
                found = KMeans(wanted, n_init=3, random_state=0).fit(patches).cluster_centers_
        self.centres.copy_(torch.from_numpy(found))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, C, 2 n_features + 1) and the share of each prototype in each patch, (B, N, C).

        A token is a component's share of the mixture, its mean and its variances, which a prior patch of weight 1 at
        the prototype is part of.
        """
        with torch.autocast(patches.device.type, enabled=False):
            patches = patches.to(self.centres.dtype)
            centres, n_prototypes = self.centres, len(self.centres)
            logits = patches @ centres.T - centres.square().sum(dim=1) / 2  # log densities but for what all share
            shares = logits.softmax(dim=2)  # (B, N, C)
            mass = shares.sum(dim=1).unsqueeze(2) + 1  # (B, C, 1)
            means = (shares.mT @ patches + centres) / mass
            squares = (shares.mT @ patches.square() + 1 + centres.square()) / mass
            weights = mass / (patches.shape[1] + n_prototypes)
            return torch.cat([weights, means, squares - means.square()], dim=2), shares


class TokenFeedForward(nn.Module):
    """A network for each token: layer norm, two layers with GELU; then a layer norm that all share."""

    def __init__(self, n_tokens: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(n_tokens, width)), nn.Parameter(torch.zeros(n_tokens, width))
        self.first = nn.Parameter(torch.randn(n_tokens, width, width) * (2 / width) ** 0.5)
        self.second = nn.Parameter(torch.randn(n_tokens, width, width) * width**-0.5)
        self.first_bias = nn.Parameter(torch.zeros(n_tokens, width))
        self.second_bias = nn.Parameter(torch.zeros(n_tokens, width))
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape (B, n_tokens, width)."""
        tokens = functional.layer_norm(tokens, tokens.shape[-1:]) * self.scale + self.shift
        hidden = torch.einsum("btw,twv->btv", tokens, self.first) + self.first_bias
        hidden = self.dropout(functional.gelu(hidden))
        return self.norm(torch.einsum("btw,twv->btv", hidden, self.second) + self.second_bias)


@register("mmp", label="MMP", modalities="pg")
class MMP(Method):
    """Attention among all tokens, then the means of the groups and of the prototypes. Patches have no order."""

    patches_to_see = 2**15

    def __init__(self, inputs: Inputs, **options: Any) -> None:
        super().__init__()
        settings = MMPSettings(**options)
        width, joined, dropout = settings.width, settings.width + settings.identity, settings.dropout
        head_width = joined // 2
        self.mixture = Mixture(inputs.n_features, settings.prototypes)
        self.embed = scaled_linear(2 * inputs.n_features + 1, width)
        self.genes = GroupedGenes(inputs, (width, width), dropout=dropout)
        n_tokens = len(self.genes.sizes) + settings.prototypes
        self.identity = nn.Parameter(torch.randn(n_tokens, settings.identity))
        self.norm = nn.LayerNorm(joined)
        self.q, self.k, self.v = (scaled_linear(joined, head_width, bias=False) for _ in range(3))
        self.feed = TokenFeedForward(n_tokens, head_width, dropout=dropout)
        self.classifier = scaled_linear(2 * head_width, inputs.n_outputs, bias=False)

    def see_patches(self, patches: np.ndarray) -> None:
        """Place the prototypes among patches of training slides, (n, n_features)."""
        self.mixture.fit(patches)

    def of_patches(self, patches: Tensor) -> Parts:
        """Return the prototypes of a slide embedded, (B, C, width), and their shares in each patch, (B, N, C)."""
        tokens, shares = self.mixture(patches)
        return self.embed(tokens), shares

    def of_genes(self, genes: Mapping[str, Tensor]) -> Parts:
        """Return each group of genes embedded, (B, G, width)."""
        return self.genes(genes)

    def join(self, of_patches: Parts, of_genes: Parts) -> MethodOutput:
        """Let all tokens look at each other, and classify the means of both kinds.

        A patch has of the attention that groups give to prototypes what it has of these prototypes.
        """
        prototypes, shares = of_patches
        n_groups, identity = of_genes.shape[1], self.identity.expand(len(of_genes), -1, -1)
        tokens = self.norm(torch.cat([torch.cat([of_genes, prototypes.to(of_genes.dtype)], dim=1), identity], dim=2))
        logits = self.q(tokens) @ self.k(tokens).mT / math.sqrt(self.q.out_features)
        fed = self.feed(logits.softmax(dim=2) @ self.v(tokens))
        profile, slide = fed[:, :n_groups].mean(dim=1), fed[:, n_groups:].mean(dim=1)  # (B, head_width)
        given = (logits.float() - logits.float().logsumexp(dim=2, keepdim=True))[:, :n_groups, n_groups:]
        looked_at = given.flatten(1).softmax(dim=1).view_as(given).sum(dim=1).to(shares.dtype)  # (B, C)
        of_prototype = shares.clamp(min=torch.finfo(shares.dtype).tiny)
        attention = (of_prototype / of_prototype.sum(dim=1, keepdim=True) * looked_at.unsqueeze(1)).sum(dim=2)
        logits = self.classifier(torch.cat([profile, slide], dim=1))
        return MethodOutput(logits, attention=attention, embeddings={"patches": slide, "genes": profile})
