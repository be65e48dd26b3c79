"""What the sections of the report are told: counts, tables, what was left out and why, genes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import pandas as pd

from ksfusion.results.config import ALL
from ksfusion.results.plots.genes import CAPTION as GENES_CAPTION
from ksfusion.results.plots.genes import NICHE_NAMES
from ksfusion.results.report.gallery import PageImage
from ksfusion.results.stage_settings import TableName
from ksfusion.results.tables.differences import Comparisons
from ksfusion.results.tables.layout import Layout, lay_out
from ksfusion.results.tables.partial import kinds_in
from ksfusion.results.tables.scores import TEST, TITLES
from ksfusion.results.wording import heading
from ksfusion.terms.modalities import MODALITIES, PAIRED
from ksfusion.terms.splits import EXTERNAL

TOP_GENES = 15
ORACLE_NOTES = (
    "Ridge regressions (logistic; Cox) that read what was planted in place of slides and genes, fitted on the training "
    "cases and scored as the methods are.",
    "They say what these few cases allow, not what is in them: docs/demo.md has the oracles of a large cohort.",
)
SECTION_TITLES: dict[TableName, str] = {
    "table1": f"Table 1. {TITLES['table1']}",
    "table2": f"Table 2. {TITLES['table2']}",
    "alpha": TITLES["alpha"],
}
# What became of a slide or sample, in words.
MEANINGS = {
    "missing_file": "the slide's file is not there",
    "unreadable": "the slide cannot be read",
    "truncated": "the slide's file ends too early",
    "missing_mpp": "no physical scale in the table of samples or in the file",
    "implausible_mpp": "the physical scale lies outside of 0.1 to 2.0 micrometres per pixel",
    "too_coarse": "scanned more coarsely than the patches need",
    "too_large": "the image is too large to read without levels",
    "no_tissue": "no tissue found",
    "too_few_tiles": "too little tissue",
    "not_finite": "its features are no finite numbers: see features.precision and the encoder's weights",
    "timeout": "tiling took too long",
    "missing_profile": "no expression profile of that id",
    "missing_label": "the case has no label for any task",
    "excluded_by_pairing": "slide and profile are not both there",
}


class CohortCounts(TypedDict):
    """What was used of a cohort, and the samples left out."""

    cohort: str
    cases: int
    samples: int
    excluded: int


class TestedCounts(TypedDict):
    """How many samples and cases a task was tested on; ``task`` is what it is called."""

    task: str
    samples: int
    cases: int


class Summary(TypedDict):
    """What the run had; ``counts`` holds of each thing how many were used, of how many."""

    counts: list[tuple[str, int, int]]
    by_cohort: list[CohortCounts]
    tested: list[TestedCounts]


class ResultSection(TypedDict):
    """A table in the paper's layout, by sample and by case."""

    id: TableName
    title: str
    samples: Layout
    cases: Layout


class ReasonCount(TypedDict):
    """A reason, in words too, and how often it was given."""

    reason: str
    meaning: str
    count: int


class SlideProblems(TypedDict):
    """Slides that failed, and those whose stain could not be fitted (``fallback``)."""

    total: int
    reasons: list[ReasonCount]
    failed: list[dict[str, str]]
    fallback: list[dict[str, str]]
    repeated: int
    good: int
    tissue: float | None


class SampleProblems(TypedDict):
    """Samples that were left out."""

    reasons: list[ReasonCount]
    excluded: list[dict[str, str]]


class NicheGenes(TypedDict):
    """The genes of a niche: how many, and the first of them (symbol, category, source)."""

    name: str
    count: int
    top: list[dict[str, str]]


class GeneFigure(PageImage):
    """The figure of the genes' ranks."""

    caption: str


class GeneSection(TypedDict):
    """The genes of a fold."""

    fold: str
    total: int
    niches: list[NicheGenes]
    figure: GeneFigure


def summarise(slides: pd.DataFrame, samples: pd.DataFrame, table: pd.DataFrame, titles: Mapping[str, str]) -> Summary:
    """Count what the run had and what it used, from the ledgers and the long table of all methods."""
    external = set(table.loc[table["split"] == EXTERNAL, "cohort"])
    used = samples[samples["status"] == "ok"]
    whole = table[(table["cohort"] == ALL) & (table["fold"] == ALL)]
    counts = whole.groupby(["task", "level"], sort=False)["n"].max()
    return Summary(
        counts=[
            ("Cases", used["case_id"].nunique(), samples["case_id"].nunique()),
            ("Samples", len(used), len(samples)),
            *_paired_count(used),
            ("Slides", int((slides["status"] == "ok").sum()), len(slides)),
            ("Cohorts", used["cohort"].nunique(), samples["cohort"].nunique()),
        ],
        by_cohort=[
            CohortCounts(
                cohort=f"{cohort} (external)" if cohort in external else str(cohort),
                cases=rows.loc[rows["status"] == "ok", "case_id"].nunique(),
                samples=int((rows["status"] == "ok").sum()),
                excluded=int((rows["status"] != "ok").sum()),
            )
            for cohort, rows in samples.groupby("cohort", sort=True)
        ],
        tested=[
            TestedCounts(
                task=heading(task, titles),
                samples=int(counts.get((task, "sample"), 0)),
                cases=int(counts.get((task, "case"), 0)),
            )
            for task in whole["task"].unique()
        ],
    )


