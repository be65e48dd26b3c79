"""What a user asks on the command line, written as the configuration of a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ksfusion.bundles.config import BundleContents
from ksfusion.bundles.contents import read_contents
from ksfusion.bundles.encoder import check_encoder
from ksfusion.cohort.columns import map_columns
from ksfusion.cohort.config import CohortFiles, UserColumn
from ksfusion.cohort.user_table import columns_there, read_user_table
from ksfusion.core.errors import UserError
from ksfusion.core.storage import write_text
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.core.workflow import PREDICTION, REQUEST, workflow_command
from ksfusion.methods.registry import use_methods
from ksfusion.terms.units import ExpressionFormat, ExpressionUnit

AS_IN_STUDY = "write {case_id: Patient}, as cohort.columns of a study has it"
LISTS = (".yaml", ".yml")
# Files of a study, over which predictions would be written.
OF_A_STUDY = ("results/cohort/splits.tsv", "results/models")


@dataclass(frozen=True)
class NewPatients:
    """Whom a bundle is to predict, from which files, and how that is run.

    Parameters
    ----------
    bundle
        The folder that ksfusion bundle made.
    samples
        Table of the samples: sample_id, case_id, cohort, slide and expression_id, as of a study.
    output
        The folder that gets predictions.tsv, a page for each patient, and the files of the stages.
    expression
        Where the profiles are: a folder or file, with --format and --unit; or, where cohorts differ in these, a YAML
        file with the list that a study has under cohort.expression.
    format
        Layout of the files; that of the cohort in training, where it is left out.
    unit
        Unit of the values; that of the cohort in training, where it is left out.
    columns
        YAML file that says what the columns and words of your own tables mean, as cohort.columns of a study does; that
        study's configuration is one.
    level
        Level of the sets of classes, such as 0.95; that of the bundle, where it is left out.
    weights
        Local weight file of the encoder.
    features
        Folder of the files of another tool, where the bundle was trained on its features.
    masks
        Folder of masks of tissue to take in place of the tissue found.
    methods_from
        File with the method, where it is one of the bundle's maker and not of ksfusion.
    cores
        Number of processor cores that may be used at once; all without it.
    profile
        Where jobs run: slurm, or the folder of a profile of your own.
    verbose
        Print all that Snakemake says; it is in .snakemake/log in any case.
    """

    bundle: Path
    samples: Path
    output: Path
    expression: Path | None = None
    format: ExpressionFormat | None = None
    unit: ExpressionUnit | None = None
    columns: Path | None = None
    level: float | None = None
    weights: Path | None = None
    features: Path | None = None
    masks: Path | None = None
    methods_from: Path | None = None
    cores: str | None = None
    profile: str | None = None
    verbose: bool = False

    def meanings(self) -> dict[str, UserColumn]:
        """Return what the columns of the user's own tables mean.

        Raises
        ------
        UserError
            If the file is none, or holds something else.
        """
        return {} if self.columns is None else read_columns(self.columns)


def read_columns(path: Path) -> dict[str, UserColumn]:
    """Read what columns and words mean, from a file of their own or the configuration of a study.

    Raises
    ------
    UserError
        If it is no file, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"--columns {path}: is not a file; {AS_IN_STUDY}")
    values = read_yaml(path)
    # One of a table may be called cohort too.
    study = values.get("cohort") if isinstance(values, Mapping) else None
    if isinstance(study, Mapping) and "columns" in study:
        values = study["columns"]
    try:
        return CohortFiles.model_validate({"samples": "-", "cases": "-", "columns": values}).columns
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(
            f"--columns {path}: {key}: {first['msg'].removeprefix('Value error, ')}; {AS_IN_STUDY}"
        ) from None


def prediction_command(
    asked: NewPatients, targets: Sequence[str] = (), *, dry_run: bool = False, passed_on: Sequence[str] = ()
) -> list[str]:
    """Write what is asked as the configuration of a prediction, and return the Snakemake command that does it.

    Parameters
    ----------
    asked
        Whom to predict, and how.
    targets
        Files; all without any.
    dry_run
        Only plan.
    passed_on
        Further options of Snakemake.

    Raises
    ------
    UserError
        See `write_request` and `ksfusion.core.workflow.workflow_command`.
    """
    return workflow_command(
        write_request(asked),
        targets,
        cores=asked.cores,
        # The workstation's lies beside the Snakefile of studies, where Snakemake finds it by itself.
        profile=asked.profile or "default",
        dry_run=dry_run,
        logger=not asked.verbose,
        passed_on=passed_on,
        snakefile=PREDICTION,
    )


