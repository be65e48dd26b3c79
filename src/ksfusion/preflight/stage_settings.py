"""The settings that each stage's output depends on, and which runs equal methods share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ksfusion.cohort import config as cohort
from ksfusion.cohort.labels import label_column
from ksfusion.core.config_block import Block
from ksfusion.demo.config import DrawDemoExpressionSettings, DrawDemoSlidesSettings
from ksfusion.genes.config import Ranking, ReadExpressionSettings
from ksfusion.methods.registry import METHODS
from ksfusion.methods.variants import compared_by_alpha, shows_alpha, trained_as
from ksfusion.preflight.first_look import FirstLook
from ksfusion.preflight.named_files import DEMO_NOTICE
from ksfusion.results import stage_settings as results
from ksfusion.results.attribution.config import AttributeGenesSettings
from ksfusion.results.config import Printing
from ksfusion.slides import config as slides
from ksfusion.terms.tasks import TaskOutcome
from ksfusion.training.config import FitBaselineSettings, SearchSettings, TrainedTask, TrainModelSettings


@dataclass(frozen=True)
class StageSettings(FirstLook):
    """What each stage depends on, of a configuration and its tables."""

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

    @cached_property
    def _settings(self) -> dict[str, Block]:
        return {
            **self._settings_of_cohort(),
            **self._settings_of_slides(),
            **self._settings_of_genes(),
            **self._settings_of_results(),
        }

    def _settings_of_cohort(self) -> dict[str, Block]:
        config, tasks = self.config, self.config.tasks
        first, labelled = next(iter(tasks.items()))  # by whose label splits are stratified
        return {
            "check_cohort": cohort.CheckCohortSettings(
                cohort=cohort.CohortFiles.of(config.cohort),
                expression_cohorts=config.expression_cohorts(),
                external=config.splits.external,
                tasks={name: cohort.Labelling.of(task) for name, task in tasks.items()},
            ),
            "split_cases": cohort.SplitCasesSettings(splits=config.splits, stratify=label_column(first, labelled.kind)),
            "check_leakage": cohort.CheckLeakageSettings.of(config.cohort),
            "write_ledger": cohort.WriteLedgerSettings.of(
                config.cohort, tasks={name: task.kind for name, task in tasks.items()}
            ),
        }

    def _settings_of_slides(self) -> dict[str, Block]:
        config, batches, reading = self.config, self.study.batches, slides.Reading.of(self.config.slides)
        settings: dict[str, Block] = {
            "draw_demo_slides": DrawDemoSlidesSettings(slides=self.demo_slides()),
            "tile_slides": slides.TileSlidesSettings(slides=slides.Tiling.of(config.slides, batches=batches)),
            "check_tiles": slides.CheckTilesSettings.of(config.slides),
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
            "build_store": slides.BuildStoreSettings.of(config.slides),
        }
        if not self.extracts:  # else no folder of features is named
            settings["import_tiles"] = slides.ImportTilesSettings.of(config.slides, config.features, batches=batches)
        return settings

    def _settings_of_genes(self) -> dict[str, Block]:
        config = self.config
        return {
            "draw_demo_expression": DrawDemoExpressionSettings(profiles=self.demo_profiles()),
            "read_expression": ReadExpressionSettings(
                sources=config.cohort.expression, external=config.splits.external, names=self.gene_sets_version
            ),
            **dict.fromkeys(("select_genes", "check_expression"), config.genes),
            "draw_genes": Ranking.of(config.genes),
        }

    def _settings_of_results(self) -> dict[str, Block]:
        config = self.config
        shown = [task.shown(name) for name, task in config.tasks.items()]
        said = {"title": config.title, "caveats": config.caveats()}
        compared: dict[str, Any] = {"tasks": [task.model_dump() for task in shown], **said}
        recorded = {"config": config.record(), **said}
        drawn = results.DrawTasksSettings(tasks=compared["tasks"], title=config.title)
        of_runs = {"tasks": compared["tasks"], "methods": config.methods, "shared": self._shared(config.methods)}
        by_alpha = {**compared, "methods": self.alphas, "shared": self._shared(self.alphas)}
        all_but_alphas = [name for name in config.methods if METHODS[name].alpha is None]
        return {
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
                slides=slides.Reading.of(config.slides) if self.extracts and not self.stored else None,
                printing={name: Printing.of(task) for name, task in config.tasks.items()},
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
        }

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
