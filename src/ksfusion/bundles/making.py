"""The files of a bundle, made from the results of a study."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ksfusion.bundles.calibration import calibrated, fit_temperature, mean_by_case
from ksfusion.bundles.config import LEVEL, BundleContents, BundleEncoder, BundleFold, BundleSettings, FoldCalibration
from ksfusion.bundles.conformal import conformal_scores
from ksfusion.bundles.contents import (
    CASES,
    CONTENTS,
    METRICS,
    SETTINGS,
    SLIDES,
    STAIN_TARGET,
    SUBGROUPS,
    calibration_file,
    file_of_method,
    genes_folder,
    member_folder,
)
from ksfusion.bundles.distances import Kind, TrainingSummary, write_summary
from ksfusion.bundles.draws import draws_of_study, write_draws
from ksfusion.bundles.genes import COPIES, SCALING, SELECTED
from ksfusion.bundles.members import REFERENCE
from ksfusion.bundles.predict import is_predictable
from ksfusion.bundles.seen import case_digest
from ksfusion.bundles.study import StudyResults, versions
from ksfusion.bundles.summary import Numbers, fit_summary, once
from ksfusion.bundles.writing import write_block, write_table
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import read_parquet, read_wide_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.genes.config import Genes
from ksfusion.genes.repeated import chosen_copies
from ksfusion.genes.selection import fitted_samples, samples_with_profiles
from ksfusion.methods.registry import method_info
from ksfusion.results.config import ShownTask
from ksfusion.results.tables.scores import COLUMNS as SCORE_COLUMNS
from ksfusion.results.tables.subgroups import COLUMNS as SUBGROUP_COLUMNS
from ksfusion.slides.encoders.build import build_encoder
from ksfusion.slides.encoders.digest import encoder_digest
from ksfusion.slides.stain.profiles import arrays_of, profile_of, read_profiles
from ksfusion.terms.gene_columns import PROFILE_KEYS
from ksfusion.terms.split_table import splits_of_fold
from ksfusion.terms.splits import CALIBRATION
from ksfusion.terms.tasks import prediction_columns
from ksfusion.training.checkpoint import CONFIG, MODEL, PREDICTIONS
from ksfusion.training.covariates import mean_patches
from ksfusion.training.data import FoldData, read_fold
from ksfusion.training.fold_tables import labelled
from ksfusion.training.trained_run import TrainedRun

log = logging.getLogger(__name__)

NOT_HELD_OUT = (
    "the study chose its epochs on all validation cases; with training.calibration_fraction it would keep some for this"
)


@dataclass(frozen=True)
class Draft:
    """A bundle that is being made.

    Attributes
    ----------
    study
        The results, and the task and the method of the bundle.
    task
        What is predicted.
    modalities
        What the method reads.
    settings
        Of the study.
    partial
        Whether the models have stand-ins for a slide or a profile that a sample lacks.
    level
        Of conformal sets, where a prediction asks for no other.
    """

    study: StudyResults
    task: ShownTask
    modalities: str
    settings: BundleSettings
    partial: bool
    level: float = LEVEL
    _means: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, study: StudyResults, level: float = LEVEL) -> Draft:
        """Return the draft for a task and method.

        Raises
        ------
        UserError
            If a bundle can hold no such method, there is no such run, or what it was trained on cannot be frozen.
        """
        info = method_info(study.method)
        if not is_predictable(study.method):
            what = "clinical columns" if "c" in info.modalities else "nothing but the cohort"
            raise UserError(
                f"--method {study.method}: reads {what}, which a bundle does not hold; bundles hold methods that read "
                "patches or genes"
            )
        partial = bool(study.first_config().get("settings", {}).get("modality_dropout"))
        return cls(study, study.shown_task(), info.modalities, study.settings(info.modalities), partial, level)

    def write(self, folder: Path, made_by: dict[str, Any]) -> BundleContents:
        """Write all files but the model card and the manifest into a folder; return what the bundle is."""
        members, cases = [], []
        for fold, runs in self.study.trained.items():
            tables = [read_parquet(run.folder / PREDICTIONS) for run in runs]
            for run, table in zip(runs, tables, strict=True):
                self._write_member(member_folder(folder, fold, run.seed), run, table)
            self._write_calibration(folder, fold, runs[0], tables, made_by)
            self._write_fold(folder, fold)
            own = tables[0].drop_duplicates("case_id").sort_values("case_id")
            cases.append(own[["case_id", "fold", "split"]])
            skipped = {str(run.seed): run.reason for run in self.study.runs if run.fold == fold and not run.has_model}
            members.append(BundleFold(fold=fold, seeds=[run.seed for run in runs], skipped=skipped))
        self._write_seen(folder, pd.concat(cases, ignore_index=True))
        write_table(self.study.rows_of("table", SCORE_COLUMNS), folder / METRICS)
        write_table(self.study.rows_of("subgroups", SUBGROUP_COLUMNS), folder / SUBGROUPS)
        write_draws(draws_of_study(self.study), folder)
        (folder / SETTINGS).write_text(
            yaml.safe_dump(self.settings.record(), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        contents = self._contents(members, made_by)
        write_block(contents.record(), folder / CONTENTS)
        return contents

    def _contents(self, folds: list[BundleFold], made_by: dict[str, Any]) -> BundleContents:
        config = self.study.first_config()
        return BundleContents.model_validate(
            {
                "task": self.task,
                "labelling": self.study.labelling(),
                "method": self.study.method,
                "modalities": self.modalities,
                "method_file": file_of_method(self.study.method, config),
                "partial": self.partial,
                "level": self.level,
                "batch_size": config.get("settings", {}).get("batch_size", 1),
                "n_patches": self.settings.patches.count if self.settings.patches else None,
                "encoder": self._encoder(config) if "p" in self.modalities else None,
                "expression": self.study.expression() if "g" in self.modalities else [],
                "folds": folds,
                "study": self.study.study(),
                "versions": versions(),
                "provenance": made_by,
            }
        )

    def _encoder(self, config: Any) -> BundleEncoder:
        features = self.settings.features
        size = config.get("n_features") or len(config["coding"]["names"])
        if features is None:
            source = self.study.feature_settings()["features"].get("source", "precomputed")
            return BundleEncoder(source=source, n_features=size)
        weights = self.study.encoder_weights()
        digest = None
        try:
            digest = encoder_digest(build_encoder(features.encoder, weights))
        except UserError as error:
            log.warning("the bundle names no weights of its encoder, which is not there: %s", error)
        return BundleEncoder(name=features.encoder, weights_sha256=digest, n_features=size)

    def _write_member(self, folder: Path, run: TrainedRun, table: pd.DataFrame) -> None:
        folder.mkdir(parents=True)
        for name in (MODEL, CONFIG):
            shutil.copyfile(run.folder / name, folder / name)
        if self.task.kind != "classification":
            (column,) = prediction_columns(self.task)
            train = table.iloc[labelled(table, "train")]
            values = np.sort(train.groupby("case_id")[column].mean().to_numpy(float))
            write_table(pd.DataFrame({"value": values}), folder / REFERENCE)

    def _write_calibration(
        self, folder: Path, fold: int, run: TrainedRun, tables: Sequence[pd.DataFrame], made_by: dict[str, Any]
    ) -> None:
        cuts = run.config.get("bins", ())
        by_split = {
            split: mean_by_case([table.iloc[labelled(table, split)] for table in tables], self.task)
            for split in ("train", "val", CALIBRATION)
        }
        found = fit_temperature(by_split["val"], by_split["train"], self.task, cuts)
        scores: list[float] = []
        no_scores = ""
        held_out = by_split[CALIBRATION]
        if self.task.kind != "classification":
            no_scores = "conformal sets are sets of classes"
        elif held_out.empty:
            no_scores = NOT_HELD_OUT
        else:
            shown = calibrated(held_out, found, self.task)
            scores = conformal_scores(held_out if shown is None else shown, self.task)
        update = {"scores": scores, "no_scores": no_scores, "provenance": made_by}
        known = FoldCalibration.model_validate({**found.model_dump(), **update})
        write_block(known.record(), calibration_file(folder, fold))

    def _write_fold(self, folder: Path, fold: int) -> None:
        """Write genes and scaling of a fold, and what its training samples looked like."""
        if "g" in self.modalities:
            target, source = genes_folder(folder, fold), self.study.results / f"genes/fold{fold}"
            target.mkdir(parents=True)
            for name in (SELECTED, SCALING):
                shutil.copyfile(source / name, target / name)
            if len(copies := self._copies(fold)):
                write_table(copies, target / COPIES)
        data = {letter: self._data(fold, letter) for letter in self.modalities}
        write_summary(folder, fold, self._summary(data))

    def _copies(self, fold: int) -> pd.DataFrame:
        """Return which of several genes counts for a symbol of the fold, where it is not the first of its file."""
        files, settings = self.study.files(fold, "g"), self.settings.genes or Genes()
        profiles = read_wide_parquet(self.study.results / "genes/profiles.parquet", PROFILE_KEYS)
        text = dict.fromkeys(("sample_id", "case_id", *PROFILE_KEYS), str)
        used = samples_with_profiles(read_tsv(files.samples, dtype=text), profiles.index)
        split_of = splits_of_fold(files.splits, fold, used["case_id"])
        copies = chosen_copies(profiles, fitted_samples(used, split_of, settings.fit_on))
        genes = read_tsv(self.study.results / f"genes/fold{fold}" / SELECTED, dtype={"symbol": str})
        return copies[copies["symbol"].isin(genes["symbol"])]

    def _data(self, fold: int, letter: str) -> FoldData:
        """Return the samples of a fold with slides, or with profiles, that trained models or chose among them."""
        # Of models with stand-ins those that have nothing else too.
        read = letter if self.partial else self.modalities
        files = self.study.files(fold, read)
        return read_fold(files, task=self.task, fold=fold, modalities=read)

    def _summary(self, data: Mapping[str, FoldData]) -> TrainingSummary:
        """Return what the training samples of a fold looked like: those with slides (p) and with profiles (g)."""
        numbers: dict[Kind, Numbers] = {}
        slides = pd.DataFrame(columns=["mpp", "mpp_source", "tissue_mm2", "unique_patches"])
        if "g" in data:
            values = np.concatenate([part.numpy() for part in data["g"].genes.values()], axis=1)
            numbers["expression"] = _numbers(values, data["g"].samples)
        if "p" in data:
            samples = data["p"].samples
            numbers["features"] = _numbers(self._mean_features(data["p"]), samples)
            of_sample = self.study.samples().set_index("sample_id").loc[samples["sample_id"], "slide_id"].to_numpy()
            if (stains := self._stains(of_sample, samples)) is not None:
                numbers["stain"] = stains
            train = np.unique(of_sample[(samples["split"] == "train").to_numpy()])
            slides = self.study.slides().reindex(columns=slides.columns).loc[train]
        return fit_summary(numbers, slides)

    def _mean_features(self, data: FoldData) -> np.ndarray:
        """Return the mean features of the slide of each sample; all slides are read once for all folds."""
        ids = data.samples["sample_id"]
        if not self._means.keys() >= set(ids):
            self._means.update(zip(ids, mean_patches(data), strict=True))
        return np.stack([self._means[sample_id] for sample_id in ids])

    def _stains(self, slides: np.ndarray, samples: pd.DataFrame) -> Numbers | None:
        """Return the numbers of the stain of each slide that was fitted; None where slides are not normalised."""
        if self.settings.stain is None or self.settings.stain.method == "none":
            return None
        profiles = pd.concat([read_profiles(path) for path in self.study.batches("stain")])
        fitted = profiles[profiles["status"] == "ok"]
        has_stain = np.isin(slides, fitted.index)
        rows = fitted.loc[slides[has_stain]]
        values = [np.concatenate([part.ravel() for part in arrays_of(profile_of(row))]) for _, row in rows.iterrows()]
        return _numbers(np.array(values), samples[has_stain]) if has_stain.any() else None

    def _write_seen(self, folder: Path, cases: pd.DataFrame) -> None:
        digests = {case: case_digest(case) for case in cases["case_id"].unique()}
        rows = cases.assign(case=cases["case_id"].map(digests)).sort_values(["fold", "case"])
        write_table(rows[["case", "fold", "split"]], folder / CASES)
        if "p" not in self.modalities:
            return
        if self.settings.stain is not None:
            content = self.study.stain_target()
            (folder / STAIN_TARGET).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        samples = self.study.samples()
        samples = samples[samples["case_id"].isin(digests)].dropna(subset="slide_id").drop_duplicates("slide_id")
        tiles = pd.concat([read_parquet(path, columns=["slide_id", "digest"]) for path in self.study.batches("tiles")])
        slides = samples.merge(tiles.drop_duplicates("slide_id"), on="slide_id")
        slides = slides[slides["digest"].fillna("") != ""]
        known = pd.DataFrame({"slide": slides["digest"], "case": slides["case_id"].map(digests)})
        write_table(known.sort_values(["slide", "case"]), folder / SLIDES)


def _numbers(values: np.ndarray, samples: pd.DataFrame) -> Numbers:
    return once(values, samples["case_id"], samples["split"])
