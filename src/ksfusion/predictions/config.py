"""The settings of a prediction: what ``ksfusion predict`` writes, and what its stages are given."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ksfusion.bundles.config import Level
from ksfusion.cohort.config import UserColumn
from ksfusion.core.config_block import PATH, Block, Name, Positive
from ksfusion.genes.config import ExpressionSource
from ksfusion.slides.config import Reading


class Prediction(Block):
    """What is predicted, of whom, and where their files are: ``predict.yaml``."""

    bundle: str = Field(description="folder that `ksfusion bundle` made", json_schema_extra=PATH)
    samples: str = Field(description="table of the new samples", json_schema_extra=PATH)
    expression: list[ExpressionSource] = Field(
        default_factory=list, description="where each cohort's profiles are, their layout and their unit"
    )
    columns: dict[str, UserColumn] = Field(
        default_factory=dict, description="names of the columns of your own table: {case_id: Patient}"
    )
    weights: str | None = Field(
        None, description="local weight file of the encoder; null fetches the encoder's own", json_schema_extra=PATH
    )
    features: str | None = Field(
        None,
        description="folder of {slide_id}.h5, of a bundle that was trained on another tool's features",
        json_schema_extra=PATH,
    )
    masks: str | None = Field(
        None,
        description="folder of {slide_id}.geojson or .png to take in place of the tissue found",
        json_schema_extra=PATH,
    )
    methods_from: list[str] = Field(
        default_factory=list,
        description="file with the method, where it is one of the bundle's maker and not of ksfusion",
        json_schema_extra=PATH,
    )
    level: Level | None = Field(
        None, description="level of the sets of classes; null is that of the bundle, of several folds 2 x level - 1"
    )
    batches: Positive | Literal["auto"] = Field("auto", description="jobs that the slides are divided over")


class CheckPatientsSettings(Block):
    """Of `ksfusion.stages.check_patients`.

    Attributes
    ----------
    samples, columns
        The table of samples, and the names of its columns.
    expression_cohorts
        Cohorts that have profiles.
    modalities
        What is read of a sample: ``p``, ``g`` or ``pg``.
    """

    samples: str
    columns: dict[str, UserColumn] = Field(default_factory=dict)
    expression_cohorts: list[Name]
    modalities: Literal["p", "g", "pg"]


class OfBundle(Block):
    """Which bundle it is: ``bundle`` is the digest of its manifest."""

    bundle: str


class PredictCasesSettings(OfBundle):
    """Of `ksfusion.stages.predict_cases`; ``level``: that of the sets of classes, null for the bundle's own."""

    level: Level | None = None


class ExplainCasesSettings(OfBundle):
    """Of `ksfusion.stages.explain_cases`; ``slides``: how slides are read, null where they are not."""

    slides: Reading | None


class WritePagesSettings(OfBundle):
    """Of `ksfusion.stages.write_pages`."""
