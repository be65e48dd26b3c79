"""The report: one self-contained page of tables, figures, ledgers, genes and configuration."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import ksfusion
from ksfusion.core.provenance import as_json
from ksfusion.results.report.answer import answer, question
from ksfusion.results.report.attributions import AttributionSection
from ksfusion.results.report.comparisons import ComparisonSection, comparison_section
from ksfusion.results.report.external import external_sections, external_sentences
from ksfusion.results.report.findings import (
    AUDIT,
    DESCRIPTIONS,
    OF_EXPRESSION,
    OF_GENES,
    OF_SLIDES,
    audit_sections,
    cautions,
    slide_findings,
)
from ksfusion.results.report.gallery import FigureSection, PageFigure, SlideGallery, TitledImage, figure_sections
from ksfusion.results.report.heatmaps import HeatmapGallery
from ksfusion.results.report.localisation import LocalisationSection
from ksfusion.results.report.modalities import ModalitySection
from ksfusion.results.report.policy import content_policy
from ksfusion.results.report.sections import (
    GeneSection,
    ResultSection,
    cohort_layouts,
    oracle_layout,
    result_sections,
    sample_problems,
    slide_problems,
    summarise,
)
from ksfusion.results.report.subgroups import NOTES as SUBGROUP_NOTES
from ksfusion.results.report.subgroups import SECTION as SUBGROUP_SECTION
from ksfusion.results.report.subgroups import subgroup_tables
from ksfusion.results.report.within import within_cohorts
from ksfusion.results.stage_settings import TableName, WriteReportSettings
from ksfusion.results.tables.differences import Comparisons
from ksfusion.results.tables.external import no_drops
from ksfusion.results.tables.layout import PAPER_NOTE, Layout
from ksfusion.results.tables.supplement import lay_out_supplement
from ksfusion.results.wording import in_words, plain

TEMPLATE, STYLE, SCRIPT = (Path(__file__).with_name(f"report.{ending}") for ending in ("html.j2", "css", "js"))
PACKAGES = (
    "torch",
    "torchvision",
    "captum",
    "timm",
    "numpy",
    "pandas",
    "scikit-learn",
    "scikit-survival",
    "statsmodels",
    "scanpy",
    "openslide-python",
    "tiffslide",
    "spams-bin",
    "snakemake",
)


@dataclass(frozen=True)
class ReportContents:
    """What the page is made of.

    Attributes
    ----------
    results
        The long tables of `ksfusion.stages.make_tables`.
    supplement
        That of Table S1.
    slides, samples
        The ledgers; that of the samples as text, empty where a value is missing.
    audit, expression, selection, leakage
        The findings on the tables, on the files of expression, on single values of it and on leakage, as text.
    genes
        The genes of each fold.
    figures, heatmaps, gallery
        The figures, the pictures of attention and those of the slides.
    oracles
        The long table of `ksfusion.stages.score_oracles`, of the demo alone.
    comparisons
        Of the methods with a reference.
    attributions, embeddings
        Which genes the outputs of methods rest on, and what methods make of test samples.
    localisation
        How well methods find what was planted, or annotated, where that is known.
    modalities
        What the methods lose without one of them, where they were audited.
    subgroups
        The table of `ksfusion.stages.make_subgroups`.
    drops
        How far results on external cohorts are below those on the test samples; empty without such cohorts.
    partial
        Table 1 of the test samples with a slide or genes alone, where there are such.
    """

    results: Mapping[TableName, pd.DataFrame]
    supplement: pd.DataFrame
    slides: pd.DataFrame
    samples: pd.DataFrame
    audit: pd.DataFrame
    expression: pd.DataFrame
    selection: pd.DataFrame
    leakage: pd.DataFrame
    genes: Sequence[GeneSection]
    figures: Sequence[PageFigure]
    heatmaps: Sequence[HeatmapGallery]
    gallery: SlideGallery
    oracles: pd.DataFrame | None = None
    comparisons: Comparisons | None = None
    modalities: ModalitySection | None = None
    attributions: AttributionSection | None = None
    embeddings: Sequence[TitledImage] = ()
    localisation: LocalisationSection | None = None
    subgroups: pd.DataFrame | None = None
    drops: pd.DataFrame = field(default_factory=no_drops)
    partial: Sequence[tuple[str, Layout]] = ()


def template_digest() -> str:
    """Return twelve digits that another template, style or script would not have."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in (TEMPLATE, STYLE, SCRIPT))).hexdigest()[:12]


