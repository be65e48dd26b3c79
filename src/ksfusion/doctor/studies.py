"""What is wrong with a study's configuration and tables: what a run would say before its first job."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ksfusion.core.paths import nearest_above
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.core.workflow import folder_of, parse_settings
from ksfusion.doctor.findings import Finding, from_lines, looked_at
from ksfusion.plan import Plan, make_plan
from ksfusion.preflight.packages import missing_packages, trial_problems
from ksfusion.slides.encoders.hub import check_weights

OF_GENES = ("read_expression", "select_genes", "train_model", "train_together", "search_settings")
OF_SLIDES = ("fit_stain", "extract_features")


@contextlib.contextmanager
def planned_study(config: Path, settings: Sequence[str] = ()) -> Iterator[Plan]:
    """Yield the plan of a study, in whose folder the block runs; where there is none yet, in an empty one.

    Parameters
    ----------
    config
        The configuration.
    settings
        See `ksfusion.core.workflow.parse_settings`.

    Raises
    ------
    UserError
        With a line for each problem of configuration and tables.
    """
    folder, started_in = folder_of(config, settings), Path.cwd()
    values = _merged(read_yaml(config), parse_settings(settings))
    with contextlib.ExitStack() as stack:
        here = (
            folder
            if nearest_above(folder) == folder and folder.is_dir()
            else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        )
        stack.enter_context(contextlib.chdir(here))
        full = started_in / config
        yield make_plan(values, source=str(config), files=[full], started_in=started_in)


def study_findings(plan: Plan, *, weights: bool = True) -> Iterator[Finding]:
    """Yield what was found of a study that can be planned.

    Parameters
    ----------
    plan
        Its plan.
    weights
        Whether to ask for the encoder's weights, which may be a question to the Hugging Face hub.
    """
    tables = plan.tables
    said = f"{len(tables.samples):,} samples of {len(tables.cases):,} cases, {len(tables.slides()):,} slides"
    yield Finding("ok", "tables", said)
    stopping, at_hand = plan.stopping(), plan.lost_profiles()
    yield from from_lines("problem", "slides", stopping)
    told = {*stopping, *at_hand.unreadable, *at_hand.of_all, *at_hand.of_some}
    yield from from_lines("note", "tables", [line for line in plan.warnings() if line not in told])
    yield from looked_at("expression", _profiles, plan)
    reads = plan.extracts and plan.has_slides
    yield from from_lines(
        "problem", "settings", missing_packages(plan.config, {*OF_GENES, *(OF_SLIDES if reads else ())})
    )
    if plan.config.methods_from and find_spec("torch"):
        yield from looked_at("methods", _methods, plan)
    features = plan.config.features
    if weights and reads and features.weights is None:
        yield from looked_at("weights", _weights, features.encoder)


def _profiles(plan: Plan) -> list[Finding]:
    """Return what was found of the profiles that the table of samples names; files are read where need be."""
    from ksfusion.genes.expression.all_ids import read_ids

    lost = plan.lost_profiles(read_ids)
    found = from_lines("problem", "expression", lost.unreadable + lost.of_all)
    found += from_lines("note", "expression", lost.of_some)
    if found or plan.config.demo or not any(row["expression_id"] for row in plan.tables.samples):
        return found
    return [Finding("ok", "expression", "has the profiles that the table of samples names")]


def _methods(plan: Plan) -> list[Finding]:
    return from_lines("problem", "methods", trial_problems(plan.config))


def _weights(encoder: str) -> Finding:
    check_weights(encoder)
    return Finding("ok", "weights", f"of {encoder} are here, or can be had")


def _merged(values: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with changes of single keys."""
    merged = dict(values) if isinstance(values, Mapping) else {}
    for key, value in changes.items():
        merged[key] = _merged(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged
