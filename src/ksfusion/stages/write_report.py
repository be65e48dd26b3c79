"""The report stage: everything that a reader asks of a run, on one page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ksfusion.core.provenance import provenance
from ksfusion.core.storage import read_tsv, write_text
from ksfusion.results.plots.figures import ALPHA_LIST, FIGURE_LIST
from ksfusion.results.report.attributions import attribution_section
from ksfusion.results.report.files import ReportFiles
from ksfusion.results.report.findings import findings_of_folds, read_findings
from ksfusion.results.report.gallery import figure_gallery, page_image, slide_gallery
from ksfusion.results.report.heatmaps import embedding_figures, heatmap_gallery
from ksfusion.results.report.localisation import localisation_section
from ksfusion.results.report.modalities import modality_section
from ksfusion.results.report.page import ReportContents, render_page, template_digest
from ksfusion.results.report.sections import gene_section, partial_layouts
from ksfusion.results.stage_settings import TableName, WriteReportSettings
from ksfusion.results.tables.differences import read_comparisons
from ksfusion.results.tables.external import read_drops
from ksfusion.results.tables.modalities import read_modalities
from ksfusion.results.tables.partial import of_modalities
from ksfusion.results.tables.scores import read_table
from ksfusion.results.tables.subgroups import read_subgroups
from ksfusion.terms.findings import FINDING_COLUMNS


def write_report(files: ReportFiles, output: Path, *, settings: WriteReportSettings) -> None:
    """Write the report as one HTML file that needs nothing from elsewhere.

    Parameters
    ----------
    files
        The files of the stages before.
    output
        The file to write.
    settings
        The title, the sentences that must stand on the page, the configuration, and whether alpha is shown.
    """
    made_by = provenance(__name__, {**settings.record(), "template": template_digest()})
    names: list[TableName] = ["table1", "table2"]
    lists = [FIGURE_LIST]
    if settings.alpha:
        names.append("alpha")
        lists.append(ALPHA_LIST)
    slide_ledger = read_tsv(files.slides, dtype={"slide_id": str})
    no_findings = pd.DataFrame(columns=FINDING_COLUMNS)
    results = {name: read_table(files.tables / f"{name}.tsv") for name in names}
    contents = ReportContents(
        results={name: of_modalities(table) for name, table in results.items()},
        partial=partial_layouts(results["table1"], settings.caveats, settings.titles),
        supplement=read_table(files.tables / "table_s1.tsv"),
        slides=slide_ledger,
        samples=read_tsv(files.samples, dtype=str).fillna(""),
        audit=read_findings(files.audit),
        expression=no_findings if files.expression_findings is None else read_findings(files.expression_findings),
        selection=findings_of_folds(files.gene_findings),
        leakage=read_findings(files.leakage),
        genes=[
            gene_section(
                path.parent.name.removeprefix("fold"),
                read_tsv(path, dtype={"symbol": str}),
                page_image(files.figures / f"genes_{path.parent.name}.png"),
            )
            for path in files.selected
        ],
        figures=figure_gallery([files.figures / name for name in lists]),
        heatmaps=heatmap_gallery(files.heatmaps, report=output, titles=settings.titles),
        gallery=slide_gallery(slide_ledger, files.overviews, report=output),
        oracles=read_table(files.oracles) if files.oracles else None,
        comparisons=read_comparisons(files.comparisons, settings),
        subgroups=read_subgroups(files.subgroups),
        drops=read_drops(files.external),
        localisation=localisation_section(files.localisation, planted=settings.notice is not None),
        attributions=attribution_section(files.attributions, files.figures, settings.tasks),
        embeddings=embedding_figures(files.embeddings),
        modalities=modality_section(
            read_modalities(files.modalities),
            page_image(files.figures / "modalities.png") if files.modalities else None,
            settings.titles,
            settings.caveats,
        ),
    )
    write_text(render_page(contents, settings, made_by), output, made_by)
