"""The configuration: the one description of its keys, their types and their defaults, which are the paper's.

The tables a configuration names are described in `ksfusion.cohort.samples`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from ksfusion.errors import UserError
from ksfusion.flags import FLAGS
from ksfusion.methods.registry import METHODS
from ksfusion.niches import NICHES
from ksfusion.rankings import COUNT_FLAVOURS, LOG_FLAVOURS, RANKINGS
from ksfusion.strict_yaml import read_yaml

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Block(BaseModel):
    """Base of every block: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Formats whose files hold certain units alone.
UNITS_OF = {"gdc-star": ("counts", "tpm", "fpkm"), "ivygap": ("fpkm",)}


class Expression(Block):
    """Where a cohort's expression profiles are."""

    cohort: Name
    format: Literal["gdc-star", "ivygap", "matrix", "h5ad"]
    unit: Literal["counts", "tpm", "fpkm", "log", "zscore"]
    path: str
    suffix: str | None = Field(None, description="ending of the gene columns of a matrix, such as _rnaseq")
    sample_sheet: str | None = Field(
        None, description="sample sheet of the GDC portal, for gdc-star: profiles are then named by their Sample ID"
    )

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> Expression:
        if self.suffix is not None and self.format != "matrix":
            raise ValueError(f"suffix belongs to format matrix, not {self.format}")
        if self.sample_sheet is not None and self.format != "gdc-star":
            raise ValueError(f"sample_sheet belongs to format gdc-star, not {self.format}")
        units = UNITS_OF.get(self.format)
        if units and self.unit not in units:
            raise ValueError(f"format {self.format} has no unit {self.unit}; use {' or '.join(units)}")
        return self


class Cohort(Block):
    """Who is in the study."""

    samples: str = Field(description="table of samples: one slide paired with one expression profile")
    cases: str = Field(description="table of cases: labels and survival")
    require: Literal["paired"] = Field(
        "paired", description="all methods train and are scored on the same complete samples"
    )
    pairing: Literal["any", "closest"] = Field(
        "any", description="closest: of a slide's profiles only those taken closest to it"
    )
    allow_duplicates: list[tuple[str, str]] = Field(
        default_factory=list, description="pairs of slides or profiles of two cases that may be one"
    )
    expression: list[Expression] = Field(min_length=1)

    @field_validator("expression")
    @classmethod
    def _one_source_per_cohort(cls, sources: list[Expression]) -> list[Expression]:
        names = [source.cohort for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"cohort {name} is listed twice")
        return sources


class Slides(Block):
    """How slides are read and tiled."""

    reader: Literal["auto", "openslide", "tiffslide", "image"] = "auto"
    mpp: float = Field(0.5, gt=0, description="micrometres per pixel at which patches are read")
    patch_px: Positive = 224
    min_tissue: Fraction = 0.5
    min_tiles: Positive = 10
    max_upsampling: float = Field(1.1, ge=1)
    batches: Positive = 75
    max_failed_fraction: Fraction = 0.05
    timeout: float = Field(600, gt=0, description="seconds a slide may take in each stage that reads it")
    icc: Literal["srgb", "none"] = Field("none", description="bring slides with an ICC profile to sRGB")
    exclude: list[Literal[*FLAGS]] = Field(default_factory=list, description="quality flags kept out of sampling")
    masks: str | None = Field(None, description="folder of {slide_id}.geojson or .png: tissue by the user's hand")

    @field_validator("exclude")
    @classmethod
    def _flags_differ(cls, flags: list[str]) -> list[str]:
        return sorted(set(flags))


class Stain(Block):
    """Stain normalisation."""

    method: Literal["vahadane", "macenko", "reinhard", "none"] = "vahadane"
    target: str = "builtin"


class Patches(Block):
    """How many patches stand for a slide, and how they fill the square map."""

    count: Positive = 2500
    order: Literal["raster", "hilbert"] = "raster"

    @field_validator("count")
    @classmethod
    def _is_square(cls, count: int) -> int:
        if math.isqrt(count) ** 2 != count:
            raise ValueError(f"must be a square number, such as {math.isqrt(count) ** 2}")
        return count


class Features(Block):
    """Where the patches' features come from: an encoder, or the files of another tool."""

    source: Literal["extract", "precomputed"] = "extract"
    path: str | None = Field(None, description="folder of precomputed features, one .h5 a slide")
    encoder: str = "resnet50"
    weights: str | None = None
    batch_size: Positive = 256
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = Field(False, description="compile the encoder (torch.compile); worth it on a GPU")

    @model_validator(mode="after")
    def _path_goes_with_precomputed(self) -> Features:
        if self.source == "precomputed" and not self.path:
            raise ValueError("source precomputed needs path, the folder of the .h5 files")
        if self.source == "extract" and self.path:
            raise ValueError("path is for source precomputed; remove it, or set source")
        return self


