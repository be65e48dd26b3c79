"""The configuration: the blocks of its domains, put together, and what must hold between them.

A key, its type, its default (the paper's) and its description stand in the ``config.py`` of the domain that reads it.
The tables a configuration names are described in `ksfusion.cohort.samples`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from ksfusion.cohort.config import CheckLeakageSettings, Clinical, CohortFiles, Pairing, Splits
from ksfusion.cohort.needs import label_sources
from ksfusion.core.config_block import PATH, AnyPath, Name, once_each
from ksfusion.core.resources import resource
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.genes.config import ExpressionSource, Genes, unseen_problem
from ksfusion.methods.registry import METHODS, SHIPPED, unknown_method
from ksfusion.results.config import ALL, AuditedResults, Heatmaps, Results, Titles
from ksfusion.results.tasks import BUILTIN_TASKS, EPOCHS_OF_KIND, Task, by_name, recipe, tasks_by_name_too
from ksfusion.slides.config import Features, Patches, Slides, Stain
from ksfusion.slides.reading.slide_files import VECTORS
from ksfusion.terms.gene_sets import is_builtin
from ksfusion.terms.rankings import COUNT_FLAVOURS, LOG_FLAVOURS
from ksfusion.training.config import Training


class Cohort(Clinical, CheckLeakageSettings, Pairing, CohortFiles):
    """Who is in the study."""

    expression: list[ExpressionSource] = Field(
        min_length=1, description="where each cohort's profiles are, their layout and their unit"
    )

    @field_validator("expression")
    @classmethod
    def _one_source_per_cohort(cls, sources: list[ExpressionSource]) -> list[ExpressionSource]:
        if ALL in once_each([source.cohort for source in sources], "cohort"):
            raise ValueError(f"a cohort cannot be called {ALL}: the tables call all of them so; rename it")
        return sources


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


def _shipped_methods_without_files(schema: dict[str, Any]) -> None:
    """Let the JSON schema of a configuration that names no file with methods take the shipped ones alone."""
    schema["if"] = {"properties": {"methods_from": {"minItems": 1}}, "required": ["methods_from"]}
    schema["else"] = {"properties": {"methods": {"items": {"enum": list(SHIPPED)}}}}


class Config(Titles):
    """A whole configuration."""

    model_config = ConfigDict(json_schema_extra=_shipped_methods_without_files)

    study: Name | None = Field(None, description="a name, by which its results are known; else its cases tell")
    folder: AnyPath = Field(".", description="the study's folder, where results are written; from that of the command")
    cohort: Cohort
    slides: Slides = Field(Slides(), description="how slides are read and tiled")
    stain: Stain = Field(Stain(), description="stain normalisation")
    patches: Patches = Field(Patches(), description="how many patches stand for a slide, and how they fill the map")
    features: Features = Field(Features(), description="where features come from, and how they are made")
    genes: Genes = Field(Genes(), description="which genes are used, and their scale")
    splits: Splits = Field(Splits(), description="how cases are divided into training, validation and test")
    tasks: dict[Name, Task] = Field(
        default_factory=lambda: dict(BUILTIN_TASKS),
        min_length=1,
        description="built-in tasks by name, or a mapping of name to task",
        json_schema_extra=tasks_by_name_too,
    )
    methods_from: list[AnyPath] = Field(
        default_factory=list,
        description="files of Python with methods of your own, which `ksfusion new method NAME` begins",
        json_schema_extra=PATH,
    )
    methods: list[str] = Field(
        default_factory=lambda: list(PAPER_METHODS),
        min_length=1,
        description="the rows of Tables 1 and 2",
    )
    training: Training = Field(Training(), description="how models are trained")
    heatmaps: Heatmaps = Field(Heatmaps(), description="pictures of where a model looks")
    results: AuditedResults = Field(AuditedResults(), description="what stands in the tables")
    demo: bool = Field(False, description="draw the synthetic demo cohort, and say on the report that it is one")

    @field_validator("tasks", mode="before")
    @classmethod
    def _builtin_recipes(cls, tasks: Any) -> Any:
        if isinstance(tasks, list):
            tasks = by_name(tasks)
        return {name: recipe(name, task) for name, task in tasks.items()} if isinstance(tasks, Mapping) else tasks

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: list[str]) -> list[str]:
        for name in methods:
            if name not in METHODS:
                raise ValueError(unknown_method(name))
        return once_each(methods, "method")

    @model_validator(mode="before")
    @classmethod
    def _a_vector_is_one_patch(cls, values: Any) -> Any:
        """Give what one vector a slide means: one patch, and no pictures of where a model looks."""
        features = values.get("features") if isinstance(values, Mapping) else None
        if not isinstance(features, Mapping) or features.get("source") != VECTORS:
            return values
        meant: dict[str, dict[str, Any]] = {
            "patches": {"count": 1},
            "slides": {"min_tiles": 1},
            "heatmaps": {"methods": []},
        }
        given = {key: values[key] for key in meant if isinstance(values.get(key), Mapping)}
        return {**values, **{key: {**meant[key], **given.get(key, {})} for key in meant}}

    @model_validator(mode="after")
    def _vectors_have_methods(self) -> Config:
        if self.features.source != VECTORS:
            return self
        if self.patches.count != 1 or self.slides.min_tiles != 1 or self.heatmaps.methods:
            raise ValueError(
                "features.source: slide-vectors has one vector a slide, no patches: leave out patches.count, "
                "slides.min_tiles and heatmaps.methods"
            )
        if reading := [name for name in self.methods if "p" in METHODS[name].modalities and not METHODS[name].vector]:
            known = ", ".join(name for name, info in METHODS.items() if info.vector)
            raise ValueError(
                f"methods: {reading[0]} reads patches, and features.source: slide-vectors has one vector a slide; use "
                f"{known}, or methods that read genes alone"
            )
        return self

    @model_validator(mode="after")
    def _flags_need_pixels(self) -> Config:
        reading = (self.slides.exclude, self.slides.masks, self.slides.regions)
        if self.features.source != "extract" and any(reading):
            raise ValueError(
                "slides.exclude, slides.masks and slides.regions need the slides; remove them, or set features.source"
            )
        return self

    @model_validator(mode="after")
    def _epochs_belong_to_tasks(self) -> Config:
        unknown = [name for name in self.training.epochs if name not in self.tasks and name not in BUILTIN_TASKS]
        if unknown:
            raise ValueError(f"training.epochs names unknown tasks: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _clinical_columns_are_named(self) -> Config:
        reading = [name for name in self.methods if "c" in METHODS[name].modalities]
        if reading and not self.cohort.clinical:
            raise ValueError(
                f"methods: {reading[0]} reads the columns of cohort.clinical, which names none; name some there, such "
                "as [age, sex], or leave the method out"
            )
        outcomes = {name: task.columns for name, task in self.tasks.items() if task.kind == "survival"}
        for name, columns in outcomes.items():
            if found := [column for column in self.cohort.clinical if column in columns]:
                raise ValueError(f"cohort.clinical: {found[0]} is what task {name} predicts; leave it out")
        return self

    @model_validator(mode="after")
    def _reference_is_trained(self) -> Config:
        reference = self.results.reference
        # Of the default, which a copy of the demo's configuration states too, a warning tells.
        if reference not in self.methods and reference != Results().reference:
            raise ValueError(f"results.reference: {reference} is not one of methods; add it there")
        return self

    @model_validator(mode="after")
    def _heatmaps_are_of_trained_seeds(self) -> Config:
        for seed in self.heatmaps.seeds or ():
            if seed not in self.training.seeds:
                raise ValueError(f"heatmaps.seeds: {seed} is not one of training.seeds; add it there")
        return self

    @model_validator(mode="after")
    def _profiles_suit_the_genes(self) -> Config:
        external = self.splits.external
        if problem := unseen_problem(self.genes, self.cohort.expression, external):
            raise ValueError(problem)
        ranked = [source for source in self.cohort.expression if source.cohort not in external]
        scored = [source.cohort for source in ranked if source.unit == "zscore"]
        if scored and self.genes.rank in LOG_FLAVOURS:
            raise ValueError(
                f"genes.rank: {self.genes.rank} cannot rank the z-scores of cohort {scored[0]}; use pooled"
            )
        uncounted = [source for source in ranked if source.unit != "counts"]
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
        """Return the number of epochs of a task: its own, else ``training.epochs``, else that of its kind."""
        entry = self.tasks[task]
        return entry.epochs or self.training.epochs.get(task, EPOCHS_OF_KIND[entry.kind])

    def clinical_columns(self, task: str) -> list[str]:
        """Return the clinical columns that a baseline may read for a task: not those that its label is made of."""
        made_of = label_sources(self.tasks[task])
        return [column for column in self.cohort.clinical if column not in made_of]

    def expression_cohorts(self) -> list[str]:
        """Return the cohorts that have expression profiles."""
        return sorted(source.cohort for source in self.cohort.expression)

    def audited(self) -> list[str]:
        """Return the methods whose use of both modalities is audited."""
        both = [name for name in self.methods if METHODS[name].modalities == "pg"]
        return both if self.results.audit_samples else []

    def attributed(self) -> list[str]:
        """Return the methods whose outputs are explained by genes: those of them that are trained anyway."""
        return [name for name in self.results.attributions.methods if name in self.methods]

    def published(self) -> dict[str, Any]:
        """Return the paper's configuration, as it is recorded, where its values stand beside; nothing else."""
        beside = self.results.published == "paper"
        return Config.model_validate(read_yaml(resource("cohorts/glioma.yaml"))).record() if beside else {}

    def set_files(self) -> dict[str, str]:
        """Return the user's own files of gene sets, and of groups, by their key in the configuration."""
        sets = {"": self.genes.sets} if isinstance(self.genes.sets, str) else self.genes.sets
        files = {f"genes.sets{'.' if niche else ''}{niche}": file for niche, file in sets.items()}
        files["genes.groups"] = self.genes.groups
        return {key: file for key, file in files.items() if not is_builtin(file)}

    def caveats(self) -> list[str]:
        """Return what must be said wherever results are shown: the positive class, what test samples were used for."""
        said = [
            f"{task.shown(name).heading}: AUC, sensitivity, specificity, precision and F1 are about "
            f"{task.labels.get(positive, positive)}."
            for name, task in self.tasks.items()
            if (positive := task.positive_class)
        ]
        if self.genes.fit_on == "all":
            said.append("Genes were chosen and scaled on all samples, the test samples among them (genes.fit_on: all).")
        if self.genes.harmonise == "combat":
            said.append(
                "Expression was adjusted by ComBat on all samples, the test samples among them; this cannot be applied "
                "to a new patient (genes.harmonise: combat)."
            )
        if self.splits.external and self.genes.unseen == "own":
            cohorts = ", ".join(self.splits.external)
            said.append(
                f"Expression of the external cohorts ({cohorts}) was scaled by their own mean and sd, of their "
                "profiles without labels (genes.unseen: own)."
            )
        if any("c" in METHODS[method].modalities for method in self.methods):
            for name in self.tasks:
                if left_out := sorted(set(self.cohort.clinical) - set(self.clinical_columns(name))):
                    said.append(
                        f"For {name} the clinical baselines do not read {', '.join(left_out)}: the label is made of it "
                        "(cohort.clinical)."
                    )
        return said
