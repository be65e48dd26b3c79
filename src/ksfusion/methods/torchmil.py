"""Networks of torchmil, a collection of published multiple instance learning: ``torchmil:NAME``, NAME as it has it.

Castro-Macias et al.: torchmil, a PyTorch-based library for deep multiple instance learning (Apache-2.0, from PyPI). It
is an optional package, imported where a method of its is built. Its networks are for two classes; here

- features go through one layer to 512, with ReLU and dropout, as in `ksfusion.methods.attmil`;
- the last layer has an output for each class or interval; in DSMIL each has a critical patch of its own, and bag and
  critical patches are averaged, as in its paper (Li et al., CVPR 2021, eq. 7);
- DTFD-MIL aggregates its groups by their attention (AFS), and the logits of groups and bag are averaged: its first tier
  is then trained too. Patches are dealt anew at each step of training, and in one fixed way afterwards;
- graphs have an edge between neighbours on the map of the patches, eight at most, with the weights of Kipf and Welling
  (ICLR 2017, without the diagonal);
- losses of instances, which torchmil has for two classes (CLAM's clustering), are not added.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ksfusion.core.errors import UserError
from ksfusion.methods.layers import scaled_linear
from ksfusion.methods.output import Method, MethodOutput
from ksfusion.methods.registry import Inputs, register

WIDTH = 512
GRAPHS = ("PatchGCN", "DeepGraphSurv")
# The layer that gives the outputs, where it has another name than the others'.
LAST_LAYER = {"DSMIL": "inst_classifier", "DTFDMIL": "u_classifier", "TransformerABMIL": "last_layer"}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "CLAM_SB": {"gated": True},
    "DTFDMIL": {"distill_mode": "afs"},
    "PatchGCN": {"hidden_dim": 128},
    "DeepGraphSurv": {"hidden_dim": 128},
}


@register(
    "torchmil:ABMIL",
    label="ABMIL (torchmil)",
    modalities="p",
    variants={
        "torchmil:CLAM_SB": {"network": "CLAM_SB"},
        "torchmil:DSMIL": {"network": "DSMIL"},
        "torchmil:DTFDMIL": {"network": "DTFDMIL"},
        "torchmil:PatchGCN": {"network": "PatchGCN"},
        "torchmil:DeepGraphSurv": {"network": "DeepGraphSurv"},
        "torchmil:TransMIL": {"network": "TransMIL"},
        "torchmil:TransformerABMIL": {"network": "TransformerABMIL"},
    },
    labels={
        "torchmil:CLAM_SB": "CLAM's network (torchmil)",
        "torchmil:DSMIL": "DSMIL (torchmil)",
        "torchmil:DTFDMIL": "DTFD-MIL (torchmil)",
        "torchmil:PatchGCN": "Patch-GCN (torchmil)",
        "torchmil:DeepGraphSurv": "DeepGraphSurv (torchmil)",
        "torchmil:TransMIL": "TransMIL (torchmil)",
        "torchmil:TransformerABMIL": "Transformer and ABMIL (torchmil)",
    },
)
class OfTorchmil(Method):
    """A network of torchmil on the patches of a slide; genes are ignored."""

    adjacency: Tensor | None

    def __init__(self, inputs: Inputs, *, network: str = "ABMIL", dropout: float = 0.1) -> None:
        super().__init__()
        self.name, self.n_outputs = network, inputs.n_outputs
        embed = nn.Sequential(nn.Linear(inputs.n_features, WIDTH), nn.ReLU(), nn.Dropout(dropout))
        self.network = _network_class(network)(
            in_shape=(inputs.n_features,), feat_ext=embed, **OPTIONS.get(network, {})
        )
        last = LAST_LAYER.get(network, "classifier")
        width = next(getattr(self.network, last).parameters()).shape[1]
        setattr(self.network, last, scaled_linear(width, inputs.n_outputs))
        if network == "CLAM_SB":  # of the loss that is not added
            self.network.inst_classifiers = nn.ModuleList()
        if network == "DTFDMIL":
            self.network.classifier = scaled_linear(width, inputs.n_outputs)
        graph = map_graph(inputs.n_patches) if network in GRAPHS else None
        self.register_buffer("adjacency", graph, persistent=False)

    def forward(self, patches: Tensor, genes: Mapping[str, Tensor]) -> MethodOutput:
        """Classify slides from their patches (B, N, n_features)."""
        if self.name == "DTFDMIL":
            return MethodOutput(self._of_groups(patches))
        if self.name == "DSMIL":
            bag, attention, instances = self.network(patches, return_att=True, return_inst_pred=True)
            # (B, K), (B, N, K): a weight for each class, whose mean is shown.
            bag, instances = self._outputs(bag), instances.reshape(*patches.shape[:2], self.n_outputs)
            logits = (bag + instances.amax(dim=1)) / 2
            return MethodOutput(logits, attention=attention.reshape(*patches.shape[:2], -1).mean(dim=2))
        given = {} if self.adjacency is None else {"adj": self.adjacency.expand(len(patches), -1, -1)}
        logits, scores = self.network(patches, return_att=True, **given)
        scores = scores.reshape(patches.shape[:2])
        if self.name == "TransMIL":  # what its class token sees of the patches: approximated, so that some are below 0
            attention = scores.clamp(min=0) / scores.clamp(min=0).sum(dim=1, keepdim=True).clamp(min=1e-12)
        else:  # what their softmax is given
            attention = scores.softmax(dim=1)
        return MethodOutput(self._outputs(logits), attention=attention)

    def _of_groups(self, patches: Tensor) -> Tensor:
        """Return the logits of DTFD-MIL: torchmil deals the patches to groups by NumPy's own random numbers."""
        seed = int(torch.randint(2**31, ())) if self.training else 0
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        try:
            bag, groups = self.network(patches, return_pseudo_pred=True)
        finally:
            np.random.set_state(state)  # noqa: NPY002
        groups = groups.reshape(len(patches), -1, self.n_outputs)  # (B, groups, K)
        return (self._outputs(bag) + groups.mean(dim=1)) / 2

    def _outputs(self, logits: Tensor) -> Tensor:
        """Return logits (B, K), whose last axis torchmil drops where it is one."""
        return logits.reshape(-1, self.n_outputs)


def _network_class(name: str) -> Any:
    """Return a network of torchmil; raise UserError where the package is not installed."""
    try:
        from torchmil import models
    except ImportError as error:
        raise UserError(
            f"method torchmil:{name}: needs the package torchmil, which cannot be imported ({error}); install it (pip "
            "install torchmil), or leave the method out"
        ) from None
    return getattr(models, name)


def map_graph(n_patches: int) -> Tensor:
    """Return the weights (1, N, N) of the edges between neighbours on a square map, by row and column and diagonal.

    An edge has 1 / sqrt(a b), a and b the neighbours of its ends.
    """
    side = isqrt(n_patches)
    places = torch.arange(side * side)
    row, column = places // side, places % side
    far = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    edges = (far == 1).float()
    scale = edges.sum(dim=1).clamp(min=1).rsqrt()
    return (scale[:, None] * edges * scale)[None]
