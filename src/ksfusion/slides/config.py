"""The settings of reading slides, of their tiles, stains, patches and features."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from ksfusion.core.config_block import PATH, Block, Fraction
from ksfusion.terms.flags import Flag

MasksOrigin = Literal["auto", "bounds", "level0"]
# What the system can wait for is a little more than the most: 2^31 ms.
LEAST_SECONDS, MOST_SECONDS = 0.1, 2_000_000
# Slides have 0.1 to 2 um per pixel; light shows nothing finer, and at the coarsest a patch spans centimetres.
FINEST_MPP, COARSEST_MPP = 0.05, 50.0
LARGEST_PATCH_PX = 4096
# A slide of 100,000 x 100,000 pixels has 200,000 tiles of 224.
MOST_TILES = 10_000_000
MOST_PATCHES = 250_000
Batches = Annotated[int, Field(ge=1, le=100_000)]


class TimeLimit(Block):
    """How long a slide may take."""

    timeout: float = Field(
        600, ge=LEAST_SECONDS, le=MOST_SECONDS, description="seconds a slide may take in each stage that reads it"
    )


class EnoughTiles(Block):
    """How many tiles make a slide usable."""

    min_tiles: int = Field(10, ge=1, le=MOST_TILES, description="a slide with fewer tiles fails with too_few_tiles")


class Reading(TimeLimit):
    """How slides are opened, and at which scale patches are read."""

    reader: Literal["auto", "openslide", "tiffslide", "image"] = Field("auto", description="what opens the slides")
    mpp: float = Field(
        0.5, ge=FINEST_MPP, le=COARSEST_MPP, description="micrometres per pixel at which patches are read"
    )
    patch_px: int = Field(224, ge=1, le=LARGEST_PATCH_PX, description="side of a patch in pixels at that scale")
    max_upsampling: float = Field(
        1.1, ge=1, le=100, description="a slide coarser than this times mpp fails with too_coarse"
    )
    icc: Literal["srgb", "none"] = Field("none", description="srgb: slides with an ICC profile are brought to sRGB")


class Masks(Block):
    """How the user's masks of tissue are read."""

    masks_origin: MasksOrigin = Field(
        "auto",
        description="where coordinates of masks start: level0 (the slide's corner), bounds (that of what was scanned, "
        "as in QuPath), or auto: told by where the polygons lie",
    )


class Grid(EnoughTiles, Masks, Reading):
    """How the grid of tiles is laid."""

    min_tissue: Fraction = Field(0.5, description="share of a tile that must be tissue")


class Tiling(Grid):
    """How the grid is laid, and on which slides: ``batches`` is how many batches there are."""

    batches: Batches


class Sampling(EnoughTiles):
    """Which tiles may stand for a slide."""

    exclude: list[Flag] = Field(
        default_factory=list, description="flagged tiles that are kept out of the sampling: pen, fold, blur"
    )

    @field_validator("exclude")
    @classmethod
    def _flags_differ(cls, flags: list[Flag]) -> list[Flag]:
        return sorted(set(flags))


class FailureLimit(Block):
    """When too many slides have failed."""

    max_failed_fraction: Fraction = Field(
        0.05, description="more failed slides than this stop the run, and more than two; 0: a single one does"
    )


class ReadRegionsSettings(Masks, Reading):
    """Of `ksfusion.stages.read_regions`."""


class Slides(FailureLimit, Sampling, Grid):
    """How slides are read and tiled."""

    batches: Batches | Literal["auto"] = Field(
        "auto", description="jobs that the slides are divided over; auto: one for 32 slides when the study begins"
    )
    masks: str | None = Field(
        None,
        description="a folder of {slide_id}.geojson or .png to take in place of the tissue found",
        json_schema_extra=PATH,
    )
    regions: str | None = Field(
        None,
        description="a folder of {slide_id}.geojson, annotations by class as QuPath exports them: whether models look "
        "there is told in results/localisation.tsv",
        json_schema_extra=PATH,
    )
    stage: str | None = Field(
        None,
        description="a folder on a fast disk, to which the next slide is copied while this one is encoded; no result "
        "depends on it",
        json_schema_extra=PATH,
        exclude=True,  # of what is recorded, and compared to tell what is to be redone
    )


