"""The models of a bundle: each fold with its genes, their scaling and its calibration, and its members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.bundles.config import FoldCalibration
from ksfusion.core.storage import read_json, read_tsv
from ksfusion.training.checkpoint import CONFIG, MODEL

if TYPE_CHECKING:
    import numpy as np

    from ksfusion.bundles.distances import TrainingSummary
    from ksfusion.genes.scaling import Scaling
    from ksfusion.methods.output import Method
    from ksfusion.training.baselines import BaselineModel

REFERENCE = "reference.tsv"


@dataclass(frozen=True)
class FoldGenes:
    """The genes of a fold, frozen.

    Attributes
    ----------
    niches
        Niche to its symbols, in the order in which the models read them.
    groups
        Group (see `ksfusion.terms.gene_categories`) to its symbols.
    scaling
        Of all these genes; `ksfusion.genes.scaling.Scaling.apply` takes profiles x genes in log units.
    copies
        Cohort to the column that counts for a symbol, where several genes of its files have that symbol and it is not
        the first (`ksfusion.genes.repeated`).
    """

    niches: Mapping[str, list[str]]
    groups: Mapping[str, list[str]]
    scaling: Scaling
    copies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def symbols(self) -> list[str]:
        """All symbols, niche by niche."""
        return [symbol for symbols in self.niches.values() for symbol in symbols]


@dataclass(frozen=True)
class Member:
    """A trained model: one fold and seed.

    Attributes
    ----------
    fold, seed
        Which.
    folder
        Its folder in the bundle, with ``model.safetensors``, ``config.json`` and, but for classes, ``reference.tsv``.
    """

    fold: int
    seed: int
    folder: Path

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / MODEL

    @cached_property
    def config(self) -> dict[str, Any]:
        """What its run says of it (``config.json``): method, options, sizes, genes, what was fitted for the task."""
        return dict(read_json(self.folder / CONFIG))

    @property
    def cuts(self) -> list[float]:
        """Of survival, the days at which its intervals end; empty for other tasks."""
        return list(self.config.get("bins", ()))

    @cached_property
    def reference(self) -> np.ndarray:
        """Risks (or numbers) that it predicts of the cases that trained it, ascending, (cases,); empty for classes."""
        import numpy as np

        path = self.folder / REFERENCE
        return read_tsv(path)["value"].to_numpy(float) if path.is_file() else np.empty(0)

    def load(self) -> Method | BaselineModel:
        """Return the model, on the CPU and ready to predict.

        Raises
        ------
        UserError
            If the weights do not fit the method.
        """
        from ksfusion.bundles.loading import load_member

        return load_member(self)


@dataclass(frozen=True)
class Fold:
    """A fold: what its members share.

    Attributes
    ----------
    number
        Of the fold.
    members
        In order of their seeds.
    genes
        None where no genes are read.
    calibration
        Temperature and conformal scores of the mean of its members.
    training
        What its training samples looked like.
    """

    number: int
    members: tuple[Member, ...]
    genes: FoldGenes | None
    calibration: FoldCalibration
    training: TrainingSummary = field(repr=False)
