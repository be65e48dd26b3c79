"""The plan of a run: its folds and methods, and the settings and the code version that each stage depends on.

Made from the configuration and the two tables each time the Snakefile is parsed, so nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from ksfusion.cohort import config as cohort
from ksfusion.cohort.labels import label_column
from ksfusion.cohort.split_files import folds_of_file
from ksfusion.core.config_block import Block
from ksfusion.core.object_storage import ObjectStorage
from ksfusion.core.provenance import as_json, code_version
from ksfusion.demo.config import DrawDemoExpressionSettings, DrawDemoSlidesSettings
from ksfusion.genes.config import Ranking, ReadExpressionSettings
from ksfusion.methods.registry import METHODS
from ksfusion.methods.variants import compared_by_alpha, shows_alpha, trained_as
from ksfusion.preflight.inputs import checked_inputs
from ksfusion.preflight.named_files import DEMO_NOTICE, NamedFiles
from ksfusion.results import config as results
from ksfusion.results.attribution.config import AttributeGenesSettings
from ksfusion.slides import config as slides
from ksfusion.slides.encoders.names import modules_of_encoder
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.config import FitBaselineSettings, SearchSettings, TrainedTask, TrainModelSettings


@dataclass(frozen=True)
class Plan(NamedFiles):
    """What a run consists of; batches of slides and other named files are those of `NamedFiles`."""

    _codes: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    # What there is to do: batches of slides, folds, methods.

    @cached_property
    def folds(self) -> list[int]:
        """Numbers of the folds: 0 alone, but for cross-validation and a file with several."""
        splits = self.config.splits
        if splits.scheme == "kfold":
            return list(range(splits.k))
        if splits.file is None:
            return [0]
        return folds_of_file(splits, self.tables.samples)

    @property
    def alpha_listed(self) -> bool:
        """Whether the configuration names variants with another alpha."""
        return shows_alpha(self.config.methods)

    @property
    def alphas(self) -> list[str]:
        """Methods whose results are compared by alpha: those that the configuration names, else all variants."""
        return compared_by_alpha(self.config.methods)

    def trained(self, methods: Iterable[str]) -> list[str]:
        """Return the methods whose runs the results of ``methods`` need: equal variants share those of one."""
        return list(dict.fromkeys(self._trained_as(method) for method in methods))

    def _trained_as(self, method: str) -> str:
        training = self.config.training
        searched = training.search is not None
        return trained_as(method, self.config.methods, alpha=training.alpha, searched=searched)

    def _shared(self, methods: Iterable[str]) -> dict[str, str]:
        """Return the methods that share the runs of another, equal method, each with the name of that."""
        return {name: base for name in methods if (base := self._trained_as(name)) != name}

    # What each stage depends on: its settings and its code.

    @cached_property
    def _settings(self) -> dict[str, Block]:
        config = self.config
        tasks = config.tasks.items()
        first, labelled = next(iter(tasks))  # by whose label splits are stratified
        reading = slides.Reading.of(config.slides)
        said = {"title": config.title, "caveats": config.caveats()}
        compared: dict[str, Any] = {"tasks": [task.shown(name).model_dump() for name, task in tasks], **said}
        recorded = {"config": config.record(), **said}
        drawn = results.DrawTasksSettings(tasks=compared["tasks"], title=config.title)
        of_runs = {"tasks": compared["tasks"], "methods": config.methods, "shared": self._shared(config.methods)}
        by_alpha = {**compared, "methods": self.alphas, "shared": self._shared(self.alphas)}
        all_but_alphas = [name for name in config.methods if METHODS[name].alpha is None]
        settings: dict[str, Block] = {
            "check_cohort": cohort.CheckCohortSettings(
                cohort=cohort.CohortFiles.of(config.cohort),
                expression_cohorts=config.expression_cohorts(),
                external=config.splits.external,
                tasks={name: cohort.Labelling.of(task) for name, task in tasks},
            ),
            "split_cases": cohort.SplitCasesSettings(splits=config.splits, stratify=label_column(first, labelled.kind)),
            "check_leakage": cohort.CheckLeakageSettings.of(config.cohort),
            "write_ledger": cohort.WriteLedgerSettings.of(
                config.cohort, tasks={name: task.kind for name, task in tasks}
            ),
            "tile_slides": slides.TileSlidesSettings(
                slides=slides.Tiling.of(config.slides, batches=self.study.batches)
            ),
            "fit_stain": slides.FitStainSettings(slides=reading, stain=config.stain),
            "sample_patches": slides.SamplePatchesSettings.of(config.slides, patches=config.patches),
            "draw_overviews": slides.DrawOverviewsSettings.of(config.slides, slides=reading),
            "extract_features": slides.ExtractFeaturesSettings(
                slides=reading, stain=config.stain, features=slides.Encoding.of(config.features)
            ),
            "import_features": slides.ImportFeaturesSettings.of(
                config.slides, features=slides.FeatureFiles.of(config.features)
            ),
            "read_regions": slides.ReadRegionsSettings.of(config.slides),
            "check_tiles": slides.CheckTilesSettings.of(config.slides),
            "build_store": slides.BuildStoreSettings.of(config.slides),
            "read_expression": ReadExpressionSettings(
                sources=config.cohort.expression, external=config.splits.external, names=self.gene_sets_version
            ),
            **dict.fromkeys(("select_genes", "check_expression"), config.genes),
            "draw_genes": Ranking.of(config.genes),
            "make_comparisons": results.MakeComparisonsSettings.of(config.results, **of_runs),
            "make_subgroups": results.MakeSubgroupsSettings.of(config.results, **of_runs),
            "audit_modalities": results.AuditModalitiesSettings.of(config.results),
            "attribute_genes": AttributeGenesSettings.of(config.results.attributions),
            **dict.fromkeys(("draw_attributions", "draw_embeddings"), drawn),
            "make_modalities": results.MakeModalitiesSettings.of(
                config.results, **compared, methods=config.audited(), shared=self._shared(config.audited())
            ),
            "make_tables": results.MakeTablesSettings.of(
                config.results, **compared, methods=config.methods, names=["table1", "table2", "table_s1"]
            ),
            "make_reproduction": results.MakeReproductionSettings(**recorded, paper=config.published()),
            "draw_figures": results.DrawFiguresSettings.of(config.results, **compared, methods=all_but_alphas),
            "make_alpha_table": results.MakeTablesSettings.of(config.results, **by_alpha, names=["alpha"]),
            "draw_alpha": results.DrawFiguresSettings.of(config.results, **by_alpha, only_alpha=True),
            "draw_heatmaps": results.DrawHeatmapsSettings.of(
                config.heatmaps,
                slides=reading if self.extracts and not self.stored else None,
                printing={name: results.Printing.of(task) for name, task in tasks},
            ),
            "write_report": results.WriteReportSettings.of(
                config.results,
                **recorded,
                tasks=compared["tasks"],
                notice=DEMO_NOTICE if config.demo else None,
                alpha=self.alpha_listed,
            ),
            **dict.fromkeys(
                ("locate_attention", "make_localisation"), results.LocateAttentionSettings.of(config.results)
            ),
            "score_oracles": results.ScoreOraclesSettings.of(config.results, tasks=compared["tasks"]),
            "draw_demo_slides": DrawDemoSlidesSettings(slides=self.demo_slides()),
            "draw_demo_expression": DrawDemoExpressionSettings(profiles=self.demo_profiles()),
        }
        if not self.extracts:  # else no folder of features is named
            settings["import_tiles"] = slides.ImportTilesSettings.of(
                config.slides, config.features, batches=self.study.batches
            )
        return settings

    def stage_settings(self, stage: str) -> Block:
        """Return the settings of a stage; raise KeyError where it is not part of the plan."""
        return self._settings[stage]

    def settings(self, stage: str) -> str:
        """Return the settings that a stage's output depends on, as one JSON string."""
        return self._settings[stage].as_json()

    def training_settings(self, task: str, method: str) -> str:
        """Return the settings of a run, as JSON: its task, and what of ``training`` the method reads."""
        return self._run(task, method).as_json()

    def search_settings(self, task: str, method: str) -> str:
        """Return the settings of a search, as JSON; empty where nothing is searched."""
        searched = SearchSettings.of_run(self._run(task, method), self.config.training)
        return searched.as_json() if searched else ""

    def baseline_settings(self, method: str) -> list[str]:
        """Return the settings of a baseline for each task, as JSON; clinical columns where it reads them."""
        columns = self.config.clinical_columns if "c" in METHODS[method].modalities else lambda task: []
        tasks = [TaskOutcome.of(task, name=name) for name, task in self.config.tasks.items()]
        held_out = {"calibration_fraction": self.config.training.calibration_fraction or None}
        return [FitBaselineSettings(task=task, clinical=columns(task.name), **held_out).as_json() for task in tasks]

    def _run(self, task: str, method: str) -> TrainModelSettings:
        trained = TrainedTask.of(self.config.tasks[task], name=task, epochs=self.config.epochs(task))
        return TrainModelSettings.of_task(trained, self.config.training, METHODS[method])

    def code(self, stage: str, method: str | None = None) -> str:
        """Return the version of the code of a stage (and of the method it trains)."""
        modules = (f"ksfusion.stages.{stage}", *([METHODS[method].module] if method else []))
        modules += modules_of_encoder(self.config.features.encoder) if stage == "extract_features" else ()
        if modules not in self._codes:
            self._codes[modules] = code_version(*modules)
        return self._codes[modules]

    # The files of stages that depend on the plan.

    def slide_identities(self, batch: str) -> str:
        """Return, as JSON, id, path, mpp and file size (of a demo slide the code version) of a batch's slides."""
        identities = []
        for row in self.batches[batch]:
            made = self.code("draw_demo_slides") if self.is_drawn(row) else self.slide_size(row["slide"])
            identities.append([row["slide_id"], row["slide"], row["mpp"], made])
        return as_json(identities)

    def heatmaps(self) -> list[str]:
        """Return the paths of the tables that list the pictures of attention, one for each run."""
        return self._heatmaps(self.config.heatmaps.methods)

    def heatmaps_shown(self) -> list[str]:
        """Return those of methods that are trained anyway; the report shows them."""
        return self._heatmaps([name for name in self.config.heatmaps.methods if name in self.config.methods])

    def _heatmaps(self, methods: Iterable[str]) -> list[str]:
        seeds = self.config.heatmaps.seeds or self.config.training.seeds[:1]
        runs = product(self.config.tasks, self.trained(methods), self.folds, seeds)
        return ["results/heatmaps/{}/{}/fold{}/seed{}/heatmaps.tsv".format(*run) for run in runs]


def make_plan(
    values: Mapping[str, Any],
    *,
    source: str,
    files: Iterable[str | Path] = (),
    started_in: Path | None = None,
    storage: ObjectStorage | None = None,
) -> Plan:
    """Validate a configuration and its tables, and plan the run.

    Parameters
    ----------
    values
        Configuration, as Snakemake merged it from files and command line.
    source
        Name of the configuration in messages.
    files
        Files it comes from, read again to refuse keys that stand twice, of which YAML drops the first. Relative paths
        in it start at the folders of these files, else at ``started_in``, else at the working directory.
    started_in
        Folder in which the command was given; the working directory is the study's folder.
    storage
        The object storage in which the study is.

    Raises
    ------
    UserError
        With a line for each problem of configuration and tables, or if the results here are another study's.
    """
    found = checked_inputs(values, source=source, files=files, started_in=started_in, storage=storage)
    plan = Plan(*found, stored_in=storage.prefix if storage else "")
    plan.check_precomputed(source)
    plan.folds  # noqa: B018  (reads the user's own split, whose mistakes stop the run here)
    return plan
