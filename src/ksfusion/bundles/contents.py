"""What a bundle says of itself, read without its models: light enough for what plans a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ksfusion.bundles.config import BundleContents, BundleSettings, FoldCalibration, MethodFile
from ksfusion.bundles.manifest import AGAIN, check_manifest
from ksfusion.core.config_block import Block
from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_json
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.methods.own_files import content_digest, method_file
from ksfusion.methods.registry import METHODS, unknown_method

CONTENTS, SETTINGS, STAIN_TARGET = "bundle.json", "settings.yaml", "stain_target.json"
CASES, SLIDES, METRICS, SUBGROUPS = "cases.tsv", "slides.tsv", "metrics.tsv", "subgroups.tsv"
B = TypeVar("B", bound=Block)


def member_folder(folder: Path, fold: int, seed: int) -> Path:
    """Return the folder of a member of a bundle."""
    return folder / f"members/fold{fold}/seed{seed}"


def genes_folder(folder: Path, fold: int) -> Path:
    """Return the folder of the genes of a fold of a bundle."""
    return folder / f"genes/fold{fold}"


def calibration_file(folder: Path, fold: int) -> Path:
    """Return the file of the calibration of a fold of a bundle."""
    return folder / f"calibration/fold{fold}.json"


def training_file(folder: Path, fold: int) -> Path:
    """Return the file of what the training samples of a fold looked like; its arrays stand beside it."""
    return folder / f"training/fold{fold}.json"


def read_contents(folder: Path | str) -> tuple[BundleContents, BundleSettings]:
    """Return what a bundle is and the settings that it was made with, after a look at all its files.

    Raises
    ------
    UserError
        If the folder is no bundle, a file of it is not what the manifest says, or its method is unknown here.
    """
    folder = Path(folder)
    check_manifest(folder)
    contents = read_block(folder / CONTENTS, BundleContents)
    if problem := method_file_problem(contents):
        raise UserError(f"{folder}: {problem}")
    info = METHODS.get(contents.method)
    if info is None:
        raise UserError(f"{folder / CONTENTS}: {unknown_method(contents.method)}; update ksfusion")
    if info.modalities != contents.modalities:
        raise UserError(
            f"{folder / CONTENTS}: method {info.name} reads {info.modalities!r}, not {contents.modalities!r}; {AGAIN}"
        )
    settings = read_block(folder / SETTINGS, BundleSettings)
    wanted = {"p": contents.encoder, "g": settings.genes}
    if missing := [modality for modality in contents.modalities if wanted[modality] is None]:
        what = "encoder" if missing[0] == "p" else "settings of genes"
        raise UserError(f"{folder}: method {info.name} reads {missing[0]!r}, and the bundle has no {what}; {AGAIN}")
    return contents, settings


def file_of_method(method: str, trained: Mapping[str, Any]) -> MethodFile | None:
    """Return the file of a method that is not of this package; None for the others.

    Parameters
    ----------
    method
        Name of the method.
    trained
        The ``config.json`` of a run.

    Raises
    ------
    UserError
        If the models were trained with other code.
    """
    info = METHODS[method]
    if info.file is None:
        return None
    here = method_file(info)["method_file"]
    if trained.get("method_file", {}).get("code") != here.pop("code"):
        raise UserError(f"{info.file}: has changed since the models were trained; run the pipeline again")
    return MethodFile.model_validate(here)


def method_file_problem(contents: BundleContents) -> str:
    """Return why the method of a bundle is not here, where it is of a file of the maker's; empty where it is."""
    wanted, info = contents.method_file, METHODS.get(contents.method)
    if wanted is None:
        return ""
    said = f"method {contents.method} is of the file {wanted.name}, which no bundle holds (SHA-256 {wanted.sha256})"
    if wanted.package:
        said = f"method {contents.method} is of the package {wanted.package}"
    if info is None:
        remedy = "install that" if wanted.package else "get it from who made the bundle, and name it: --methods-from"
        return f"{said}; {remedy}"
    found = content_digest(info.file) if info.file else "of ksfusion itself"
    if found == wanted.sha256:
        return ""
    remedy = "install that version" if wanted.package else "name the file that the bundle was made with"
    return f"{said}, and that given here is another one ({info.file or 'ksfusion'}, {found}); {remedy}"


def read_block(path: Path, kind: type[B]) -> B:
    """Return a file of a bundle, JSON or YAML, as the settings class that it was written from.

    Raises
    ------
    UserError
        If it is not there, or is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: is missing; {AGAIN}")
    values = read_yaml(path) if path.suffix == ".yaml" else read_json(path)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        raise UserError(f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}; {AGAIN}") from None


def read_calibration(folder: Path, fold: int) -> FoldCalibration:
    """Return the calibration of a fold."""
    return read_block(calibration_file(folder, fold), FoldCalibration)
