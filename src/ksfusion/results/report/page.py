"""The report: one self-contained page of tables, figures, ledgers, genes and configuration."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

import ksfusion
from ksfusion.core.provenance import as_json, provenance
from ksfusion.core.storage import read_tsv, write_text
from ksfusion.results.plots.figures import ALPHA_LIST, FIGURE_LIST
from ksfusion.results.plots.genes import CAPTION as GENES_CAPTION
from ksfusion.results.plots.genes import NICHE_NAMES
from ksfusion.results.plots.style import STYLE
from ksfusion.results.report.findings import audit_sections, cautions, leakage_rows
from ksfusion.results.report.gallery import heatmap_gallery, slide_gallery
from ksfusion.results.tables.layout import PAPER_NOTE, Layout, lay_out, plain
from ksfusion.results.tables.scores import ALL, TITLES, read_table

TEMPLATE = "report.html.j2"
TOP_GENES = 15
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "scikit-learn",
    "scikit-survival",
    "scanpy",
    "openslide-python",
    "tiffslide",
    "spams-bin",
    "snakemake",
)
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
    "timeout": "tiling took too long",
    "missing_profile": "no expression profile of that id",
    "missing_label": "the case has no label for any task",
    "excluded_by_pairing": "slide and profile are not both there",
}


def make_report(
    output: Path,
    *,
    tables: Path,
    figures: Path,
    slides_ledger: Path,
    samples_ledger: Path,
    audit: Path,
    leakage: Path,
    selected_genes: Sequence[Path],
    overviews: Sequence[Path] = (),
    heatmaps: Sequence[Path] = (),
    config: Mapping[str, Any],
    notice: str | None = None,
    caveats: Sequence[str] = (),
    alpha: bool = False,
    title: str = "KS-Fusion: diagnosis, grading and survival of glioma",
) -> None:
    """Write the report as one HTML file that needs nothing from elsewhere.

    Parameters
    ----------
    output
        The file to write.
    tables, figures
        Folders of `ksfusion.results.tables.scores.make_tables` and `ksfusion.results.plots.figures.make_figures`.
    slides_ledger, samples_ledger, audit, leakage
        ``slides.tsv``, ``samples.tsv``, ``cohort/audit.tsv`` and ``cohort/leakage.tsv``.
    selected_genes
        ``genes/fold{fold}/selected.tsv`` of each fold.
    overviews
        ``slides/{batch}.tsv`` of each batch, where slides were read.
    heatmaps
        ``heatmaps/{task}/{method}/fold{fold}/seed{seed}/heatmaps.tsv`` of the runs to show.
    config
        The configuration, as shown.
    notice
        A sentence at the top, such as that the cohort is synthetic.
    caveats
        Sentences that must stand wherever results do.
    alpha
        Show the table and the figures of alpha too.
    title
        The page's title.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    template = hashlib.sha256((Path(__file__).parent / TEMPLATE).read_bytes()).hexdigest()[:12]
    settings = {"config": dict(config), "notice": notice, "caveats": list(caveats), "alpha": alpha, "title": title}
    settings["template"] = template
    made_by = provenance("ksfusion.results.report.page", settings)
    results = {name: read_table(tables / f"{name}.tsv") for name in ["table1", "table2"] + ["alpha"] * alpha}
    slides, samples = read_tsv(slides_ledger), read_tsv(samples_ledger, dtype=str).fillna("")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    page = environment.get_template(TEMPLATE).render(
        title=title,
        notice=notice,
        summary=_summary(slides, samples, results["table1"]),
        caveats=caveats,
        sections=_result_sections(results, caveats),
        paper_note=PAPER_NOTE,
        cohorts=_cohort_layouts(results["table1"], caveats),
        figures=_figures([figures / name for name in [FIGURE_LIST] + [ALPHA_LIST] * alpha]),
        heatmaps=heatmap_gallery(heatmaps, report=output),
        gallery=slide_gallery(slides, overviews, report=output),
        slides=_slide_problems(slides),
        samples=_sample_problems(samples),
        cautions=cautions(audit),
        audit=audit_sections(audit),
        leakage=leakage_rows(leakage),
        genes=[_genes(path, figures) for path in selected_genes],
        configuration=_as_yaml(config),
        versions=_versions(made_by["code"]),
        made_by=as_json(made_by),
    )
    write_text(page, output, made_by)


