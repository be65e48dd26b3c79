"""The plan of a prediction: the pipeline's own stages on new patients, with the settings that a bundle holds.

Made each time the workflow is parsed, so nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ksfusion.bundles.config import BundleContents, BundleSettings
from ksfusion.bundles.contents import STAIN_TARGET, read_contents
from ksfusion.bundles.manifest import MANIFEST, digest_of
from ksfusion.cohort.config import WriteLedgerSettings
from ksfusion.cohort.samples import CohortTables, read_new_samples
from ksfusion.config import Config
from ksfusion.core.config_block import Block
from ksfusion.core.errors import UserError
from ksfusion.core.paths import located
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.core.study import RESULTS, read_study, study_here
from ksfusion.genes.config import ExpressionSource, Genes, ReadExpressionSettings
from ksfusion.methods.registry import use_methods
from ksfusion.plan import Plan
from ksfusion.predictions.config import (
    CheckPatientsSettings,
    ExplainCasesSettings,
    PredictCasesSettings,
    Prediction,
    WritePagesSettings,
)
from ksfusion.preflight.inputs import file_problems
from ksfusion.slides.config import BuildStoreSettings, Features, Patches, Reading, Slides, Stain
from ksfusion.terms.gene_sets import NEWEST

# One slide that fails is a patient without an answer, and no reason to stop.
ALL_MAY_FAIL = 1.0


@dataclass(frozen=True)
class PredictionPlan(Plan):
    """What a prediction consists of."""

    prediction: Prediction = field(kw_only=True)
    contents: BundleContents = field(kw_only=True)

    @property
    def bundle_manifest(self) -> str:
        """The file that stands for the bundle: it names what all others hold."""
        return str(Path(self.prediction.bundle, MANIFEST))

    @property
    def cases(self) -> list[str]:
        """The new patients."""
        return [row["case_id"] for row in self.tables.cases]

    @cached_property
    def _settings(self) -> dict[str, Block]:
        of_study, digest = super()._settings, digest_of(Path(self.bundle_manifest))
        reading = Reading.of(self.config.slides) if self.extracts else None
        return of_study | {
            "check_patients": CheckPatientsSettings(
                samples=self.prediction.samples,
                columns=self.prediction.columns,
                expression_cohorts=self.config.expression_cohorts(),
                modalities=self.contents.modalities,
            ),
            # No cohort has a say in the genes of another: the models' own genes are known.
            "read_expression": ReadExpressionSettings(
                sources=self.config.cohort.expression,
                external=self.config.expression_cohorts(),
                names=self.gene_sets_version,
            ),
            # Whoever has no label has none to lack.
            "write_ledger": WriteLedgerSettings(require="any", tasks={}),
            "build_store": BuildStoreSettings(max_failed_fraction=ALL_MAY_FAIL, may_be_empty=True),
            "predict_cases": PredictCasesSettings(bundle=digest, level=self.prediction.level),
            "explain_cases": ExplainCasesSettings(bundle=digest, slides=reading),
            "write_pages": WritePagesSettings(bundle=digest),
        }

    def warnings(self) -> list[str]:
        """Return what is told before any job: slide files that are not there or empty, and profiles that are not."""
        return self._slide_warnings() + self._profile_warnings()

    def stopping_profiles(self) -> list[str]:
        """Return nothing: a patient without a profile is one without an answer, and no reason to stop."""
        return []

    @property
    def reads_genes(self) -> bool:
        """Whether the models read genes."""
        return "g" in self.contents.modalities


def make_prediction_plan(
    values: Mapping[str, Any], *, source: str, files: Iterable[str | Path] = (), started_in: Path | None = None
) -> PredictionPlan:
    """Validate what is to be predicted, and plan it.

    Parameters
    ----------
    values, source, files, started_in
        See `ksfusion.plan.make_plan`; the values are those of `Prediction`.

    Raises
    ------
    UserError
        With a line for each problem of the bundle, the table of samples and what they name, or if the results here are
        those of other patients.
    """
    read = [Path(file) for file in files]
    for file in read:
        read_yaml(file)
    here = [started_in or Path.cwd(), Path.cwd()]
    prediction = located(_parsed(values, source), [*(file.resolve().parent for file in read), *here])
    use_methods(prediction.methods_from)
    contents, settings = read_contents(prediction.bundle)
    problems = unit_problems(prediction.expression, contents, source)
    config = _config(prediction, contents, settings, source)
    problems += file_problems(config, source)
    try:
        tables = read_new_samples(
            prediction.samples, prediction.columns, config.expression_cohorts(), contents.modalities
        )
        tables = tables.located([Path(prediction.samples).resolve().parent, *here], prediction.samples)
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return _planned(config, tables, prediction, contents, settings, source)


def _planned(
    config: Config,
    tables: CohortTables,
    prediction: Prediction,
    contents: BundleContents,
    settings: BundleSettings,
    source: str,
) -> PredictionPlan:
    cases = [row["case_id"] for row in tables.cases]
    found = read_study(RESULTS)
    if found and not found.is_same(replace(found, name=None, cases=frozenset(cases))):
        raise UserError(
            f"{RESULTS}: holds the predictions of other patients ({found.describe()}); name another --output"
        )
    batches, n_slides = config.slides.batches, len(tables.slides())
    study = study_here(None, cases, (prediction.samples,), batches=batches, n_slides=n_slides)
    study = replace(study, gene_sets=settings.names or NEWEST)
    plan = PredictionPlan(config, tables, study, prediction=prediction, contents=contents)
    plan.check_precomputed(source)
    return plan


def _parsed(values: Mapping[str, Any], source: str) -> Prediction:
    try:
        return Prediction.model_validate(dict(values))
    except ValidationError as error:
        lines = (
            f"{source}: {'.'.join(map(str, problem['loc'])) or 'the whole'}: "
            f"{problem['msg'].removeprefix('Value error, ')}; known here: {', '.join(Prediction.model_fields)}"
            for problem in error.errors()
        )
        raise UserError("\n".join(lines)) from None


def unit_problems(sources: Sequence[ExpressionSource], contents: BundleContents, source: str) -> list[str]:
    """Return a line for each source whose unit is not that of the training profiles, with which it is compared.

    Parameters
    ----------
    sources
        Where new profiles are.
    contents
        What the bundle is.
    source
        Name of the configuration in messages.
    """
    if "g" not in contents.modalities:
        return []
    if not sources and not contents.partial:
        return [f"{source}: the bundle reads expression; say where it is (--expression, --format and --unit)"]
    trained = {entry.cohort: entry.unit for entry in contents.expression}
    problems = []
    for number, entry in enumerate(sources):
        units = {trained[entry.cohort]} if entry.cohort in trained else set(trained.values())
        if units and entry.unit not in units:
            problems.append(
                f"{source}: expression.{number}.unit: {entry.unit}, and the bundle was trained on "
                f"{' and '.join(sorted(units))}; give that unit"
            )
    return problems


def _config(prediction: Prediction, contents: BundleContents, settings: BundleSettings, source: str) -> Config:
    """Return the configuration of the stages that come before the models: the bundle's, and the new files'."""
    reads_patches = "p" in contents.modalities
    slides = (settings.slides or Slides()).model_copy(
        update={"batches": prediction.batches, "masks": prediction.masks, "max_failed_fraction": ALL_MAY_FAIL}
    )
    stain = settings.stain or Stain()
    if Path(prediction.bundle, STAIN_TARGET).is_file():
        stain = stain.model_copy(update={"target": str(Path(prediction.bundle, STAIN_TARGET))})
    # A file to stand for the expression that is not read: a configuration has some.
    stand_in = ExpressionSource(cohort="none", format="matrix", unit="log", path=prediction.samples)
    blocks = {
        "cohort": {
            "samples": prediction.samples,
            "cases": prediction.samples,
            "require": "any",
            "expression": [entry.model_dump() for entry in prediction.expression or [stand_in]],
        },
        "slides": slides.model_dump(),
        "stain": stain.model_dump(),
        "patches": (settings.patches or Patches()).model_dump(),
        "features": (_features(prediction, contents, settings, source) if reads_patches else Features()).model_dump(),
        "genes": Genes().model_dump(),
        "methods": [contents.method],
    }
    config = Config.model_validate(blocks)
    if prediction.expression:
        return config
    return config.model_copy(update={"cohort": config.cohort.model_copy(update={"expression": []})})


def _features(prediction: Prediction, contents: BundleContents, settings: BundleSettings, source: str) -> Features:
    """Return where features of the new slides come from: the bundle's encoder, or the files of another tool."""
    encoder, encoding = contents.encoder, settings.features
    if encoder is not None and encoder.source != "extract":
        if not prediction.features:
            raise UserError(
                f"{source}: the bundle was trained on the features of another tool; name the folder of those of the "
                "new slides (--features)"
            )
        return Features(source=encoder.source, path=prediction.features)
    if prediction.features:
        raise UserError(f"{source}: features: the bundle reads slides, encoded here; leave --features out")
    if encoding is None:
        raise UserError(f"{prediction.bundle}: has no settings of the encoder; make it anew with ksfusion bundle")
    if encoding.weights and not prediction.weights:
        raise UserError(
            f"{source}: the encoder {encoding.encoder} had its weights from the file {encoding.weights}; name that "
            "file here (--weights)"
        )
    return Features(**{**encoding.model_dump(), "weights": prediction.weights})