def _paired_count(used: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return how many of the samples in use have slide and genes; nothing where all have the same."""
    found = used.get(MODALITIES, pd.Series(dtype=str))
    return [("Samples with slide and genes", int((found == PAIRED).sum()), len(used))] if found.nunique() > 1 else []


def result_sections(
    results: Mapping[TableName, pd.DataFrame],
    caveats: Sequence[str],
    titles: Mapping[str, str],
    comparisons: Comparisons | None = None,
) -> list[ResultSection]:
    """Return the tables in the paper's layout, by sample and by case; those without a method are left out."""
    return [
        ResultSection(
            id=name,
            title=SECTION_TITLES[name],
            samples=lay_out(long, caveats=caveats, titles=titles, comparisons=comparisons),
            cases=lay_out(long, level="case", caveats=caveats, titles=titles, comparisons=comparisons),
        )
        for name, long in results.items()
        if len(long)
    ]


def oracle_layout(table: pd.DataFrame | None, titles: Mapping[str, str]) -> Layout | None:
    """Return the long table of the demo's oracles in the paper's layout, where there is one."""
    return None if table is None else replace(lay_out(table, titles=titles), notes=ORACLE_NOTES)


def cohort_layouts(
    table: pd.DataFrame, caveats: Sequence[str], titles: Mapping[str, str], comparisons: Comparisons | None = None
) -> list[tuple[str, Layout]]:
    """Return a long table in the paper's layout for each cohort of the test samples."""
    cohorts = [cohort for cohort in table.loc[table["split"] == TEST, "cohort"].unique() if cohort != ALL]
    return [
        (cohort, lay_out(table, cohort=cohort, caveats=caveats, titles=titles, comparisons=comparisons))
        for cohort in cohorts
    ]


def partial_layouts(table: pd.DataFrame, caveats: Sequence[str], titles: Mapping[str, str]) -> list[tuple[str, Layout]]:
    """Return a long table in the paper's layout for the test samples with a slide, and for those with genes, alone."""
    return [(kind, lay_out(table, caveats=caveats, titles=titles, modalities=kind)) for kind in kinds_in(table)]


def slide_problems(slides: pd.DataFrame) -> SlideProblems:
    """Count the reasons of failed slides, and list the slides; those with a fallback stain too."""
    failed, good = slides[slides["status"] != "ok"], slides[slides["status"] == "ok"]
    fallback = good[good["stain"] == "fallback"]
    return SlideProblems(
        total=len(slides),
        reasons=_count_reasons(failed["reason"]),
        failed=failed[["slide_id", "reason"]].astype(str).to_dict("records"),
        fallback=fallback[["slide_id", "stain_reason"]].fillna("").astype(str).to_dict("records"),
        repeated=int((good["repeated_patches"] > 0).sum()),
        good=len(good),
        tissue=float(good["tissue_mm2"].median()) if good["tissue_mm2"].notna().any() else None,
    )


def sample_problems(samples: pd.DataFrame) -> SampleProblems:
    """Count the reasons of samples that were left out, and list the samples."""
    excluded = samples[samples["status"] != "ok"]
    return SampleProblems(reasons=_count_reasons(excluded["reason"]), excluded=excluded.to_dict("records"))


def _count_reasons(reasons: Iterable[str | float]) -> list[ReasonCount]:
    """Return the reasons with their meaning, the most frequent first; a reason that is missing is NaN."""
    counts = Counter("no reason given" if pd.isna(reason) else str(reason) for reason in reasons)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ReasonCount(reason=reason, meaning=MEANINGS.get(reason, ""), count=count) for reason, count in ordered]


def gene_section(fold: str, selected: pd.DataFrame, image: PageImage) -> GeneSection:
    """Return the genes of a fold: how many in each niche, the most variable of them, and the figure of their ranks.

    Parameters
    ----------
    fold
        The fold.
    selected
        Its table of the genes selected.
    image
        The figure.
    """
    selected = selected.sort_values(["rank", "symbol"])
    niches = [
        NicheGenes(
            name=NICHE_NAMES.get(niche, niche),
            count=len(rows),
            top=rows.head(TOP_GENES)[["symbol", "category", "source"]].fillna("").to_dict("records"),
        )
        for niche, rows in selected.groupby("niche", sort=False)
    ]
    return GeneSection(fold=fold, total=len(selected), niches=niches, figure=GeneFigure(**image, caption=GENES_CAPTION))
