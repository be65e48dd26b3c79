"""The baselines: ridge regressions, Cox's for survival, logistic for classes, told apart by what they read.

Cox: Regression models and life-tables, J. R. Stat. Soc. B 34, 1972. Verweij and van Houwelingen: Penalized likelihood
in Cox regression, Stat. Med. 13, 1994. They say what networks must be better than: age and one marker, genes without
patches, patches without their places, or nothing but the cohort.
"""

from __future__ import annotations

from typing import Literal

from ksfusion.methods.registry import register

PartName = Literal["clinical", "genes", "patches", "cohort"]
# That of one observation, for parts of few columns; of the others the penalty is chosen on validation cases.
FIXED_PENALTY = 1.0
FEW_COLUMNS: tuple[PartName, ...] = ("clinical", "cohort")


class Baseline:
    """A ridge regression; ``parts`` is what it reads."""

    parts: tuple[PartName, ...]


@register("clinical", label="Clinical", modalities="c", training="baseline")
class Clinical(Baseline):
    """The clinical columns alone."""

    parts = ("clinical",)


@register("cox-genes", label="Cox ridge on genes", modalities="g", training="baseline", kinds=("survival",))
class CoxGenes(Baseline):
    """The selected genes of both niches, for survival."""

    parts = ("genes",)


@register(
    "logistic-genes", label="Logistic ridge on genes", modalities="g", training="baseline", kinds=("classification",)
)
class LogisticGenes(Baseline):
    """The selected genes of both niches, for classes."""

    parts = ("genes",)


@register("clinical+genes", label="Clinical and genes", modalities="cg", training="baseline")
class ClinicalGenes(Baseline):
    """The clinical columns and the selected genes of both niches."""

    parts = ("clinical", "genes")


@register("cohort", label="Cohort alone", modalities="", training="baseline")
class CohortAlone(Baseline):
    """Nothing but the cohort that a sample is of."""

    parts = ("cohort",)


@register("mean-patch", label="Mean patch", modalities="p", training="baseline", vector=True)
class MeanPatch(Baseline):
    """The mean of the features of a slide's patches, on its map."""

    parts = ("patches",)
