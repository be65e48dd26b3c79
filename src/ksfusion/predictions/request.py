"""What a user asks on the command line, written as the configuration of a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ksfusion.bundles.config import BundleContents
from ksfusion.bundles.contents import read_contents
from ksfusion.bundles.encoder import check_encoder
from ksfusion.cohort.user_table import read_user_table
from ksfusion.core.errors import UserError
from ksfusion.core.storage import write_text
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.terms.units import ExpressionFormat, ExpressionUnit

REQUEST = "predict.yaml"
LISTS = (".yaml", ".yml")
# Files of a study, over which predictions would be written.
OF_A_STUDY = ("results/cohort/splits.tsv", "results/models")


class NewExpression(NamedTuple):
    """Where new profiles are: a path, and its format and unit where the bundle does not tell them."""

    path: Path | None
    format: ExpressionFormat | None
    unit: ExpressionUnit | None


def write_request(
    bundle: Path,
    samples: Path,
    output: Path,
    expression: NewExpression,
    *,
    weights: Path | None = None,
    features: Path | None = None,
    masks: Path | None = None,
) -> Path:
    """Write ``predict.yaml`` into the folder of the output, all paths in full, and return it.

    Parameters
    ----------
    bundle, samples, output
        The folder of the bundle, the table of samples, and the folder of the output.
    expression
        Where profiles are.
    weights, features, masks
        See `ksfusion.predictions.config.Prediction`.

    Raises
    ------
    UserError
        If the bundle is none, its encoder is not here, the output cannot be its folder, or the sources of expression
        are not told.
    """
    contents, settings = read_contents(bundle)
    _check_output(output, bundle)
    check_encoder(contents, settings, weights)
    given: dict[str, Any] = {"bundle": bundle, "samples": samples, "weights": weights}
    given |= {"features": features, "masks": masks}
    values: dict[str, Any] = {name: str(path.resolve()) for name, path in given.items() if path is not None}
    if sources := _sources(expression, samples, contents):
        values["expression"] = sources
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # Snakemake keeps what its jobs were given: an equal file is no new one.
    if not (output / REQUEST).is_file() or (output / REQUEST).read_text(encoding="utf-8") != text:
        write_text(text, output / REQUEST)
    return output / REQUEST


def _check_output(output: Path, bundle: Path) -> None:
    """Raise UserError where predictions would be written into a bundle, or over a study."""
    if output.resolve().is_relative_to(bundle.resolve()):
        raise UserError(f"--output {output}: lies in the bundle; name another folder")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is not a folder; name one")
    if found := next((name for name in OF_A_STUDY if (output / name).exists()), None):
        raise UserError(f"--output {output}: holds a study ({found}); give the predictions a folder of their own")


def _sources(expression: NewExpression, samples: Path, contents: BundleContents) -> list[dict[str, Any]]:
    """Return the sources of expression, one for each cohort."""
    path = expression.path
    if path is None or "g" not in contents.modalities:
        return []
    if path.suffix.lower() in LISTS:
        return _listed(path)
    trained = {entry.cohort: entry for entry in contents.expression}
    sources = []
    for cohort in _cohorts_with_profiles(samples):
        known = trained.get(cohort)
        format, unit = expression.format or (known and known.format), expression.unit or (known and known.unit)
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


def _cohorts_with_profiles(samples: Path) -> list[str]:
    """Return the cohorts of the samples that name a profile; what is wrong with the table is told when it is read."""
    rows = read_user_table(str(samples)).rows
    return sorted({row.get("cohort", "") for row in rows if row.get("expression_id")} - {""})