class Genes(Block):
    """Which genes are used, and their scale."""

    top_fraction: float = Field(0.3, gt=0, le=1)
    rank: Literal[*RANKINGS] = "within_cohort"
    fit_on: Literal["train", "all"] = "train"
    harmonise: Literal["zscore_by_cohort", "zscore", "none", "combat"] = "zscore_by_cohort"
    clip: float | None = Field(None, gt=0, description="standard deviations at which scaled values are cut off")
    sets: str | dict[str, str] = Field("builtin", description="a table, or a file for each niche")

    @field_validator("sets", mode="before")
    @classmethod
    def _sets_of_niches(cls, sets: Any) -> Any:
        files = list(sets.values()) if isinstance(sets, Mapping) else [sets]
        if not (files and all(isinstance(file, str) and file for file in files)):
            raise ValueError("must be builtin, a table, or a mapping such as {tme: GeneList.txt, tumour: my.gmt}")
        if isinstance(sets, str) and sets.lower().endswith(".gmt"):
            raise ValueError(
                f"a GMT file does not say its niche; write {' or '.join(NICHES)} before it, {{tme: my.gmt}}"
            )
        if unknown := [niche for niche in sets if niche not in NICHES] if isinstance(sets, Mapping) else []:
            raise ValueError(f"{unknown[0]!r} is not a niche; use {' and '.join(NICHES)}")
        return sets

    @model_validator(mode="after")
    def _combat_sees_all(self) -> Genes:
        if self.harmonise == "combat" and self.fit_on != "all":
            raise ValueError("harmonise: combat cannot be frozen on training samples; it needs fit_on: all")
        if self.harmonise == "none" and self.clip is not None:
            raise ValueError("clip counts standard deviations, and harmonise: none does not scale; remove either")
        return self

    def set_files(self) -> dict[str, str]:
        """Return the user's own files of gene sets by their key in the configuration."""
        sets = {"": self.sets} if isinstance(self.sets, str) else self.sets
        files = {f"genes.sets{'.' if niche else ''}{niche}": file for niche, file in sets.items()}
        return {key: file for key, file in files.items() if file != "builtin"}

    def caveats(self) -> list[str]:
        """Return what must be said wherever results are shown: that test samples were seen before the test."""
        said = []
        if self.fit_on == "all":
            said.append("Genes were chosen and scaled on all samples, the test samples among them (genes.fit_on: all).")
        if self.harmonise == "combat":
            said.append(
                "Expression was adjusted by ComBat on all samples, the test samples among them; this cannot be applied "
                "to a new patient (genes.harmonise: combat)."
            )
        return said


class Splits(Block):
    """How cases are divided into training, validation and test."""

    scheme: Literal["holdout", "kfold", "file", "site"] = "holdout"
    fractions: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)
    seed: int = 42
    k: int = Field(5, ge=2, description="folds of kfold")
    file: str | None = Field(None, description="table of fold, case_id, split, or a folder of splits_{k}.csv")

    @model_validator(mode="after")
    def _file_goes_with_its_scheme(self) -> Splits:
        if (self.scheme == "file") != (self.file is not None):
            raise ValueError("scheme: file and file: PATH go together")
        return self

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(fractions) - 1) > 1e-6 or min(fractions) <= 0:
            raise ValueError("must be three positive numbers that sum to 1")
        return fractions


class Task(Block):
    """What is predicted: classes of a column, or survival from a time and an event column."""

    kind: Literal["classification", "survival"]
    column: str | None = None
    classes: list[str] = Field(default_factory=list)
    time: str | None = None
    event: str | None = None
    unit: Literal["days", "months", "years"] = Field("days", description="unit of time; labels are in days")
    epochs: Positive | None = None

    @field_validator("classes", mode="before")
    @classmethod
    def _classes_are_text(cls, classes: Any) -> Any:
        if not isinstance(classes, list):
            return classes
        if any(isinstance(name, bool) for name in classes):
            raise ValueError("YAML reads yes, no, on and off as true and false; put the classes in quotes")
        return [str(name) if isinstance(name, int | float) else name for name in classes]

    @model_validator(mode="after")
    def _names_its_columns(self) -> Task:
        if self.kind == "classification" and (not self.column or len(self.classes) < 2):
            raise ValueError("a classification task needs column and at least two classes")
        if self.kind == "classification" and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must differ")
        if self.kind == "survival" and not (self.time and self.event):
            raise ValueError("a survival task needs time and event")
        if self.kind == "classification" and self.unit != "days":
            raise ValueError("unit is for survival tasks; remove it")
        if self.time == "survival_days" and self.unit != "days":
            raise ValueError("the column survival_days is in days; give a column of another name, or remove unit")
        return self


