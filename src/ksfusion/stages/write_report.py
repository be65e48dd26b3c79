"""The report stage: everything that a reader asks of a run, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_text
from ksfusion.results.config import TableName, WriteReportSettings
from ksfusion.results.plots.figures import ALPHA_LIST, FIGURE_LIST
from ksfusion.results.report.attributions import attribution_section
from ksfusion.results.report.findings import findings_of_folds, read_findings
from ksfusion.results.report.gallery import figure_gallery, page_image, slide_gallery
from ksfusion.results.report.heatmaps import embedding_figures, heatmap_gallery
from ksfusion.results.report.localisation import localisation_section
from ksfusion.results.report.modalities import modality_section
from ksfusion.results.report.page import ReportContents, render_page, template_digest
from ksfusion.results.report.sections import gene_section, partial_layouts
from ksfusion.results.tables.differences import read_comparisons
from ksfusion.results.tables.external import read_drops
from ksfusion.results.tables.modalities import read_modalities
from ksfusion.results.tables.partial import of_modalities
from ksfusion.results.tables.scores import read_table
from ksfusion.results.tables.subgroups import read_subgroups
from ksfusion.terms.findings import FINDING_COLUMNS


def write_report(
    output: Path,
    *,
    tables: Path,
    figures: Path,
    slides: Path,
    samples: Path,
    audit: Path,
    leakage: Path,
    selected: Sequence[Path],
    settings: WriteReportSettings,
    expression_findings: Path | None = None,
    gene_findings: Sequence[Path] = (),
    overviews: Sequence[Path] = (),
    heatmaps: Sequence[Path] = (),
    oracles: Path | None = None,
    comparisons: Path | None = None,
    modalities: Path | None = None,
    localisation: Path | None = None,
    attributions: Sequence[Path] = (),
    embeddings: Sequence[Path] = (),
    subgroups: Path | None = None,
    external: Path | None = None,
) -> None:
    """Write the report as one HTML file that needs nothing from elsewhere.

    Parameters
    ----------
    output
        The file to write.
    tables
        Folder of the tables of `make-tables`.
    figures
        Folder of the figures of `draw-figures` and `draw-genes`.
    slides
        Ledger of the slides, of `write-ledger`.
    samples
        Ledger of the samples, of `write-ledger`.
    audit
        Findings of `check-cohort`.
    leakage
        Findings of `check-leakage`.
    selected
        ``genes/fold{fold}/selected.tsv`` of each fold.
    settings
        The title, the sentences that must stand on the page, the configuration, and whether alpha is shown.
    expression_findings
        Findings of `read-expression`.
    gene_findings
        Findings of `check-expression` in each fold.
    overviews
        ``slides/{batch}.tsv`` of each batch, where slides were read.
    heatmaps
        ``heatmaps/{task}/{method}/fold{fold}/seed{seed}/heatmaps.tsv`` of the runs to show.
    oracles
        The table of `score-oracles`, of the demo alone.
    comparisons
        The table of `make-comparisons`.
    localisation
        The table of `make-localisation`, where it is known what patches show.
    attributions
        The tables of `attribute-genes`, whose figures stand among the others.
    embeddings
        The figures of `draw-embeddings`, PNG.
    modalities
        The table of `make-modalities`, whose figure stands among the others; none where nothing was audited.
    subgroups
        The table of `make-subgroups`.
    external
        The table of drops of `make-tables`; none without external cohorts.
    """
    made_by = provenance(__name__, {**settings.record(), "template": template_digest()})
    names: list[TableName] = ["table1", "table2"]
    lists = [FIGURE_LIST]
    if settings.alpha:
        names.append("alpha")
        lists.append(ALPHA_LIST)
    slide_ledger = read_tsv(slides, dtype={"slide_id": str})
    no_findings = pd.DataFrame(columns=FINDING_COLUMNS)
    results = {name: read_table(tables / f"{name}.tsv") for name in names}
    contents = ReportContents(
        results={name: of_modalities(table) for name, table in results.items()},
        partial=partial_layouts(results["table1"], settings.caveats, settings.titles),
        supplement=read_table(tables / "table_s1.tsv"),
        slides=slide_ledger,
        samples=read_tsv(samples, dtype=str).fillna(""),
        audit=read_findings(audit),
        expression=no_findings if expression_findings is None else read_findings(expression_findings),
        selection=findings_of_folds(gene_findings),
        leakage=read_findings(leakage),
        genes=[
            gene_section(
                path.parent.name.removeprefix("fold"),
                read_tsv(path, dtype={"symbol": str}),
                page_image(figures / f"genes_{path.parent.name}.png"),
            )
            for path in selected
        ],
        figures=figure_gallery([figures / name for name in lists]),
        heatmaps=heatmap_gallery(heatmaps, report=output, titles=settings.titles),
        gallery=slide_gallery(slide_ledger, overviews, report=output),
        oracles=read_table(oracles) if oracles else None,
        comparisons=read_comparisons(comparisons, settings),
        subgroups=read_subgroups(subgroups),
        drops=read_drops(external),
        localisation=localisation_section(localisation, planted=settings.notice is not None),
        attributions=attribution_section(attributions, figures, settings.tasks),
        embeddings=embedding_figures(embeddings),
        modalities=modality_section(
            read_modalities(modalities),
            page_image(figures / "modalities.png") if modalities else None,
            settings.titles,
            settings.caveats,
        ),
    )
    write_text(render_page(contents, settings, made_by), output, made_by)
