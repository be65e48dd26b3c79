"""Whether what a configuration names is there, and of the kind that is wanted."""

from __future__ import annotations

from pathlib import Path

from ksfusion.config import Config
from ksfusion.errors import UserError
from ksfusion.genes.sources import FOLDER_FORMATS, source_files
from ksfusion.slides.presets import check_encoder, check_patch_size, find_preset
from ksfusion.slides.sources import is_readable

# Where the demo's own rule draws its expression.
DEMO_EXPRESSION = "demo/expression"


def file_problems(config: Config, source: str) -> list[str]:
    """Return a line for each file or folder that a configuration names and that is of no use.

    Parameters
    ----------
    config
        The configuration.
    source
        What to call it in messages.
    """
    checks = (_missing_files, _misplaced_expression, _mask_problems, _feature_problems)
    return [problem for check in checks for problem in check(config, source)]


def is_drawn(path: str, config: Config) -> bool:
    """Say whether a source of expression is one that the demo draws."""
    return config.demo and Path(path).is_relative_to(DEMO_EXPRESSION)


def _missing_files(config: Config, source: str) -> list[str]:
    """Say which files the configuration names and are not there; the demo's own are drawn by a rule."""
    named = {f"cohort.expression.{number}.path": entry.path for number, entry in enumerate(config.cohort.expression)}
    named |= {
        f"cohort.expression.{number}.path": next((file for file in files if not Path(file).exists()), entry.path)
        for number, entry in enumerate(config.cohort.expression)
        if Path(entry.path).is_dir() and (files := source_files(entry.path, format=entry.format))
    }
    named |= {"stain.target": config.stain.target, **config.genes.set_files()}
    named |= {
        f"cohort.expression.{number}.sample_sheet": entry.sample_sheet
        for number, entry in enumerate(config.cohort.expression)
        if entry.sample_sheet
    }
    return [
        f"{source}: {key}: {path} is not there; correct the path (relative paths start at the working directory)"
        for key, path in named.items()
        if path != "builtin" and not is_drawn(path, config) and not Path(path).exists()
    ]


def _mask_problems(config: Config, source: str) -> list[str]:
    folder = config.slides.masks
    if folder is None or _is_folder(folder):
        return []
    return [f"{source}: slides.masks: {folder} is not a folder that can be read; correct the path, or leave it out"]


def _is_folder(path: str) -> bool:
    return is_readable(path) and Path(path).is_dir()


def _feature_problems(config: Config, source: str) -> list[str]:
    """Say what is wrong with where features come from, as far as that can be seen without timm."""
    features, preset = config.features, find_preset(config.features.encoder)
    if features.source == "precomputed":
        message = (
            f"{source}: features.path: {features.path} is not a folder that can be read; name that of the .h5 files"
        )
        return [] if _is_folder(features.path) else [message]
    try:
        check_encoder(features.encoder, features.weights)
        check_patch_size(features.encoder, preset.input_px if preset else None, config.slides.patch_px)
    except UserError as error:
        return [f"{source}: {error}"]
    return []


def _misplaced_expression(config: Config, source: str) -> list[str]:
    """Say which expression paths are a file where the format has a folder, or the other way round."""
    problems = []
    for number, entry in enumerate(config.cohort.expression):
        path, wanted = Path(entry.path), "folder" if entry.format in FOLDER_FORMATS else "file"
        if path.exists() and path.is_dir() != (wanted == "folder"):
            remedy = "give the folder that holds the files" if wanted == "folder" else "name the file in it"
            problems.append(
                f"{source}: cohort.expression.{number}.path: {path} is a {'file' if wanted == 'folder' else 'folder'}, "
                f"format {entry.format} wants a {wanted}; {remedy}"
            )
    return problems
