"""The results of a study, as a bundle is made of them: found by the files' own records, never by a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from ksfusion.bundles.config import BundleExpression, BundleSettings, BundleStudy
from ksfusion.bundles.contents import STAIN_TARGET
from ksfusion.cohort.config import Labelling
from ksfusion.core.errors import UserError
from ksfusion.core.features_file import open_features
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.core.study import read_study
from ksfusion.genes.config import Genes
from ksfusion.results.config import ShownTask
from ksfusion.results.statistics import RESAMPLES
from ksfusion.slides.config import Encoding, Patches, Slides, Stain
from ksfusion.slides.stain.target import TARGET_RESOURCE, load_target
from ksfusion.terms.gene_sets import BUILTIN, VERSIONS, is_builtin
from ksfusion.training.checkpoint import METRICS
from ksfusion.training.data import FoldFiles
from ksfusion.training.trained_run import TrainedRun

# What predictions depend on.
PACKAGES = ("ksfusion", "torch", "numpy", "pandas", "safetensors", "scikit-learn", "scipy", "timm")
TARGET_NUMBERS = ("matrix", "max_concentration", "lab_mean", "lab_std")


@dataclass(frozen=True)
class StudyResults:
    """A folder of results, and the one task and method that a bundle is made of."""

    results: Path
    task: str
    method: str

    @cached_property
    def runs(self) -> list[TrainedRun]:
        """The runs, in order of fold and seed.

        Raises
        ------
        UserError
            If there is none, or none has a model.
        """
        folder = self.results / "models" / self.task / self.method
        found = [TrainedRun.read(path.parent) for path in folder.glob(f"fold*/seed*/{METRICS}")]
        if not found:
            there = sorted(
                {path.parents[2].relative_to(self.results / "models").as_posix() for path in self._any_runs()}
            )
            said = f"there are {', '.join(there)}" if there else "run the pipeline first, or give --results"
            raise UserError(f"{folder}: no run of task {self.task} and method {self.method}; {said}")
        if not any(run.has_model for run in found):
            raise UserError(f"{folder}: no run has a model ({found[0].reason})")
        return sorted(found, key=lambda run: (run.fold, run.seed))

    def _any_runs(self) -> Iterable[Path]:
        return (self.results / "models").glob(f"*/*/fold*/seed*/{METRICS}")

    @cached_property
    def trained(self) -> dict[int, list[TrainedRun]]:
        """The runs that have a model, by fold."""
        folds: dict[int, list[TrainedRun]] = {}
        for run in self.runs:
            if run.has_model:
                folds.setdefault(run.fold, []).append(run)
        return folds

    def first_config(self) -> Mapping[str, Any]:
        """Return the ``config.json`` of the first run that has a model; settings are the same in all."""
        _ = self.runs
        return next(iter(self.trained.values()))[0].config

    def files(self, fold: int, modalities: str) -> FoldFiles:
        """Return the files of a fold."""
        genes = self.results / f"genes/fold{fold}"
        return FoldFiles(
            store=self.results / "features/store" if "p" in modalities else None,
            expression=genes / "expression.parquet" if "g" in modalities else None,
            selected=genes / "selected.tsv" if "g" in modalities else None,
            samples=self.results / "samples.tsv",
            cases=self.results / "cohort/cases.parquet",
            splits=self.results / "cohort/splits.tsv",
        )

    def shown_task(self) -> ShownTask:
        """Return the task as the study's tables show it; without tables as its runs know it."""
        config = self.first_config()
        own = ShownTask.model_validate({k: v for k, v in config["task"].items() if k in ShownTask.model_fields})
        for task in self._of_tables().get("tasks", ()):
            if (task["name"], task["kind"], task["classes"]) == (own.name, own.kind, own.classes):
                return ShownTask.model_validate(task)
        return own

    def labelling(self) -> Labelling:
        """Return from which columns of the table of cases the labels of the task come."""
        made = read_provenance(self.results / "cohort/cases.parquet")["settings"]
        return Labelling.model_validate(made["tasks"][self.task])

    def caveats(self) -> list[str]:
        """Return the sentences that stand wherever the study's results do."""
        return list(self._of_tables().get("caveats", ()))

    def _of_tables(self) -> dict[str, Any]:
        table = self.results / "tables/table1.tsv"
        return dict(read_provenance(table)["settings"]) if table.is_file() else {}

    def resamples(self) -> int:
        """Return how often the study draws its cases for an interval."""
        return int(self._of_tables().get("resamples", RESAMPLES))

    def study(self) -> BundleStudy:
        """Return what is known of the study: its name, and its cases and samples in use by cohort."""
        known, samples = read_study(self.results), self.samples()
        return BundleStudy(
            name=known.name if known else None,
            title=self._of_tables().get("title"),
            cases={str(name): int(n) for name, n in samples.groupby("cohort")["case_id"].nunique().items()},
            samples={str(name): int(n) for name, n in samples["cohort"].value_counts(sort=False).sort_index().items()},
        )

    def samples(self) -> pd.DataFrame:
        """Return the samples in use, of ``samples.tsv``, in order of sample_id."""
        text = dict.fromkeys(("sample_id", "case_id", "cohort", "slide_id", "expression_id"), str)
        table = read_tsv(self.results / "samples.tsv", dtype=text)
        return table[table["status"] == "ok"].sort_values("sample_id", ignore_index=True)

    def slides(self) -> pd.DataFrame:
        """Return ``slides.tsv``, by slide_id."""
        return read_tsv(self.results / "slides.tsv", dtype={"slide_id": str}).set_index("slide_id")

    def batches(self, stage: str) -> list[Path]:
        """Return the files of a stage that has one for each batch of slides, in order."""
        ending = "h5" if stage == "features" else "parquet"
        return sorted((self.results / stage).glob(f"[0-9]*.{ending}"), key=lambda path: int(path.stem))

    def feature_settings(self) -> dict[str, Any]:
        """Return the settings with which features were extracted, or imported.

        Raises
        ------
        UserError
            If there are no features.
        """
        files = self.batches("features")
        if not files:
            raise UserError(f"{self.results}: has no features/*.h5, which the method reads; run the pipeline first")
        with open_features(files[0]) as file:
            return dict(file.made_by["settings"])

    def _named(self, path: str) -> Path:
        """Return the path of a file that the study names: a relative one starts at the study's folder."""
        return self.results.parent / path

    def encoder_weights(self) -> Path | None:
        """Return the file of the encoder's weights; None where it has its own."""
        weights = self.feature_settings()["features"].get("weights")
        return self._named(weights) if weights else None

    def stain_target(self) -> dict[str, Any]:
        """Return the numbers of the stain that slides were brought to, as ``stain.target`` takes them.

        Raises
        ------
        UserError
            If it is not there any more.
        """
        made = self.feature_settings()["stain"]
        target = made["target"] if made["target"] == BUILTIN else str(self._named(made["target"]))
        load_target(target, made["method"])
        values = json.loads((resource(TARGET_RESOURCE) if target == BUILTIN else Path(target)).read_bytes())
        return {name: values[name] for name in TARGET_NUMBERS if name in values}

    def settings(self, modalities: str) -> BundleSettings:
        """Return the settings of the files that the models were trained on; of paths only the file's name is kept."""
        settings: dict[str, Any] = {}
        if "p" in modalities:
            settings |= self._settings_of_slides()
        if "g" in modalities:
            settings |= self._settings_of_genes()
        return BundleSettings.model_validate(settings)

    def _settings_of_slides(self) -> dict[str, Any]:
        made = self.feature_settings()
        sampled = read_provenance(self.batches("patches")[0])["settings"]
        tiled = read_provenance(self.batches("tiles")[0])["settings"]
        tiled = tiled.get("slides", tiled) | {name: sampled[name] for name in ("exclude", "min_tiles")}
        settings: dict[str, Any] = {
            "slides": Slides.model_validate(_known(tiled, Slides, without=("batches", "masks"))),
            "patches": Patches.model_validate(sampled["patches"]),
        }
        if "stain" in made:
            weights = made["features"].get("weights")
            encoding = {**made["features"], "weights": PurePath(weights).name if weights else None}
            settings["stain"] = Stain(method=made["stain"]["method"], target=STAIN_TARGET)
            settings["features"] = Encoding.model_validate(encoding)
        return settings

    def _settings_of_genes(self) -> dict[str, Any]:
        fold = next(iter(self.trained))
        made = read_provenance(self.results / f"genes/fold{fold}/selected.tsv")["settings"]
        names = read_provenance(self.results / "genes/profiles.parquet")["settings"].get("names", VERSIONS[0])
        sets = made["sets"]
        kept = _file_name(sets) if isinstance(sets, str) else {niche: _file_name(file) for niche, file in sets.items()}
        groups = _file_name(made.get("groups", BUILTIN))
        genes = Genes.model_validate({**_known(made, Genes), "sets": kept, "groups": groups})
        if genes.harmonise == "combat":
            raise UserError(
                f"{self.results}: expression was adjusted by ComBat, which cannot be frozen and applied to a new "
                "patient; run the study with genes.harmonise: zscore_by_cohort"
            )
        return {"genes": genes, "names": names}

    def expression(self) -> list[BundleExpression]:
        """Return where the expression of the study came from."""
        sources = read_provenance(self.results / "genes/profiles.parquet")["settings"]["sources"]
        return [BundleExpression.model_validate(_known(source, BundleExpression)) for source in sources]

    def rows_of(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return the rows of tables whose names begin so that are about this task and method, each once.

        Parameters
        ----------
        table
            Beginning of their names.
        columns
            Theirs, where there is none.
        """
        parts = [pd.DataFrame(columns=columns, dtype=str)]
        for path in sorted((self.results / "tables").glob(f"{table}*.tsv")):
            rows = read_tsv(path, dtype=str)
            parts.append(rows[(rows["task"] == self.task) & (rows["method"] == self.method)])
        return pd.concat(parts, ignore_index=True).drop_duplicates()


def own_methods(results: Path) -> list[Path]:
    """Return the files with methods of the user's that a study was run with."""
    known = read_study(results)
    return [Path(file) for file in known.methods_from] if known else []


def versions() -> dict[str, str]:
    """Return the versions of the packages that predictions depend on."""
    return {name: version(name) for name in PACKAGES}


def _known(values: Mapping[str, Any], block: type[Any], without: tuple[str, ...] = ()) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in block.model_fields and name not in without}


def _file_name(path: str) -> str:
    return path if is_builtin(path) else PurePath(path).name