def _summary(slides: pd.DataFrame, samples: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """Count what the run had and what it used; ``tested`` holds samples and cases by task."""
    used = samples[samples["status"] == "ok"]
    whole = table[(table["cohort"] == ALL) & (table["fold"] == ALL)]
    counts = whole.groupby(["task", "level"], sort=False)["n"].max()
    tested = [
        {"task": task, "samples": counts.get((task, "sample"), 0), "cases": counts.get((task, "case"), 0)}
        for task in whole["task"].unique()
    ]
    return {
        "counts": [
            ("Cases", used["case_id"].nunique(), samples["case_id"].nunique()),
            ("Samples", len(used), len(samples)),
            ("Slides", int((slides["status"] == "ok").sum()), len(slides)),
            ("Cohorts", used["cohort"].nunique(), samples["cohort"].nunique()),
        ],
        "by_cohort": [
            {
                "cohort": cohort,
                "cases": rows.loc[rows["status"] == "ok", "case_id"].nunique(),
                "samples": int((rows["status"] == "ok").sum()),
                "excluded": int((rows["status"] != "ok").sum()),
            }
            for cohort, rows in samples.groupby("cohort", sort=True)
        ],
        "tested": tested,
    }


def _result_sections(results: Mapping[str, pd.DataFrame], caveats: Sequence[str]) -> list[dict[str, Any]]:
    """Return the tables in the paper's layout, by sample and by case; those without a method are left out."""
    titles = {
        "table1": f"Table 1. {TITLES['table1']}",
        "table2": f"Table 2. {TITLES['table2']}",
        "alpha": "Sensitivity to alpha",
    }
    return [
        {
            "id": name,
            "title": titles[name],
            "samples": lay_out(long, caveats=caveats),
            "cases": lay_out(long, level="case", caveats=caveats),
        }
        for name, long in results.items()
        if len(long)
    ]


def _cohort_layouts(table: pd.DataFrame, caveats: Sequence[str]) -> list[tuple[str, Layout]]:
    cohorts = [cohort for cohort in table["cohort"].unique() if cohort != ALL]
    return [(cohort, lay_out(table, cohort=cohort, caveats=caveats)) for cohort in cohorts]


def _figures(lists: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the figures of lists by task, each image as text."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    for path in lists:
        for figure in json.loads(path.read_text(encoding="utf-8")):
            image = _image(path.with_name(f"{figure['name']}.png"))
            by_task.setdefault(figure["task"], []).append({**figure, **image})
    return [{"task": task, "figures": figures} for task, figures in by_task.items()]


def _image(path: Path) -> dict[str, Any]:
    """Return a PNG as text, and its width on the page."""
    image = path.read_bytes()
    # A PNG states its width in bytes 16 to 20; at the screen's 96 dots per inch, text has one size in all figures.
    width = int.from_bytes(image[16:20], "big") * 96 // STYLE["savefig.dpi"]
    return {"image": f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}", "width": width}


def _slide_problems(slides: pd.DataFrame) -> dict[str, Any]:
    """Count the reasons of failed slides, and list the slides; those with a fallback stain too."""
    failed, good = slides[slides["status"] != "ok"], slides[slides["status"] == "ok"]
    failed_rows = failed[["slide_id", "reason"]].astype(str).to_dict("records")
    fallback = good[good["stain"] == "fallback"]
    return {
        "total": len(slides),
        "reasons": _reason_counts(failed["reason"]),
        "failed": failed_rows,
        "fallback": fallback[["slide_id", "stain_reason"]].fillna("").astype(str).to_dict("records"),
        "repeated": int((good["repeated_patches"] > 0).sum()),
        "good": len(good),
        "tissue": float(good["tissue_mm2"].median()) if good["tissue_mm2"].notna().any() else None,
    }


def _sample_problems(samples: pd.DataFrame) -> dict[str, Any]:
    excluded = samples[samples["status"] != "ok"]
    return {"reasons": _reason_counts(excluded["reason"]), "excluded": excluded.to_dict("records")}


def _reason_counts(reasons: pd.Series) -> list[dict[str, Any]]:
    """Return the reasons with their meaning, the most frequent first."""
    counts = reasons.fillna("no reason given").value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"reason": reason, "meaning": MEANINGS.get(reason, ""), "count": count} for reason, count in ordered]


def _genes(path: Path, figures: Path) -> dict[str, Any]:
    """Return the genes of a fold: how many in each niche, the most variable of them, and the figure of their ranks."""
    selected = read_tsv(path, dtype={"symbol": str}).sort_values(["rank", "symbol"])
    niches = [
        {
            "name": NICHE_NAMES.get(niche, niche),
            "count": len(rows),
            "categories": list(rows["category"].value_counts(sort=False).sort_index().items()),
            "top": rows.head(TOP_GENES)[["symbol", "category", "source"]].fillna("").to_dict("records"),
        }
        for niche, rows in selected.groupby("niche", sort=False)
    ]
    fold = path.parent.name
    figure = {**_image(figures / f"genes_{fold}.png"), "caption": GENES_CAPTION}
    return {"fold": fold.removeprefix("fold"), "total": len(selected), "niches": niches, "figure": figure}


def _as_yaml(config: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True)


def _versions(code: str) -> list[tuple[str, str]]:
    """Return the versions of what made the page; a package that is not installed here is left out."""
    versions = [("ksfusion", ksfusion.__version__), ("code of this page", code), ("python", platform.python_version())]
    for package in PACKAGES:
        try:
            versions.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return versions