def render_page(contents: ReportContents, settings: WriteReportSettings, made_by: Mapping[str, Any]) -> str:
    """Return the report as one HTML page that needs nothing from elsewhere.

    Parameters
    ----------
    contents
        Results of the earlier stages.
    settings
        The title, the sentences that must stand on the page, and the configuration.
    made_by
        The provenance of the page.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    caveats, titles, table1 = settings.caveats, settings.titles, contents.results["table1"]
    style, script = STYLE.read_text(encoding="utf-8"), SCRIPT.read_text(encoding="utf-8")
    sections = result_sections(contents.results, caveats, titles, contents.comparisons)
    outside = external_sections(
        contents.results,
        contents.supplement,
        contents.drops,
        contents.subgroups,
        tasks=settings.tasks,
        caveats=caveats,
        titles=titles,
        comparisons=contents.comparisons,
    )
    compared = comparison_section(contents.comparisons, titles)
    forests, figures = figure_sections(contents.figures)
    summary = summarise(contents.slides, contents.samples, table1, titles)
    audit = audit_sections(
        {
            AUDIT: contents.audit,
            OF_EXPRESSION: contents.expression,
            OF_GENES: contents.selection,
            OF_SLIDES: slide_findings(contents.slides),
        }
    )
    return environment.get_template(TEMPLATE.name).render(
        title=settings.title or _title_of_tasks(table1, titles),
        notice=settings.notice,
        policy=content_policy(style, script),
        css=style,
        script=script,
        menu=_menu(contents, sections, compared, figures, external=bool(outside)),
        question=question(table1, summary["counts"][0][1], titles),
        answer=answer(table1, contents.comparisons, titles),
        within=within_cohorts(table1, contents.supplement, contents.audit, titles),
        outside=list(external_sentences(table1, contents.drops, titles)),
        external=outside,
        summary=summary,
        caveats=caveats,
        sections=sections,
        comparisons=compared,
        forests=forests,
        oracles=oracle_layout(contents.oracles, titles),
        paper_note=PAPER_NOTE if settings.published == "paper" else None,
        partial=contents.partial,
        cohorts=cohort_layouts(table1, caveats, titles, contents.comparisons),
        supplement=list(
            lay_out_supplement(contents.supplement, settings.tasks, caveats=caveats, comparisons=contents.comparisons)
        ),
        subgroups=subgroup_tables(contents.subgroups, titles, caveats),
        subgroup_section=SUBGROUP_SECTION,
        subgroup_notes=SUBGROUP_NOTES,
        figures=figures,
        modalities=contents.modalities,
        attributions=contents.attributions,
        embeddings=contents.embeddings,
        localisation=contents.localisation,
        heatmaps=contents.heatmaps,
        gallery=contents.gallery,
        slides=slide_problems(contents.slides),
        samples=sample_problems(contents.samples),
        cautions=cautions(contents.audit, contents.expression, contents.selection),
        n_findings=sum(section["count"] for section in audit if section["check"] not in DESCRIPTIONS),
        audit=audit,
        leakage=contents.leakage.to_dict("records"),
        genes=contents.genes,
        configuration=yaml.safe_dump(settings.config, sort_keys=False, allow_unicode=True),
        versions=_versions(made_by["code"]),
        made_by=as_json(made_by),
    )


def _menu(
    contents: ReportContents,
    sections: Sequence[ResultSection],
    compared: ComparisonSection | None,
    figures: Sequence[FigureSection],
    *,
    external: bool,
) -> list[tuple[str, str]]:
    """Return the id and the name of each section."""
    found: list[tuple[str, str] | None] = [
        ("answer", "Question and answer"),
        ("cohort", "Cohort"),
        *((section["id"], section["title"].partition(". ")[0]) for section in sections),
        ("external", "External cohorts") if external else None,
        ("table_s1", "Table S1"),
        ("comparisons", "Differences") if compared else None,
        *((figure["id"], figure["heading"]) for figure in figures),
        ("modalities", "Both modalities?") if contents.modalities else None,
        ("attributions", "Genes that explain") if contents.attributions else None,
        ("heatmaps", "Attention") if contents.heatmaps else None,
        ("overviews", "Slides") if contents.gallery["total"] else None,
        ("slides", "What was left out"),
        ("audit", "Leakage and audit"),
        ("genes", "Genes"),
        ("configuration", "Configuration"),
    ]
    return [entry for entry in found if entry]


def _title_of_tasks(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return a title for a study that has none: what it predicts."""
    *others, last = (in_words(task, titles) for task in table["task"].unique())
    return f"KS-Fusion: {', '.join(others)} and {last}" if others else f"KS-Fusion: {last}"


def _versions(code: str) -> list[tuple[str, str]]:
    """Return the versions of what made the page; a package that is not installed here is left out."""
    versions = [("ksfusion", ksfusion.__version__), ("code of this page", code), ("python", platform.python_version())]
    for package in PACKAGES:
        try:
            versions.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return versions
