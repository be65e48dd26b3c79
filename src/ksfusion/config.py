"""The configuration: the blocks of its domains, put together, and what must hold between them.

A key, its type, its default (the paper's) and its description stand in the ``config.py`` of the domain that reads it.
The tables a configuration names are described in `ksfusion.cohort.samples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from ksfusion.cohort.config import CheckLeakageSettings, Clinical, CohortFiles, Labelling, Pairing, Splits
from ksfusion.cohort.needs import label_sources
from ksfusion.core.config_block import PATH, AnyPath, Name
from ksfusion.core.config_problems import problem_lines
from ksfusion.core.errors import UserError
from ksfusion.core.near_names import did_you_mean
from ksfusion.core.paths import find_path, located
from ksfusion.core.resources import resource
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.genes.config import ExpressionSource, Genes, unseen_problem
from ksfusion.methods.registry import METHODS, SHIPPED, unknown_method, use_methods
from ksfusion.results.config import ALL, AuditedResults, ClassScoring, Heatmaps, Printing, Results, ShownTask, Titles
from ksfusion.slides.config import Features, Patches, Slides, Stain
from ksfusion.slides.reading.slide_files import VECTORS
from ksfusion.terms.gene_sets import is_builtin
from ksfusion.terms.rankings import COUNT_FLAVOURS, LOG_FLAVOURS
from ksfusion.terms.tasks import SurvivalModel
from ksfusion.training.config import Epochs, Training


class Cohort(Clinical, CheckLeakageSettings, Pairing, CohortFiles):
    """Who is in the study."""

    expression: list[ExpressionSource] = Field(
        min_length=1, description="where each cohort's profiles are, their layout and their unit"
    )

    @field_validator("expression")
    @classmethod
    def _one_source_per_cohort(cls, sources: list[ExpressionSource]) -> list[ExpressionSource]:
        names = [source.cohort for source in sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"cohort {name} is listed twice")
            if name == ALL:
                raise ValueError(f"a cohort cannot be called {name}: the tables call all of them so; rename it")
        return sources


class Task(Labelling, ClassScoring, Printing):
    """What is predicted, how that is scored and called in print, and how long models are trained for it."""

    survival: SurvivalModel | None = Field(None, description="of survival: its intervals, loss and cuts")
    epochs: Epochs | None = Field(None, description="of this task; else training.epochs, else 20 (10 for survival)")

    @model_validator(mode="after")
    def _labels_are_of_classes(self) -> Task:
        if unknown := [value for value in self.labels if value not in self.classes]:
            raise ValueError(f"labels: {unknown[0]!r} is not among the classes ({', '.join(self.classes)})")
        printed = [self.labels.get(name, name) for name in self.classes]
        if len(set(printed)) < len(printed):
            raise ValueError("labels: two classes would be called the same")
        return self

    @model_validator(mode="after")
    def _one_of_two_classes_counts(self) -> Task:
        if self.ordered and not self.classes:
            raise ValueError("ordered is for classification; remove it")
        if self.survival and self.kind != "survival":
            raise ValueError("survival is for tasks of kind survival; remove it")
        if self.positive is not None and len(self.classes) != 2:
            raise ValueError("positive is for two classes; remove it")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive: {self.positive!r} is not among the classes ({', '.join(self.classes)})")
        return self

    @property
    def positive_class(self) -> str | None:
        """The class that counts: of two the one named, else the second; None of more."""
        return self.positive or self.classes[1] if len(self.classes) == 2 else None

    def shown(self, name: str) -> ShownTask:
        """Return what results know of the task.

        Parameters
        ----------
        name
            Name of the task.
        """
        return ShownTask.of(self, name=name, positive=self.positive_class)


# Diagnosis is derived (ksfusion.cohort.labels); its class order is the paper's numbering.
BUILTIN_TASKS = {
    "diagnosis": Task(
        kind="classification",
        column="diagnosis",
        classes=["glioblastoma", "astrocytoma_g4", "astrocytoma", "oligodendroglioma"],
    ),
    "grading": Task(kind="classification", column="grade", classes=["G2", "G3", "G4"], ordered=True),
    "survival": Task(kind="survival", time="survival_days", event="event"),
}
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
# Of a task that names none, by its kind.
EPOCHS_OF_KIND = {"classification": 20, "survival": 10, "regression": 20}


def _tasks_by_name_too(schema: dict[str, Any]) -> None:
    """Let the JSON schema of ``tasks`` take the names of built-in tasks, and those with a change, beside a mapping."""
    mapping = {key: schema.pop(key) for key in list(schema) if key not in ("description", "title", "default")}
    mapping["properties"] = {name: {"type": ["object", "null"]} for name in BUILTIN_TASKS}
    names = {"type": "array", "items": {"anyOf": [{"enum": list(BUILTIN_TASKS)}, mapping]}, "minItems": 1}
    schema["anyOf"] = [names, mapping]


def _by_name(tasks: list[Any]) -> dict[Any, Any]:
    """Return a list of tasks, names of built-in ones and mappings of names to tasks, as one mapping."""
    found: dict[Any, Any] = {}
    for task in tasks:
        entries = task if isinstance(task, Mapping) else {task: None} if isinstance(task, str) else None
        if entries is None:
            raise ValueError(f"{task!r} is neither the name of a built-in task nor a mapping of a name to a task")
        if twice := [name for name in entries if name in found]:
            raise ValueError(f"{twice[0]} is listed twice")
        found |= entries
    return found


def _recipe(name: Any, task: Any) -> Any:
    """Return the task of a name: a built-in one, with what is changed of it, where its kind is not said."""
    if not (task is None or isinstance(task, Mapping)) or (task and "kind" in task):
        return task
    if name in BUILTIN_TASKS:
        return BUILTIN_TASKS[name].model_dump(exclude_unset=True) | dict(task or {})
    if task:
        return task
    known = f"{', '.join(BUILTIN_TASKS)}{did_you_mean(name, BUILTIN_TASKS)}"
    raise ValueError(
        f"{name!r} is not a built-in task ({known}); define it, such as "
        f"{name}: {{kind: classification, column: COLUMN, classes: [ONE, OTHER]}}"
    )


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
        json_schema_extra=_tasks_by_name_too,
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
            tasks = _by_name(tasks)
        return {name: _recipe(name, task) for name, task in tasks.items()} if isinstance(tasks, Mapping) else tasks

    @field_validator("methods")
    @classmethod
    def _known_methods(cls, methods: list[str]) -> list[str]:
        for name in methods:
            if name not in METHODS:
                raise ValueError(unknown_method(name))
        if len(set(methods)) < len(methods):
            raise ValueError("a method is listed twice")
        return methods

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
        """Return what must be said wherever results are shown: which class counts, what test samples were used for."""
        said = [
            f"{task.shown(name).heading}: AUC, sensitivity, specificity, precision and F1 are about "
            f"{task.labels.get(counts, counts)}."
            for name, task in self.tasks.items()
            if (counts := task.positive_class)
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


def parse_config(
    values: Mapping[str, Any], *, source: str = "the configuration", folders: Sequence[Path] = ()
) -> Config:
    """Validate a configuration; the methods of the user's files that it names are known from then on.

    Parameters
    ----------
    values
        The mapping as read from YAML.
    source
        Name of the configuration in messages: that of its file.
    folders
        Folders in which the paths of files with methods may start.

    Raises
    ------
    UserError
        With one line for each problem: the key, what is wrong, and what it was given.
    """
    # Snakemake takes braces for wildcards, wherever they stand.
    if braces := [text for text in _texts(values) if "{" in text or "}" in text]:
        raise UserError("\n".join(f"{source}: {text!r} has a brace in it; rename it" for text in braces))
    _use_own_methods(values, source, folders)
    try:
        return Config.model_validate(_with_nulls(values))
    except ValidationError as error:
        raise UserError("\n".join(problem_lines(error, Config, source))) from None


def located_config(
    values: Mapping[str, Any], *, source: str, files: Iterable[str | Path], folders: Sequence[Path]
) -> Config:
    """Validate a configuration, and bring its paths to the working directory.

    Parameters
    ----------
    values, source
        See `parse_config`.
    files
        The files that it comes from, read again: of two keys of one name YAML drops the first. Relative paths start at
        their folders.
    folders
        Further folders in which they may start.

    Raises
    ------
    UserError
        With one line for each problem.
    """
    read = [Path(file) for file in files]
    for file in read:
        read_yaml(file)
    places = [*(file.resolve().parent for file in read), *folders]
    return located(parse_config(values, source=source, folders=places), places)


def _use_own_methods(values: Mapping[str, Any], source: str, folders: Sequence[Path]) -> None:
    """Let the methods of the user's files be known: before the names of methods are checked."""
    named = values.get("methods_from") or []
    # That it must be a list is told with the other keys, not that its methods are unknown.
    named = [named] if isinstance(named, str) else named
    files = named if isinstance(named, list) and all(isinstance(file, str) and file for file in named) else []
    try:
        use_methods(find_path(file, folders) for file in files)
    except UserError as error:
        raise UserError("\n".join(f"{source}: methods_from: {line}" for line in str(error).splitlines())) from None


def _with_nulls(value: Any) -> Any:
    """Return settings with None for the text null: what ``--config`` of Snakemake has in braces is text."""
    if isinstance(value, Mapping):
        return {key: _with_nulls(item) for key, item in value.items()}
    return None if value == "null" else value


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
    return parse_config(values, source=str(path), folders=[path.resolve().parent, Path.cwd()])
