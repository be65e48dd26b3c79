"""Take over the results of an earlier version whose code gives the same files."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ksfusion
from ksfusion.core.config_block import Block
from ksfusion.core.errors import UserError
from ksfusion.core.job_records import RECORDS, JobRecord, read_records
from ksfusion.core.parquet import read_parquet
from ksfusion.core.resources import PROJECT, resource
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.genes.config import Genes, ReadExpressionSettings
from ksfusion.plan import Plan, make_plan
from ksfusion.slides.config import ExtractFeaturesSettings
from ksfusion.slides.features.cache import FeatureCache, made_of
from ksfusion.slides.features.extraction import SlideWork, plan_work
from ksfusion.slides.reading.slide_files import slide_sources
from ksfusion.slides.stain.profiles import read_profiles
from ksfusion.slides.stain.target import load_target
from ksfusion.stages.read_expression import read_expression
from ksfusion.terms.gene_sets import VERSIONS
from ksfusion.training.config import SearchSettings, TrainModelSettings

log = logging.getLogger(__name__)

# Read once, when a slide is tiled: their sizes are among the settings.
NOT_WATCHED = ("tile_slides", "draw_overviews")
# Written by the same rule: the second is new since 0.1.0.
PROFILES, FINDINGS = Path("results/genes/profiles.parquet"), Path("results/genes/findings.tsv")
# Rules that share the code of another.
SAME_CODE = {"make_alpha_table": "make_tables", "draw_alpha": "draw_figures"}


def adopt(config: Path) -> None:
    """Take over the results here that an earlier version made with the same settings.

    To be run once after an update, where ``results`` and ``.snakemake`` are. What Snakemake recorded of each file is
    compared with what this version would do: the settings must be the same, the code that of a version known to give
    the same files, the inputs unchanged, and all files that it was made from taken over too. Such files are marked as
    current; their content stays, but for the keys of features, by which finished slides are found again.

    Parameters
    ----------
    config
        The configuration that the results were made with.

    Raises
    ------
    UserError
        If there is nothing to take over, or the configuration is not valid.
    """
    values = read_yaml(config)
    plan = make_plan(values if isinstance(values, Mapping) else {}, source=str(config), files=[config])
    records = {record.file: record for record in read_records()}
    if not records:
        raise UserError(f"{RECORDS}: holds no record of finished jobs; call this in the folder that has results/ in it")
    known = json.loads(resource("adopted_codes.json").read_text(encoding="utf-8"))
    judged = {file: _reason_not_to(record, plan, known) for file, record in records.items()}
    reasons = {file: reason for file, reason in judged.items() if reason is not None}
    _pass_on(reasons, records)
    taken = sorted(file for file, reason in reasons.items() if not reason)
    left = Counter(f"{records[file].rule}: {reason}" for file, reason in reasons.items() if reason)
    for file in taken:
        if records[file].rule == "extract_features":
            _rekey(Path(file), plan, [code for of_rule in known.values() for code in of_rule["extract_features"]])
    if str(PROFILES) in taken and not FINDINGS.exists():
        _look_for_findings(plan)
    if taken:
        _mark_as_current(taken, config)
    for reason, count in sorted(left.items()):
        log.info("%d files are left to be made anew, %s", count, reason)
    log.info("%d files are taken over; snakemake --dry-run shows what is left to be done", len(taken))


def _reason_not_to(record: JobRecord, plan: Plan, known: Mapping[str, Mapping[str, list[str]]]) -> str | None:
    """Return why a file is not taken over, empty where nothing speaks against it; None where it is not our business."""
    file, rule = record.file, record.rule
    try:
        wanted = _settings(rule, file, plan)
    except KeyError:
        return None
    codes = {code for of_rule in known.values() for code in of_rule.get(SAME_CODE.get(rule, rule), [])}
    if not any(code in record.params for code in codes):
        return None if _current_code(rule, file, plan) in record.params else "made by another version of the code"
    if not record.finished or not Path(file).exists():
        return "not finished"
    parsed = record.parsed_params()
    if not any(_same_settings(rule, old, wanted) for old in parsed):
        return "other settings"
    if not all(_without_code(told) in map(_without_code, parsed) for told in _identities(rule, file, plan)):
        return "other inputs"
    if rule not in NOT_WATCHED and (changed := next(record.changed_inputs(), None)):
        return f"{changed} has changed since"
    return ""


def _settings(rule: str, file: str, plan: Plan) -> Block:
    """Return the settings that a rule has now; raise KeyError where it, or the run, is not part of the plan."""
    if rule in ("train_model", "search_settings"):
        task, method = Path(file).parts[2:4]
        if task not in plan.config.tasks or method not in plan.trained([*plan.config.methods, *plan.alphas]):
            raise KeyError(file)
        if rule == "train_model":
            return TrainModelSettings.model_validate_json(plan.training_settings(task, method))
        if not (searched := plan.search_settings(task, method)):
            raise KeyError(file)
        return SearchSettings.model_validate_json(searched)
    return plan.stage_settings(rule)


def _current_code(rule: str, file: str, plan: Plan) -> str:
    of_method = rule in ("train_model", "search_settings", "draw_heatmaps", "audit_modalities", "attribute_genes")
    method = Path(file).parts[3] if of_method else None
    if rule == "draw_embeddings":
        method = Path(file).stem.removeprefix("embeddings_").rpartition("_fold")[0]
    return plan.code(SAME_CODE.get(rule, rule), method=method)


def _same_settings(rule: str, old: Any, wanted: Block) -> bool:
    """Return whether recorded settings, in the shape of their version, are those that are wanted."""
    if not isinstance(old, dict):
        return False
    if rule == "read_expression" and "expression" in old:
        old = {"sources": old["expression"], "names": VERSIONS[0]}
    if rule == "check_cohort" and "expression" in old.get("cohort", {}):
        cohort = dict(old["cohort"])
        names = sorted(source["cohort"] for source in cohort.pop("expression"))
        old = {"cohort": cohort, "expression_cohorts": names, "tasks": old["tasks"]}
    try:
        recorded = type(wanted).model_validate(old)
    except ValueError:
        return False
    # There was one version of the gene sets.
    return wanted == (recorded.of_version(VERSIONS[0]) if isinstance(recorded, Genes) else recorded)


def _identities(rule: str, file: str, plan: Plan) -> list[Any]:
    """Return what a rule is told of its inputs beside its settings."""
    batch = Path(file).stem
    told = {
        "tile_slides": lambda: plan.slide_identities(batch),
        "import_tiles": lambda: plan.slide_scales(batch),
        "read_expression": plan.expression_contents,
    }
    return [json.loads(told[rule]())] if rule in told else []


def _without_code(told: Any) -> Any:
    """Return what is told of slides without the code that draws one of the demo's: the text in place of a size."""
    if not isinstance(told, list):
        return told
    return [[*row[:3], "drawn"] if len(row) == 4 and isinstance(row[3], str) else row for row in told]