# Diagnosis is derived (ksfusion.cohort.labels); its class order is the paper's numbering.
BUILTIN_TASKS = {
    "diagnosis": Task(
        kind="classification",
        column="diagnosis",
        classes=["glioblastoma", "astrocytoma_g4", "astrocytoma", "oligodendroglioma"],
    ),
    "grading": Task(kind="classification", column="grade", classes=["G2", "G3", "G4"]),
    "survival": Task(kind="survival", time="survival_days", event="event"),
}
PAPER_EPOCHS = {"diagnosis": 20, "grading": 20, "survival": 10}
# Table 1, then the ablations of Table 2.
PAPER_METHODS = [
    "attmil",
    "transmil",
    "snn",
    "concat",
    "add",
    "bilinear",
    "mcat",
    "cmta",
    "ksfusion",
    "ksfusion-no-gecon",
    "ksfusion-no-cgcoord",
]


class Search(Block):
    """A search of training settings on the validation samples: how many trials, and the range of each setting."""

    trials: Positive = 20
    lr: tuple[float, float] = (1e-4, 1e-2)
    weight_decay: tuple[float, float] = (1e-4, 1e-1)
    dropout: tuple[Fraction, Fraction] = (0.0, 0.5)
    alpha: tuple[Fraction, Fraction] = (0.0, 1.0)

    @field_validator("lr", "weight_decay", "dropout", "alpha")
    @classmethod
    def _is_a_range(cls, limits: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = limits
        if low > high:
            raise ValueError("must be the lowest and the highest value, in this order")
        if info.field_name in ("lr", "weight_decay") and low <= 0:
            raise ValueError("must be above 0: it is searched by orders of magnitude")
        if info.field_name == "dropout" and high >= 1:
            raise ValueError("must stay below 1")
        return limits


class Training(Block):
    """How models are trained."""

    seeds: list[int] = Field([0, 1, 2], min_length=1)
    batch_size: Positive = 8
    lr: float = Field(1.0e-3, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    alpha: Fraction = 0.5
    weight_by: Literal["sample", "case"] = "sample"
    epochs: dict[str, Positive] = Field(default_factory=lambda: dict(PAPER_EPOCHS))
    search: Search | None = Field(None, description="search settings on validation samples before training")
    tensorboard: bool = Field(False, description="write event files for TensorBoard into each run's folder")

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
            raise ValueError("seeds must be different numbers from 0 to 4294967295")
        return seeds


class Heatmaps(Block):
    """Which pictures of attention are drawn."""

    methods: list[str] = Field(["ksfusion"], description="methods that read patches")
    seeds: list[int] | None = Field(None, description="of training.seeds; null: the first")
    samples: Positive | Literal["all"] = Field(8, description="test samples of each run")

    @field_validator("samples", mode="before")
    @classmethod
    def _number_or_all(cls, samples: Any) -> Any:
        if samples != "all" and (type(samples) is not int or samples < 1):
            raise ValueError("must be a number of samples, at least 1, or all")
        return samples

    @field_validator("methods")
    @classmethod
    def _look_at_patches(cls, methods: list[str]) -> list[str]:
        for name in methods:
            if name not in METHODS or "p" not in METHODS[name].modalities:
                known = ", ".join(name for name, info in METHODS.items() if "p" in info.modalities)
                raise ValueError(f"{name!r} is no method that reads patches; known: {known}")
        if len(set(methods)) < len(methods):
            raise ValueError("a method is listed twice")
        return methods


class Config(Block):
    """A whole configuration."""

    cohort: Cohort
    slides: Slides = Slides()
    stain: Stain = Stain()
    patches: Patches = Patches()
    features: Features = Features()
    genes: Genes = Genes()
    splits: Splits = Splits()
    tasks: dict[Name, Task] = Field(default_factory=lambda: dict(BUILTIN_TASKS), min_length=1)
    methods: list[str] = Field(default_factory=lambda: list(PAPER_METHODS), min_length=1)
    training: Training = Training()
    heatmaps: Heatmaps = Heatmaps()
    demo: bool = Field(False, description="draw the synthetic demo cohort, and say on the report that it is one")

    @field_validator("tasks", mode="before")
    @classmethod
    def _builtin_recipes(cls, tasks: Any) -> Any:
        if not isinstance(tasks, list):
            return tasks
        for name in tasks:
            if name not in BUILTIN_TASKS:
                raise ValueError(
                    f"{name!r} is not a built-in task ({', '.join(BUILTIN_TASKS)}); define it as a mapping"
                )
        return {name: BUILTIN_TASKS[name] for name in tasks}

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: list[str]) -> list[str]:
        for name in methods:
            if name not in METHODS:
                raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
        if len(set(methods)) < len(methods):
            raise ValueError("a method is listed twice")
        return methods

    @model_validator(mode="after")
    def _flags_need_pixels(self) -> Config:
        if self.features.source == "precomputed" and (self.slides.exclude or self.slides.masks):
            raise ValueError("slides.exclude and slides.masks need the slides; remove them, or set features.source")
        return self

    @model_validator(mode="after")
    def _epochs_belong_to_tasks(self) -> Config:
        unknown = [name for name in self.training.epochs if name not in self.tasks and name not in BUILTIN_TASKS]
        if unknown:
            raise ValueError(f"training.epochs names unknown tasks: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _heatmaps_are_of_trained_seeds(self) -> Config:
        for seed in self.heatmaps.seeds or ():
            if seed not in self.training.seeds:
                raise ValueError(f"heatmaps.seeds: {seed} is not one of training.seeds; add it there")
        return self

    @model_validator(mode="after")
    def _profiles_suit_the_genes(self) -> Config:
        scored = [source.cohort for source in self.cohort.expression if source.unit == "zscore"]
        if scored and self.genes.rank in LOG_FLAVOURS:
            raise ValueError(
                f"genes.rank: {self.genes.rank} cannot rank the z-scores of cohort {scored[0]}; use pooled"
            )
        uncounted = [source for source in self.cohort.expression if source.unit != "counts"]
        if uncounted and self.genes.rank in COUNT_FLAVOURS:
            units = ", ".join(f"{source.cohort} ({source.unit})" for source in uncounted)
            raise ValueError(
                f"genes.rank: {self.genes.rank} ranks raw counts, which these cohorts do not give: {units}; give their "
                "counts (unit: counts), or use within_cohort"
            )
        if self.genes.harmonise == "combat" and len(self.cohort.expression) < 2:
            raise ValueError("genes.harmonise: combat needs expression of two cohorts; use zscore")
        return self

    @model_validator(mode="after")
    def _map_is_large_enough(self) -> Config:
        for name in self.methods:
            fewest = METHODS[name].min_patches
            if self.patches.count < fewest:
                raise ValueError(f"patches.count is {self.patches.count}; {name} needs at least {fewest}")
        return self

    def epochs(self, task: str) -> int:
        """Return the number of epochs of a task: its own, else ``training.epochs``, else 20 (10 for survival)."""
        kind_default = 10 if self.tasks[task].kind == "survival" else 20
        return self.tasks[task].epochs or self.training.epochs.get(task, kind_default)


def parse_config(values: Mapping[str, Any], *, source: str = "the configuration") -> Config:
    """Validate a configuration.

    Parameters
    ----------
    values
        The mapping as read from YAML.
    source
        What to call it in messages: the name of its file.

    Raises
    ------
    UserError
        With one line for each problem: the key, what is wrong, and what it was given.
    """
    # Snakemake takes braces for wildcards, wherever they stand.
    if braces := [text for text in _texts(values) if "{" in text or "}" in text]:
        raise UserError("\n".join(f"{source}: {text!r} has a brace in it; rename it" for text in braces))
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise UserError("\n".join(_describe(problem, source) for problem in error.errors())) from None


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in nested settings, keys included."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _describe(problem: Mapping[str, Any], source: str) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the whole"
    if problem["type"] == "extra_forbidden":
        return f"{source}: {key}: unknown key; remove it or correct its name ({_known_keys(problem['loc'])})"
    if problem["type"] == "missing":
        return f"{source}: {key}: missing; add it"
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], Mapping | list) else f" (given: {problem['input']!r})"
    return f"{source}: {key}: {message}{given}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    model: Any = Config
    for part in location[:-1]:
        field = model.model_fields.get(part) if isinstance(model, type) and issubclass(model, Block) else None
        model = field.annotation if field else None
    if isinstance(model, type) and issubclass(model, Block):
        return "known here: " + ", ".join(model.model_fields)
    return "see config.yaml, where every key is explained"


def load_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises
    ------
    UserError
        If it is not there, is not YAML, has a key twice, or is not a valid configuration.
    """
    values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise UserError(f"{path}: must be a mapping of keys; see config.yaml")
    return parse_config(values, source=str(path))