class Stain(Block):
    """Stain normalisation."""

    method: Literal["vahadane", "macenko", "reinhard", "none"] = Field(
        "vahadane", description="how slides are brought to the target's stain"
    )
    target: str = Field(
        "builtin", description="the target: builtin, or a file of `ksfusion stain-target`", json_schema_extra=PATH
    )


class Patches(Block):
    """How many patches stand for a slide, and how they fill the square map."""

    count: int = Field(2500, ge=1, le=MOST_PATCHES, description="patches per slide, a square number")
    order: Literal["raster", "hilbert"] = Field("raster", description="how they fill the map")

    @field_validator("count")
    @classmethod
    def _is_square(cls, count: int) -> int:
        if math.isqrt(count) ** 2 != count:
            raise ValueError(f"must be a square number, such as {math.isqrt(count) ** 2}")
        return count


class Encoding(Block):
    """What turns a patch into features."""

    encoder: str = Field("resnet50", description="a preset, timm:NAME or hf-hub:OWNER/NAME")
    weights: str | None = Field(
        None, description="a local weight file; null fetches the encoder's own", json_schema_extra=PATH
    )
    batch_size: int = Field(256, ge=1, le=65_536, description="patches encoded at once")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the products; on a GPU take bfloat16"
    )
    compile: bool = Field(False, description="compile the encoder first (torch.compile); worth it on a GPU")
    input_px: int | None = Field(
        None,
        ge=32,
        le=LARGEST_PATCH_PX,
        description="side in pixels to which patches are shrunk for the encoder; null: as they are",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the side out where it is not set: files of 0.1.0, made without, are then of the same settings."""
        return {name: value for name, value in write(self).items() if name != "input_px" or value is not None}


class FeatureFiles(Block):
    """Where the patches' features come from: an encoder, or the files of another tool."""

    source: Literal["extract", "precomputed", "slide-vectors"] = Field(
        "extract",
        description="extract: read the slides; precomputed: the .h5 files of TRIDENT, CLAM or STAMP; slide-vectors: "
        "one vector a slide, of TITAN, PRISM, GigaPath or others, .h5 or .pt",
    )
    path: str | None = Field(
        None, description="the folder of the precomputed files, {slide_id}.h5 or .pt each", json_schema_extra=PATH
    )


class Features(Encoding, FeatureFiles):
    """Where features come from, and how they are made."""

    @model_validator(mode="after")
    def _path_goes_with_precomputed(self) -> Features:
        if self.source != "extract" and not self.path:
            raise ValueError(f"source {self.source} needs path, the folder of the .h5 files")
        if self.source == "extract" and self.path:
            raise ValueError("path is for source precomputed; remove it, or set source")
        return self


class TileSlidesSettings(Block):
    """Of `ksfusion.stages.tile_slides`."""

    slides: Tiling


class FitStainSettings(Block):
    """Of `ksfusion.stages.fit_stain`."""

    slides: Reading
    stain: Stain


class SamplePatchesSettings(Sampling):
    """Of `ksfusion.stages.sample_patches`."""

    patches: Patches


class DrawOverviewsSettings(Masks):
    """Of `ksfusion.stages.draw_overviews`."""

    slides: Reading


class ExtractFeaturesSettings(Block):
    """Of `ksfusion.stages.extract_features`."""

    slides: Reading
    stain: Stain
    features: Encoding


class ImportTilesSettings(TimeLimit, EnoughTiles):
    """Of `ksfusion.stages.import_tiles`."""

    batches: Batches
    path: str
    source: Literal["precomputed", "slide-vectors"] = "precomputed"

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the source out where it is features of patches: settings stay those of earlier runs."""
        return {name: value for name, value in write(self).items() if name != "source" or value != "precomputed"}


class ImportFeaturesSettings(TimeLimit):
    """Of `ksfusion.stages.import_features`."""

    features: FeatureFiles


class CheckTilesSettings(FailureLimit):
    """Of `ksfusion.stages.check_tiles`."""


class BuildStoreSettings(FailureLimit):
    """Of `ksfusion.stages.build_store`; ``may_be_empty``: go on without any slide or sample, as new patients may."""

    may_be_empty: bool = False

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not so: of a study it never is, and its settings stay those of its earlier runs."""
        return {name: value for name, value in write(self).items() if name != "may_be_empty" or value}
