"""What `benchmarks/attention.py` compares: methods, and changes of one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from ksfusion.methods.consistency import ge_con
from ksfusion.methods.deformable import CMDeform
from ksfusion.methods.focus import FocusDeform, FocusKSFusion, FocusStream
from ksfusion.methods.ksfusion import KSFusion, Stream

DECAY = 0.01


def centred(rows: Tensor) -> Tensor:
    """Return rows less their mean over the batch."""
    return rows - rows.mean(dim=0, keepdim=True)


class OnShifts(KSFusion):
    """Ge-Con compares the shifts dp of the points in place of the points p + dp."""

    def consistency(self, niche: str, genes: Tensor, points: Tensor) -> Tensor:
        return ge_con(genes, points - self._layer(niche).reference)

    def _layer(self, niche: str) -> CMDeform:
        return cast(CMDeform, cast(Stream, self.streams[niche]).attend)


class OnCentredShifts(OnShifts):
    """Ge-Con compares what sets the shifts and the gene embeddings of a sample apart from the mean of the batch."""

    def consistency(self, niche: str, genes: Tensor, points: Tensor) -> Tensor:
        return ge_con(centred(genes), centred(points))


class _Keeping:
    """An attention that keeps what it has sampled, (heads, B, P, C)."""

    def sample(self, maps: Tensor, points: Tensor) -> Tensor:
        self.sampled: Tensor = super().sample(maps, points)  # type: ignore[misc]
        return self.sampled


class _KeepingDeform(_Keeping, CMDeform):
    pass


class _KeepingFocus(_Keeping, FocusDeform):
    pass


class _KeepingStream(Stream):
    attention = _KeepingDeform


class _KeepingFocusStream(FocusStream):
    attention = _KeepingFocus


class OnSampled(OnShifts):
    """Ge-Con compares the features that were sampled, less the mean of the batch."""

    stream = _KeepingStream

    def consistency(self, niche: str, genes: Tensor, points: Tensor) -> Tensor:
        sampled = cast(_Keeping, self._layer(niche)).sampled
        return ge_con(centred(genes), centred(sampled.transpose(0, 1)).float())


class FocusOnCentredShifts(FocusKSFusion, OnCentredShifts):
    """The same with the focused attention."""


class FocusOnSampled(FocusKSFusion, OnSampled):
    """The same with the focused attention."""

    stream = _KeepingFocusStream


@dataclass(frozen=True)
class Row:
    """A method, and what is changed in it or in its training.

    Attributes
    ----------
    method, options
        Method of the registry, and what it is built with.
    trial
        Class that stands in for the method's.
    scale
        Names of first weights, or parts of them, to what they are multiplied by.
    decay
        Weight decay.
    attention_dropout
        Probability of dropping an attention weight; None: as everywhere in the method.
    order
        In what order a slide's patches are laid on the map: ``raster``, ``hilbert`` or ``shuffled``.
    mirrored
        Whether the microenvironment's embedding starts with its sign changed, and its half of the classifier too: the
        same function, of which CG-Coord sees the cosine turned around.
    """

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    trial: type[KSFusion] | None = None
    scale: Mapping[str, float] = field(default_factory=dict)
    decay: float = DECAY
    attention_dropout: float | None = None
    order: str = "raster"
    mirrored: bool = False

    def start(self, model: nn.Module) -> None:
        """Change the first weights of a model, and its dropout on attention."""
        for module in model.modules():
            if isinstance(module, CMDeform) and self.attention_dropout is not None:
                module.dropout = self.attention_dropout
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                for part, factor in self.scale.items():
                    if part in name:
                        parameter.mul_(factor)
            if self.mirrored:
                last = cast(nn.Linear, model.get_submodule("streams.tme.pool.2"))
                last.weight.neg_()
                last.bias.neg_()
                cast(KSFusion, model).classifier.weight[:, last.out_features :].neg_()


QUERIES_AND_KEYS = {"attend.w_q": 4.0, "attend.w_k": 4.0}
ROWS: dict[str, Row] = {
    "ksfusion": Row("ksfusion"),
    "equations alone": Row("ksfusion-equations"),
    "equations, W_q and W_k x 4": Row("ksfusion-equations", scale=QUERIES_AND_KEYS),
    "W_q and W_k x 4": Row("ksfusion", scale=QUERIES_AND_KEYS),
    "offsets x 16": Row("ksfusion", scale={"attend.to_offset": 16.0}),
    "reach 1 cell": Row("ksfusion", {"offset_cells": 1.0}),
    "reach 0": Row("ksfusion", {"offset_cells": 0.0}),
    "a point each patch": Row("ksfusion", {"grid": 64}),
    "no dropout on attention": Row("ksfusion", attention_dropout=0.0),
    "dropout 0.5 on attention": Row("ksfusion", attention_dropout=0.5),
    "patches along a Hilbert curve": Row("ksfusion", order="hilbert"),
    "patches shuffled": Row("ksfusion", order="shuffled"),
    "without Ge-Con": Row("ksfusion-no-gecon"),
    "Ge-Con on dp": Row("ksfusion", trial=OnShifts),
    "Ge-Con on dp, centred": Row("ksfusion", trial=OnCentredShifts),
    "Ge-Con on what is sampled": Row("ksfusion", trial=OnSampled),
    "without CG-Coord": Row("ksfusion-no-cgcoord"),
    "mirrored": Row("ksfusion", mirrored=True),
    "mirrored, without CG-Coord": Row("ksfusion-no-cgcoord", mirrored=True),
    "decay 0.1": Row("ksfusion", decay=0.1),
    "decay 0.03": Row("ksfusion", decay=0.03),
    "decay 0.001": Row("ksfusion", decay=0.001),
    "focus": Row("ksfusion-focus"),
    "focus, not dense": Row("ksfusion-focus", {"dense": False}),
    "focus, not mixed": Row("ksfusion-focus", {"mixed": False}),
    "focus, patches ask": Row("ksfusion-focus", {"gene_queries": False}),
    "focus, map residual": Row("ksfusion-focus", {"genes_residual": False}),
    "focus, gate": Row("ksfusion-focus", {"gate": True}),
    "focus, gate, map residual": Row("ksfusion-focus", {"gate": True, "genes_residual": False}),
    "focus, 2 heads": Row("ksfusion-focus", {"heads": 2}),
    "focus, keys of 32": Row("ksfusion-focus", {"key_width": 32}),
    "focus, reach half a cell": Row("ksfusion-focus", {"offset_cells": 0.5}),
    "focus, gate, 2 heads": Row("ksfusion-focus", {"gate": True, "heads": 2}),
    "focus without Ge-Con": Row("ksfusion-focus-no-gecon"),
    "focus, Ge-Con on dp, centred": Row("ksfusion-focus", trial=FocusOnCentredShifts),
    "focus, Ge-Con on what is sampled": Row("ksfusion-focus", trial=FocusOnSampled),
    "focus without CG-Coord": Row("ksfusion-focus-no-cgcoord"),
}