def _pass_on(reasons: dict[str, str], records: Mapping[str, JobRecord]) -> None:
    """Leave what was made from a file that is not taken over."""
    changed = True
    while changed:
        changed = False
        for file, reason in reasons.items():
            lost = next((name for name in records[file].inputs if reasons.get(name)), None)
            if not reason and lost:
                reasons[file], changed = "what it was made from is made anew", True


def _rekey(file: Path, plan: Plan, codes: list[str]) -> None:
    """Let the features of a batch be found again by the code of today: their keys hold a code version."""
    settings, batch = ExtractFeaturesSettings.model_validate(plan.stage_settings("extract_features")), file.stem
    target = load_target(settings.stain.target, settings.stain.method)

    def work(code: str, device: str) -> list[SlideWork]:
        return plan_work(
            slide_sources(Path(plan.config.cohort.samples)),
            read_parquet(f"results/tiles/{batch}.parquet", columns=["slide_id", "mpp", "digest"]),
            read_profiles(Path(f"results/stain/{batch}.parquet")),
            read_parquet(f"results/patches/{batch}.parquet"),
            made_of(settings, target, code=code, device=device),
            normalise=settings.stain.method != "none",
        )

    keys: dict[str, dict[str, str]] = {}
    for device in ("cpu", "cuda"):
        today = {item.slide_id: item.key for item in work(plan.code("extract_features"), device)}
        for code in codes:
            for item in work(code, device):
                keys.setdefault(item.slide_id, {})[item.key] = today[item.slide_id]
    FeatureCache(file).rekey(keys)


def _look_for_findings(plan: Plan) -> None:
    """Read the expression again for what may be a mistake in it, which 0.1.0 did not write; its profiles stay."""
    settings = ReadExpressionSettings.model_validate(plan.stage_settings("read_expression"))
    with tempfile.TemporaryDirectory() as folder:
        read_expression(Path(folder, PROFILES.name), settings=settings, findings=FINDINGS)


def _mark_as_current(files: list[str], config: Path) -> None:
    command = [sys.executable, "-P", "-m", "snakemake", "--touch", *files, "--snakefile", str(PROJECT / "Snakefile")]
    command += ["--configfile", str(config), "--cores", "1", "--quiet", "all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"snakemake could not mark the files as current; ksfusion {ksfusion.__version__} has left them "
                        f"as they were: {(done.stdout + done.stderr).strip()[-2000:]}")  # fmt: skip
