"""A configuration and its tables: whether they fit together, and whether the files that they name can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ksfusion.cohort.external import split_problems
from ksfusion.cohort.needs import clinical_problems, slide_problems
from ksfusion.cohort.samples import CohortTables, read_cohort
from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.core.object_storage import ObjectStorage, StoredFile, named_paths
from ksfusion.core.study import Study, study_here
from ksfusion.genes.config import too_few_of_their_own
from ksfusion.genes.expression.files import misplaced_sources, source_files
from ksfusion.methods.registry import METHODS
from ksfusion.preflight.named_files import is_drawn
from ksfusion.preflight.parsing import located_config
from ksfusion.results.grouping import subgroup_problems
from ksfusion.slides.encoders.names import check_encoder, check_patch_size, find_preset
from ksfusion.slides.reading.slide_files import VECTORS, file_size, is_readable_folder
from ksfusion.slides.tiles.mask_files import mask_problems
from ksfusion.terms.gene_sets import NEWEST, VERSIONS


def checked_inputs(
    values: Mapping[str, Any],
    *,
    source: str,
    files: Iterable[str | Path],
    started_in: Path | None,
    storage: ObjectStorage | None = None,
) -> tuple[Config, CohortTables, Study, dict[str, StoredFile]]:
    """Validate a configuration, its tables, and whose results are here; see `ksfusion.plan.make_plan`."""
    read, here = [Path(file) for file in files], [started_in or Path.cwd(), Path.cwd()]
    if storage:
        storage.fetch_missing(named_paths(Config, values), [*(file.resolve().parent for file in read), *here])
    fetched = [storage.folder] if storage else []
    config = located_config(values, source=source, files=read, folders=[*here, *fetched])
    if storage and config.demo:
        raise UserError(f"{source}: demo: is drawn here, not in object storage; run it without")
    problems = file_problems(config, source, stored_in=storage.prefix if storage else "")
    if storage and problems:  # what is not in storage is told with where that was looked for
        raise UserError("\n".join(problems))
    stored: dict[str, StoredFile] = {}
    try:
        tables = read_cohort(config.cohort, config.tasks, config.expression_cohorts())
        if storage:
            tables, stored = _with_stored_slides(tables, storage, config.cohort.samples, here)
        else:
            tables = tables.located([Path(config.cohort.samples).resolve().parent, *here], config.cohort.samples)
        problems += [*split_problems(config.splits, tables.samples, config.cohort.samples, source)]
        problems += too_few_of_their_own(config.genes, config.splits.external, tables.samples, config.cohort.samples)
        problems += _unmet_needs(config, tables, source)
        problems += subgroup_problems(config.results, tables.samples, tables.cases, source=source)
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    study = study_here(
        config.study,
        [row["case_id"] for row in tables.cases],
        (config.cohort.samples, config.cohort.cases),
        batches=config.slides.batches,
        n_slides=len(tables.slides()),
        gene_sets=NEWEST,
    )
    if study.gene_sets not in VERSIONS:
        raise UserError(f"genes.sets: this study began with {study.gene_sets}, of a later ksfusion; update ksfusion")
    study = replace(study, methods_from=tuple(str(Path(file).resolve()) for file in config.methods_from))
    return config.model_copy(update={"genes": config.genes.of_version(study.gene_sets)}), tables, study, stored


def _with_stored_slides(
    tables: CohortTables, storage: ObjectStorage, table: str, here: Sequence[Path]
) -> tuple[CohortTables, dict[str, StoredFile]]:
    """Return tables whose slides in storage have the paths of their local copies, and these by that path."""
    # The local copies of this run are not files of the user's.
    beside = [] if storage.holds(table) else [Path(table).resolve().parent]
    tables = tables.located([*beside, *here], table)
    named = (row["slide"] for row in tables.samples if row["slide"] and file_size(row["slide"]) is None)
    found = storage.slides(named, table)
    rows = [{**row, "slide": found[row["slide"]].copy} if row["slide"] in found else row for row in tables.samples]
    return replace(tables, samples=rows), {file.copy: file for file in found.values()}


def file_problems(config: Config, source: str, *, stored_in: str = "") -> list[str]:
    """Return a line for each file or folder that a configuration names and that is of no use.

    Parameters
    ----------
    config
        The configuration.
    source
        Name of the configuration in messages.
    stored_in
        Where in object storage the study is; empty where it is not.
    """
    expression = misplaced_sources(config.cohort.expression, source)
    masks = mask_problems(config.slides.masks, source)
    masks += mask_problems(config.slides.regions, source, key="slides.regions")
    return [*_missing_files(config, source, stored_in), *expression, *masks, *_feature_problems(config, source)]


def _missing_files(config: Config, source: str, stored_in: str) -> list[str]:
    """Return a line for each file that the configuration names and that is missing; the demo draws its own."""
    named = {f"cohort.expression.{number}.path": entry.path for number, entry in enumerate(config.cohort.expression)}
    named |= {
        f"cohort.expression.{number}.path": next((file for file in files if not Path(file).exists()), entry.path)
        for number, entry in enumerate(config.cohort.expression)
        if Path(entry.path).is_dir() and (files := source_files(entry.path, format=entry.format))
    }
    named |= {"stain.target": config.stain.target, **config.set_files()}
    named |= {
        f"cohort.expression.{number}.sample_sheet": entry.sample_sheet
        for number, entry in enumerate(config.cohort.expression)
        if entry.sample_sheet
    }
    if stored_in:
        named |= {"cohort.samples": config.cohort.samples, "cohort.cases": config.cohort.cases}
    named = {key: path for key, path in named.items() if path != "builtin" and not is_drawn(path, config)}
    told = {
        key: _no_file(path, may_be_folder=key.startswith("cohort."), stored_in=stored_in) for key, path in named.items()
    }
    return [f"{source}: {key}: {named[key]} {said}" for key, said in told.items() if said]


def _no_file(path: str, *, may_be_folder: bool, stored_in: str) -> str:
    """Return why a path is no file that can be read; empty where it is one. Expression has a check of its own."""
    if not Path(path).exists():
        nor_stored = f", nor in storage below {stored_in}" if stored_in else ""
        return (
            f"is not there{nor_stored}; correct the path (a relative one starts where the configuration is, else where "
            "the command was given)"
        )
    if Path(path).is_dir():
        return "" if may_be_folder else "is a folder; name the file in it"
    return "" if Path(path).is_file() else "is a device or a pipe, not a file; correct the path"


def _unmet_needs(config: Config, tables: CohortTables, source: str) -> list[str]:
    """Return a line for each column or slide that methods need and the tables lack."""
    cohort, reading = config.cohort, [name for name in config.methods if "p" in METHODS[name].modalities]
    of_clinical = clinical_problems(cohort.clinical, tables, cohort.cases)
    return of_clinical + slide_problems(cohort.require, tables, cohort.samples, reading_patches=reading, source=source)


def _feature_problems(config: Config, source: str) -> list[str]:
    """Return a line for each mistake in the source of features that can be found without importing timm."""
    features, preset = config.features, find_preset(config.features.encoder)
    if features.source != "extract":
        files = ".h5 or .pt files" if features.source == VECTORS else ".h5 files"
        message = f"{source}: features.path: {features.path} is not a folder that can be read; name that of the {files}"
        return [] if is_readable_folder(features.path) else [message]
    try:
        check_encoder(features.encoder, features.weights)
        demanded = preset.input_px if preset else None
        check_patch_size(features.encoder, demanded, config.slides.patch_px, features.input_px)
    except UserError as error:
        return [f"{source}: {error}"]
    return []