def write_request(asked: NewPatients) -> Path:
    """Write ``predict.yaml`` into the folder of the output, all paths in full, and return it.

    Raises
    ------
    UserError
        If the bundle is none, its encoder is not here, the output cannot be its folder, or the sources of expression
        or the columns are not told.
    """
    own = [str(asked.methods_from.resolve())] if asked.methods_from else []
    use_methods(own)
    contents, settings = read_contents(asked.bundle)
    output = asked.output
    _check_output(output, asked.bundle)
    check_encoder(contents, settings, asked.weights)
    given = {name: getattr(asked, name) for name in ("bundle", "samples", "weights", "features", "masks")}
    values: dict[str, Any] = {name: str(path.resolve()) for name, path in given.items() if path is not None}
    if columns := _of_samples(asked, contents):
        values["columns"] = {name: column.record() for name, column in columns.items()}
    if sources := _sources(asked, columns, contents):
        values["expression"] = sources
    if own:
        values["methods_from"] = own
    if asked.level is not None:
        values["level"] = asked.level
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # Snakemake keeps what its jobs were given: an equal file is no new one.
    if not (output / REQUEST).is_file() or (output / REQUEST).read_text(encoding="utf-8") != text:
        write_text(text, output / REQUEST)
    return output / REQUEST


def _of_samples(asked: NewPatients, contents: BundleContents) -> dict[str, UserColumn]:
    """Return what is said of columns of the table of samples: the others are of the table of cases.

    Raises
    ------
    UserError
        If the table has neither a column that is read, nor what is said to stand for it.
    """
    columns, there = asked.meanings(), read_user_table(str(asked.samples)).columns
    read = ["sample_id", "case_id", "cohort"]
    if not contents.partial:
        read += [{"p": "slide", "g": "expression_id"}[letter] for letter in contents.modalities]
    for name in read:
        own = columns[name].column if name in columns else None
        if there and own and not {own, name} & set(there):
            raise UserError(
                f"--columns {asked.columns}: {name}: {asked.samples} has no column {own}; correct it: it has "
                f"{columns_there(there)}"
            )
    return {name: column for name, column in columns.items() if (column.column or name) in there}


def _check_output(output: Path, bundle: Path) -> None:
    """Raise UserError where predictions would be written into a bundle, or over a study."""
    if output.resolve().is_relative_to(bundle.resolve()):
        raise UserError(f"--output {output}: lies in the bundle; name another folder")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is not a folder; name one")
    if found := next((name for name in OF_A_STUDY if (output / name).exists()), None):
        raise UserError(f"--output {output}: holds a study ({found}); give the predictions a folder of their own")


def _sources(asked: NewPatients, columns: Mapping[str, UserColumn], contents: BundleContents) -> list[dict[str, Any]]:
    """Return the sources of expression, one for each cohort."""
    path = asked.expression
    if path is None or "g" not in contents.modalities:
        return []
    if path.suffix.lower() in LISTS:
        return _listed(path)
    trained = {entry.cohort: entry for entry in contents.expression}
    sources = []
    for cohort in _cohorts_with_profiles(asked.samples, columns):
        known = trained.get(cohort)
        format, unit = asked.format or (known and known.format), asked.unit or (known and known.unit)
        if not (format and unit):
            raise UserError(
                f"--expression {path}: cohort {cohort} was not in training; say its --format (such as gdc-star) and "
                "--unit (such as counts)"
            )
        sources.append({"cohort": cohort, "format": format, "unit": unit, "path": str(path.resolve())})
    return sources


def _listed(path: Path) -> list[dict[str, Any]]:
    """Return the sources that a YAML file lists, with paths from its folder."""
    if not path.is_file():
        raise UserError(
            f"--expression {path}: is not a file; name the list of sources, or a folder or file of profiles"
        )
    values = read_yaml(path)
    if isinstance(values, Mapping):
        values = values.get("expression", (values.get("cohort") or {}).get("expression"))
    if not isinstance(values, list) or not all(isinstance(entry, Mapping) for entry in values):
        raise UserError(
            f"--expression {path}: holds no list of sources; write expression: [{{cohort: NAME, format: gdc-star, "
            "unit: counts, path: FOLDER}]"
        )
    sources = []
    for entry in values:
        located = {key: str((path.parent / entry[key]).resolve()) for key in ("path", "sample_sheet") if entry.get(key)}
        sources.append({**entry, **located})
    return sources


def _cohorts_with_profiles(samples: Path, columns: Mapping[str, UserColumn]) -> list[str]:
    """Return the cohorts of the samples that name a profile; what is wrong with the table is told when it is read."""
    table = read_user_table(str(samples))
    map_columns(table, columns)
    return sorted({row.get("cohort", "") for row in table.rows if row.get("expression_id")} - {""})
