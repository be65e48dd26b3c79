"""The plan of a run: which slides stand in which batch, which settings and which code each stage depends on.

Made from the configuration and the two tables each time the Snakefile is parsed, so nothing heavy is imported.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ksfusion.batches import batch_of
from ksfusion.cohort.labels import label_column
from ksfusion.cohort.samples import CohortTables, Row, read_cohort
from ksfusion.cohort.split_files import read_split_file, split_files
from ksfusion.config import Config, parse_config
from ksfusion.config_files import file_problems, is_drawn
from ksfusion.errors import UserError
from ksfusion.genes.sources import GDC_STAR, folder_digest, source_files
from ksfusion.methods.registry import METHODS
from ksfusion.niches import NICHES
from ksfusion.provenance import PACKAGE_ROOT, as_json, code_version
from ksfusion.resources import resource
from ksfusion.slides.sources import file_size, is_readable, precomputed_file
from ksfusion.strict_yaml import read_yaml

# The modules whose code a stage's output depends on; what they import in the package counts too.
STAGES = {
    "check": "ksfusion.cohort.audit",
    "split": "ksfusion.cohort.splits",
    "gate": "ksfusion.cohort.leakage",
    "tile": "ksfusion.slides.tiling",
    "stain": "ksfusion.slides.stain",
    "sample": "ksfusion.slides.sampling",
    "overviews": "ksfusion.slides.overview",
    "features": "ksfusion.slides.features",
    "import-tiles": "ksfusion.slides.precomputed",
    "import-features": "ksfusion.slides.precomputed",
    "store": "ksfusion.slides.store",
    "profiles": "ksfusion.genes.expression",
    "ledger": "ksfusion.cohort.ledger",
    "genes": "ksfusion.genes.selection",
    "search": "ksfusion.training.search",
    "train": "ksfusion.training.loop",
    "tables": "ksfusion.results.tables",
    "figures": "ksfusion.results.figures",
    "gene-figure": "ksfusion.results.plots_of_genes",
    "heatmaps": "ksfusion.results.heatmaps",
    "report": "ksfusion.results.report",
    "demo-slides": "ksfusion.demo.draw",
    "demo-expression": "ksfusion.demo.profiles",
}
# What `snakemake alpha` trains, unless `methods` names variants with another alpha.
ALPHA_SWEEP = [f"ksfusion-alpha{percent:03d}" for percent in (0, 25, 50, 75, 100)]
# The part of `training` that every method reads.
COMMON_TRAINING = ("batch_size", "lr", "weight_decay", "dropout", "weight_by")
READING = ("reader", "icc", "mpp", "patch_px", "max_upsampling", "timeout")
TILING = (*READING, "min_tissue", "min_tiles", "batches")
ENCODING = ("encoder", "weights", "batch_size", "precision", "compile")
DEMO_SLIDES = "demo/slides"


@dataclass(frozen=True)
class Plan:
    """What a run consists of."""

    config: Config
    tables: CohortTables
    _codes: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    @cached_property
    def batches(self) -> dict[str, list[Row]]:
        """One row for each slide, by batch; batches without a slide are left out."""
        batches = defaultdict(list)
        for slide_id, row in self.tables.slides().items():
            batches[str(batch_of(slide_id, self.config.slides.batches))].append(row)
        return dict(sorted(batches.items(), key=lambda item: int(item[0])))

    @cached_property
    def folds(self) -> list[int]:
        """The folds: 0 alone for a split into one part each."""
        splits = self.config.splits
        if splits.scheme == "kfold":
            return list(range(splits.k))
        if splits.scheme != "file":
            return [0]
        case_of_slide = {row["slide_id"]: row["case_id"] for row in self.tables.samples}
        cases = {row["case_id"] for row in self.tables.samples}
        return sorted({entry.fold for entry in read_split_file(splits.file, cases, case_of_slide)})

    def split_files(self) -> list[str]:
        """Return the files of the user's own split."""
        path = self.config.splits.file
        return [str(file) for file in split_files(path)] if path else []

    def stratum_label(self) -> str:
        """Return the column of cases whose values are kept in proportion: the label of the first task."""
        name, task = next(iter(self.config.tasks.items()))
        return label_column(name, task.kind)

    def drawn(self, row: Row) -> bool:
        """Say whether a slide is one that the demo draws."""
        return self.config.demo and Path(row["slide"]).parent.as_posix() == DEMO_SLIDES

    def demo_slides(self) -> list[str]:
        """Return the ids of the slides that the demo draws."""
        return [row["slide_id"] for row in self.tables.slides().values() if self.drawn(row)]

    def demo_profiles(self) -> list[str]:
        """Return the ids of the profiles that the demo draws."""
        return sorted({row["expression_id"] for row in self.tables.samples if row["expression_id"]})

    def raw_slides(self, batch: str) -> list[str]:
        """Return the slides of a batch that are there; the others become rows of the ledger."""
        return [row["slide"] for row in self.batches[batch] if not self.drawn(row) and is_readable(row["slide"])]

    def warnings(self) -> list[str]:
        """Return a line on slide files that are not there or empty: one wrong folder loses them all."""
        if self.config.features.source != "extract":
            return []
        own = [row for row in self.tables.slides().values() if not self.drawn(row) and "://" not in row["slide"]]
        lost = [row["slide"] for row in own if not file_size(row["slide"])]
        if not lost:
            return []
        table = self.config.cohort.samples
        line = f"{table}: {len(lost)} of {len(own)} slide files are missing or empty, such as {lost[0]}"
        if len(lost) > self.config.slides.max_failed_fraction * len(own):
            return [f"{line}: more than slides.max_failed_fraction, the run will stop; check the folder they are in"]
        return [f"{line}; their samples will be left out"]

    def drawn_slides(self, batch: str) -> list[str]:
        """Return the slides of a batch that the demo draws."""
        return [row["slide"] for row in self.batches[batch] if self.drawn(row)]

    @cached_property
    def _mask_names(self) -> set[str]:
        folder = self.config.slides.masks
        return {path.name for path in Path(folder).iterdir()} if folder else set()

    def masks(self, batch: str) -> list[str]:
        """Return the masks of tissue that the user gives for slides of a batch: GeoJSON, else PNG.

        An input of the job rather than a setting, so that a mask that is added or edited redoes its batch alone.
        """
        candidates = ([row["slide_id"] + ending for ending in (".geojson", ".png")] for row in self.batches[batch])
        found = (next((name for name in names if name in self._mask_names), None) for names in candidates)
        return [str(Path(self.config.slides.masks, name)) for name in found if name]

    def slide_identities(self, batch: str) -> str:
        """Return what identifies the slides of a batch: id, path, scale given, and size (or the code that draws it)."""
        identities = []
        for row in self.batches[batch]:
            made = self.code("demo-slides") if self.drawn(row) else file_size(row["slide"])
            identities.append([row["slide_id"], row["slide"], row["mpp"], made])
        return as_json(identities)

    def precomputed(self, batch: str) -> list[str]:
        """Return the files of precomputed features of a batch that are there; the others become rows of the ledger."""
        folder = self.config.features.path
        files = [precomputed_file(folder, row["slide_id"]) for row in self.batches[batch]]
        return [str(file) for file in files if is_readable(file)]

    def slide_scales(self, batch: str) -> str:
        """Return what is told of the slides of a batch whose files are not read: id and scale."""
        return as_json([[row["slide_id"], row["mpp"]] for row in self.batches[batch]])

    def stain_tables(self) -> list[str]:
        """Return the tables of the fitted stains: none where the slides themselves are not read."""
        read = self.config.features.source == "extract"
        return [f"results/stain/{batch}.parquet" for batch in self.batches] if read else []

    def code(self, stage: str, method: str | None = None) -> str:
        """Return the version of the code of a stage (and of the method it trains)."""
        modules = (STAGES[stage], METHODS[method].module) if method else (STAGES[stage],)
        if modules not in self._codes:
            self._codes[modules] = code_version(*modules)
        return self._codes[modules]

    @cached_property
    def _settings(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        tasks, slides, caveats = config["tasks"], config["slides"], self.config.genes.caveats()
        cohort = dict(config["cohort"])
        allow_duplicates, pairing = cohort.pop("allow_duplicates"), cohort.pop("pairing")
        reading = {key: slides[key] for key in READING}
        # Training alone reads the number of epochs; the labels are what everything else depends on.
        labels = {name: {key: value for key, value in task.items() if key != "epochs"} for name, task in tasks.items()}
        about_tasks = [{"name": name, "kind": task["kind"], "classes": task["classes"]} for name, task in tasks.items()]
        about_results = {"tasks": about_tasks, "caveats": caveats}
        trained_as = {name: self.trained_as(name) for name in self.alphas}
        shared = {name: base for name, base in trained_as.items() if name != base}
        of_alpha = {"methods": self.alphas, "shared": shared}
        return {
            "check": {"cohort": cohort, "tasks": labels},
            "split": {"splits": config["splits"], "stratify": self.stratum_label()},
            "tile": {"slides": {key: slides[key] for key in TILING}},
            "stain": {"slides": reading, "stain": config["stain"]},
            "sample": {"patches": config["patches"], "exclude": slides["exclude"], "min_tiles": slides["min_tiles"]},
            "overviews": {"slides": reading},
            "features": {
                "slides": reading,
                "stain": config["stain"],
                "features": {key: config["features"][key] for key in ENCODING},
            },
            "import-tiles": {
                "batches": slides["batches"],
                "path": config["features"]["path"],
                "min_tiles": slides["min_tiles"],
                "timeout": slides["timeout"],
            },
            "import-features": {
                "features": {key: config["features"][key] for key in ("source", "path")},
                "timeout": slides["timeout"],
            },
            "gate": {"allow_duplicates": allow_duplicates},
            "profiles": {"expression": cohort["expression"]},
            "ledger": {"pairing": pairing, "tasks": {name: task["kind"] for name, task in tasks.items()}},
            "store": {"max_failed_fraction": slides["max_failed_fraction"]},
            "genes": config["genes"],
            "gene-figure": {key: config["genes"][key] for key in ("rank", "top_fraction")},
            "tables": {**about_results, "methods": config["methods"], "names": ["table1", "table2"]},
            "figures": {**about_results, "methods": [name for name in config["methods"] if not _is_alpha(name)]},
            "alpha-table": {**about_results, **of_alpha, "names": ["alpha"]},
            "alpha-figures": {**about_results, **of_alpha, "only_alpha": True},
            "heatmaps": {
                "samples": config["heatmaps"]["samples"],
                "slides": reading if config["features"]["source"] == "extract" else None,
            },
            "report": {
                "config": config,
                "notice": DEMO_NOTICE if self.config.demo else None,
                "caveats": caveats,
                "alpha": self.alpha_listed,
            },
            "demo-slides": {"slides": self.demo_slides()},
            "demo-expression": {"profiles": self.demo_profiles()},
        }

    @property
    def alpha_listed(self) -> bool:
        """Say whether the methods of the configuration have variants with another alpha."""
        return any(_is_alpha(name) for name in self.config.methods)

    @property
    def alphas(self) -> list[str]:
        """Return the methods whose results are compared by alpha: those of the configuration, else the sweep."""
        if not self.alpha_listed:
            return ALPHA_SWEEP
        return [name for name in self.config.methods if name == "ksfusion" or _is_alpha(name)]

    def trained_as(self, method: str) -> str:
        """Return the method whose runs a method's results come from: itself, or its base where both are one.

        A variant that fixes nothing but what ``training`` says, such as ``ksfusion-alpha050`` where alpha is 0.5, would
        repeat the runs of its base. Where settings are searched it would not: alpha is then chosen for the base, for
        each fold anew, and the rest along with it.
        """
        info, training = METHODS[method], self.config.training
        same = all(getattr(training, key, None) == value for key, value in info.options.items())
        return info.base if same and not training.search and info.base in self.config.methods else method

    def trained(self, methods: Iterable[str]) -> list[str]:
        """Return the methods that are trained for the results of methods, each once."""
        return list(dict.fromkeys(map(self.trained_as, methods)))

    def settings(self, stage: str) -> str:
        """Return the settings that a stage's output depends on, as one JSON string."""
        return as_json(self._settings[stage])

    def training_settings(self, task: str, method: str) -> str:
        """Return the settings of one run: its task, and what of ``training`` the method reads."""
        return as_json(self._training(task, method))

    @property
    def tensorboard_option(self) -> str:
        """Return what makes ``ksfusion train`` write event files, where they are asked for.

        No setting of the run: to watch a training changes nothing in its result.
        """
        return "--tensorboard" if self.config.training.tensorboard else ""

    def search_settings(self, task: str, method: str) -> str:
        """Return the settings of a search: those of a run, and the ranges of what the method reads."""
        training = self.config.training
        if training.search is None:
            return ""
        space = training.search.model_dump(mode="json")
        trials = space.pop("trials")
        space = {key: limits for key, limits in space.items() if key in self._training_keys(method)}
        return as_json({**self._training(task, method), "space": space, "trials": trials, "seed": training.seeds[0]})

    def chosen_settings(self) -> list[str]:
        """Return the file of the settings that a search has chosen for a run, where searching is on."""
        return ["results/search/{task}/{method}/fold{fold}/chosen.json"] if self.config.training.search else []

    def _training_keys(self, method: str) -> set[str]:
        return {*COMMON_TRAINING, *METHODS[method].settings}

    def _training(self, task: str, method: str) -> dict[str, Any]:
        entry = self.config.tasks[task]
        about = {"name": task, "kind": entry.kind, "classes": entry.classes, "epochs": self.config.epochs(task)}
        training = self.config.training.model_dump(mode="json", include=self._training_keys(method))
        return {"task": about, "training": training}

    def expression_files(self) -> list[str]:
        """Return the sources of expression, in the order of the configuration."""
        files = []
        for source in self.config.cohort.expression:
            drawn = is_drawn(source.path, self.config)
            files += [source.path] if drawn else source_files(source.path, format=source.format)
            files += [source.sample_sheet] if source.sample_sheet else []
        return files

    def expression_contents(self) -> str:
        """Return what tells one state of the folders of gene counts from another: they are inputs, their files not."""
        sources = self.config.cohort.expression
        own = [entry.path for entry in sources if entry.format == GDC_STAR and not is_drawn(entry.path, self.config)]
        return as_json({path: folder_digest(path) for path in own})

    def stain_target(self) -> list[str]:
        """Return the file of the stain target."""
        target = self.config.stain.target
        return [_relative(resource("stain_target.json")) if target == "builtin" else target]

    def encoder_weights(self) -> list[str]:
        """Return the local weight file of the encoder, where one is given."""
        weights = self.config.features.weights
        return [weights] if weights else []

    def overviews(self) -> list[str]:
        """Return the lists of the slides' pictures; none where no slide is read."""
        read = self.config.features.source == "extract"
        return [f"results/slides/{batch}.tsv" for batch in self.batches] if read else []

    def heatmaps(self) -> list[str]:
        """Return the lists of the pictures of attention."""
        return self._heatmaps(self.config.heatmaps.methods)

    def heatmaps_shown(self) -> list[str]:
        """Return those of methods that are trained anyway, which the report shows."""
        return self._heatmaps([name for name in self.config.heatmaps.methods if name in self.config.methods])

    def _heatmaps(self, methods: Iterable[str]) -> list[str]:
        seeds = self.config.heatmaps.seeds or self.config.training.seeds[:1]
        return [
            f"results/heatmaps/{task}/{method}/fold{fold}/seed{seed}/heatmaps.tsv"
            for task in self.config.tasks
            for method in self.trained(methods)
            for fold in self.folds
            for seed in seeds
        ]

    def paper_tables(self) -> str:
        """Return the file of the paper's own results."""
        return _relative(resource("paper_tables.tsv"))

    def report_template(self) -> str:
        """Return the file of the report's page."""
        return _relative(PACKAGE_ROOT / "results" / "report.html.j2")

    def gene_names(self) -> list[str]:
        """Return the shipped files that bring gene names to symbols."""
        return [_relative(resource(f"gene_sets/{name}.tsv")) for name in ("aliases", "tumour", "tme")]

    def gene_sets(self) -> list[str]:
        """Return the files of the gene sets."""
        sets = self.config.genes.sets
        shipped = {niche: _relative(resource(f"gene_sets/{niche}.tsv")) for niche in NICHES}
        if isinstance(sets, str):
            return list(shipped.values()) if sets == "builtin" else [sets]
        own = {niche: file for niche, file in sets.items() if file != "builtin"}
        return list({**shipped, **own}.values())


DEMO_NOTICE = (
    "This is the demo cohort: synthetic slides and expression with a planted signal, encoded by a seeded network that "
    "was never trained. Its numbers show that the pipeline works; they say nothing about glioma."
)


def _is_alpha(method: str) -> bool:
    return method.startswith("ksfusion-alpha")


def _relative(path: Path) -> str:
    """Return a shipped file relative to the working directory where it is in it, so that a moved project is current."""
    path = path.resolve()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def make_plan(values: Mapping[str, Any], *, source: str, files: Iterable[str | Path] = ()) -> Plan:
    """Validate a configuration and its tables, and plan the run.

    Parameters
    ----------
    values
        The configuration, as Snakemake merged it from files and command line.
    source
        What to call it in messages.
    files
        The files it comes from, read again for keys that stand twice: of two blocks of one name YAML drops the first.

    Raises
    ------
    UserError
        With one line for each problem of the configuration, or of the tables.
    """
    for file in files:
        read_yaml(Path(file))
    config = parse_config(values, source=source)
    problems = file_problems(config, source)
    try:
        tables = read_cohort(config.cohort, config.tasks)
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    plan = Plan(config, tables)
    if config.features.source == "precomputed" and plan.batches and not any(map(plan.precomputed, plan.batches)):
        expected = precomputed_file(config.features.path, next(iter(tables.slides())))
        raise UserError(f"{source}: features.path: no slide has its file there, such as {expected}; correct the path")
    plan.folds  # noqa: B018  (reads the user's own split, whose mistakes stop the run here)
    return plan
