"""What is written in the JSON and YAML files of a bundle; nothing heavy is imported."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ksfusion.cohort.config import Labelling
from ksfusion.core.config_block import Block, Fraction, Name, Positive
from ksfusion.genes.config import Genes
from ksfusion.results.config import ShownTask
from ksfusion.slides.config import Encoding, Patches, Slides, Stain
from ksfusion.terms.gene_sets import GeneSets
from ksfusion.terms.units import ExpressionFormat, ExpressionUnit

# The version of the layout; a bundle of a later one is refused.
FORMAT = 1
# Of conformal sets: more than half of the cases, and not all.
Level = Annotated[float, Field(gt=0.5, lt=1)]
LEVEL = 0.9


class BundleSettings(Block):
    """How a new patient's files become what the models read: ``settings.yaml``.

    Attributes
    ----------
    slides
        Reading, tiling and quality control; of ``batches``, ``masks`` and ``max_failed_fraction`` nothing is kept.
    stain
        Its ``target`` is ``stain_target.json``, a file of the bundle.
    patches
        Number and order of the patches.
    features
        Encoder; its ``weights`` are null, or the name (not the path) of the file that the study's were read from.
    genes
        Choice and scaling of the genes, which are frozen; ``harmonise``, ``clip`` and ``sets`` tell how they came
        about.
    names
        Version of the shipped gene sets by which genes are named.
    """

    slides: Slides | None = None
    stain: Stain | None = None
    patches: Patches | None = None
    features: Encoding | None = None
    genes: Genes | None = None
    names: GeneSets | None = None


class BundleEncoder(Block):
    """What made the features.

    Attributes
    ----------
    source
        ``extract``: the encoder of the settings; ``precomputed`` and ``slide-vectors``: another tool, whose features
        have to be given, or one vector a slide.
    name
        The encoder; empty where features are precomputed.
    weights_sha256
        Of the encoder's weights (`ksfusion.slides.encoders.digest.encoder_digest`); null where it could not be built
        when the bundle was made, or features are precomputed.
    n_features
        Length of a feature vector.
    """

    source: Literal["extract", "precomputed", "slide-vectors"] = "extract"
    name: str = ""
    weights_sha256: str | None = None
    n_features: Positive


class BundleExpression(Block):
    """Where expression of the study came from: the unit is that which new profiles of the same cohort should have."""

    cohort: Name
    format: ExpressionFormat
    unit: ExpressionUnit


class BundleFold(Block):
    """A fold of the study.

    Attributes
    ----------
    fold
        Its number.
    seeds
        Of its members.
    skipped
        Seed to the reason of each run that has no model.
    """

    fold: int = Field(ge=0)
    seeds: list[int] = Field(min_length=1)
    skipped: dict[str, str] = Field(default_factory=dict)


class BundleStudy(Block):
    """The study that the bundle was made from.

    Attributes
    ----------
    name, title
        Of its configuration; null where it gives none.
    cases, samples
        How many cases and samples were in use, by cohort.
    """

    name: str | None = None
    title: str | None = None
    cases: dict[str, int] = Field(default_factory=dict)
    samples: dict[str, int] = Field(default_factory=dict)


class MethodFile(Block):
    """The file of a method that is not of this package; the bundle does not hold it.

    Attributes
    ----------
    name
        Of the file.
    sha256
        Of its content.
    package
        Name and version of the package that it came with; empty for a file of the user's.
    """

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    package: str = ""


class BundleContents(Block):
    """What a bundle is: ``bundle.json``.

    Attributes
    ----------
    task
        What is predicted: name, kind, classes in the order of their numbers, and what they are called.
    labelling
        From which columns of a table of cases its labels come.
    method, modalities
        Name of the method; ``p``, ``g`` or ``pg``.
    method_file
        Where the method is one of the maker's and not of this package; else null.
    partial
        Whether a sample may lack its slide or its profile: the models have learned stand-ins.
    batch_size
        Samples that are predicted at once: that of training, with which predictions are the run's to the bit.
    n_patches
        Patches of a map; null where none are read.
    encoder
        Null where no patches are read.
    expression
        Of the study; empty where no genes are read.
    level
        Of conformal sets, where a prediction asks for no other; of several folds the sets' level is 2 x level - 1.
    folds
        In order.
    study
        Where it came from.
    versions
        Name of a package to its version when the bundle was made.
    """

    task: ShownTask
    labelling: Labelling
    method: str
    modalities: Literal["p", "g", "pg"]
    method_file: MethodFile | None = None
    partial: bool = False
    batch_size: Positive
    n_patches: Positive | None = None
    encoder: BundleEncoder | None = None
    expression: list[BundleExpression] = Field(default_factory=list)
    level: Level = LEVEL
    folds: list[BundleFold] = Field(min_length=1)
    study: BundleStudy = BundleStudy()
    versions: dict[str, str] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)


class Temperature(Block):
    """A temperature, and what it does to the cases that it was fitted on.

    Attributes
    ----------
    value
        Logits are divided by it: of classes the logarithms of the fold's mean probabilities; of survival the logits of
        the hazards of the fold's mean curve, about ``centre``.
    centre
        Of survival, the mean logit of each interval over training cases: with a high temperature every curve is their
        mean curve. Empty for classes: a high temperature makes all classes equally likely.
    cases
        Validation cases that it was fitted on.
    loss_raw, loss_calibrated
        Mean negative log-likelihood of these cases without and with it.
    """

    value: float = Field(gt=0)
    centre: list[float] = Field(default_factory=list)
    cases: Positive
    loss_raw: float
    loss_calibrated: float


class FoldCalibration(Block):
    """The calibration of a fold: ``calibration/fold{fold}.json``.

    Attributes
    ----------
    temperature
        Null where there is none.
    no_temperature
        Why there is none.
    scores
        Conformal scores, ascending, one for each case that was held out of the choice of the epoch and of the
        temperature: 1 minus the calibrated probability of its class.
    no_scores
        Why there are none.
    """

    temperature: Temperature | None = None
    no_temperature: str = ""
    scores: list[Fraction] = Field(default_factory=list)
    no_scores: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)


class DistanceLimit(Block):
    """When a distance from training is far.

    Attributes
    ----------
    limit
        The quantile of the distances of cases that were left out when the covariance was fitted.
    samples
        Slides or profiles of training that it was fitted on.
    cases
        Cases whose distances gave the quantile.
    cut
        Numbers are cut off at so many spreads from their centre; null where they are not.
    """

    limit: float = Field(ge=0)
    samples: Positive
    cases: Positive
    cut: float | None = Field(None, gt=0)


class FoldTraining(Block):
    """What the training samples of a fold looked like: ``training/fold{fold}.json``; arrays stand beside it.

    Attributes
    ----------
    quantile
        That of all limits: of samples like those of training as many exceed each limit.
    limits
        Of ``features``, ``expression`` and ``stain``, of those that the method reads.
    no_limits
        Why one of them has none.
    mpp, mpp_sources
        The scales of training slides, each once, and where these came from.
    least_tissue_mm2, least_patches
        Smallest amounts that are not too little; null without patches.
    """

    quantile: float = Field(0.975, gt=0.5, lt=1)
    limits: dict[Literal["features", "expression", "stain"], DistanceLimit] = Field(default_factory=dict)
    no_limits: dict[str, str] = Field(default_factory=dict)
    mpp: list[float] = Field(default_factory=list)
    mpp_sources: list[str] = Field(default_factory=list)
    least_tissue_mm2: float | None = None
    least_patches: float | None = None
