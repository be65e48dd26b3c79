"""A report and all that it is made of, from a run of three samples."""

import pandas as pd
from PIL import Image
from run_files import GRADING, ROWS, write_run

from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import write_tsv
from ksfusion.genes.config import Ranking
from ksfusion.results.report.files import ReportFiles
from ksfusion.results.stage_settings import (
    DrawFiguresSettings,
    MakeComparisonsSettings,
    MakeSubgroupsSettings,
    MakeTablesSettings,
    WriteReportSettings,
)
from ksfusion.stages.draw_figures import draw_figures
from ksfusion.stages.draw_genes import draw_genes
from ksfusion.stages.make_comparisons import make_comparisons
from ksfusion.stages.make_subgroups import make_subgroups
from ksfusion.stages.make_tables import make_tables
from ksfusion.stages.write_report import write_report

SCRIPT = "<script>alert(1)</script>"
SLIDES = [
    ("A", "ok", "", 12.0, 5, "ok", "", "automatic", 40, 0.0, 0.0, 0.0),
    ("B", "ok", "", 20.0, 0, "fallback", "too_few_pixels", "external", 50, 0.02, 0.3, 0.0),
    (SCRIPT, "failed", "missing_mpp", float("nan"), 0, "failed", "missing_mpp", "", 0, *[float("nan")] * 3),
]
SLIDE_COLUMNS = ["slide_id", "status", "reason", "tissue_mm2", "repeated_patches", "stain", "stain_reason"]
SLIDE_COLUMNS += ["mask", "tiles", "pen", "fold", "blur"]
SAMPLES = [
    ("S1", "C1", "a", "A", "E1", "ok", ""),
    ("S2", "C1", "a", "B", "E2", "ok", ""),
    ("S3", "C2", "b", "A", "E3", "ok", ""),
    ("S4", "C3", "b", SCRIPT, "E4", "excluded", "missing_mpp"),
    ("S5", "C3", "b", "A", "E5", "excluded", '"><img src=x onerror=alert(1)>'),
]
SAMPLE_COLUMNS = ["sample_id", "case_id", "cohort", "slide_id", "expression_id", "status", "reason"]


def write_heatmaps(folder, seed, sample_ids):
    path = folder / "heatmaps/grading/ksfusion/fold0" / f"seed{seed}" / "heatmaps.tsv"
    table = pd.DataFrame({"sample_id": sample_ids, "heatmap": [f"{sample_id}.png" for sample_id in sample_ids]})
    # The slide of the last one could not be read.
    table["patches"] = [f"patches/{name}" if name != table["heatmap"].iloc[-1] else "" for name in table["heatmap"]]
    write_tsv(table, path)
    (path.parent / "patches").mkdir(exist_ok=True)
    for name in [*table["heatmap"], *filter(None, table["patches"])]:
        Image.new("RGB", (2000, 600), "teal").save(path.parent / name)
    return path


def write_subgroups(folder, runs, rows, settings):
    """Write the table of subgroups of the samples of a run."""
    samples = pd.DataFrame([row[:3] for row in rows], columns=["sample_id", "case_id", "cohort"])
    write_parquet(samples, folder / "samples.parquet", {})
    write_parquet(samples[["case_id"]].drop_duplicates(), folder / "cases.parquet", {})
    tables = {"samples": folder / "samples.parquet", "cases": folder / "cases.parquet"}
    make_subgroups(runs, folder / "tables" / "subgroups.tsv", **tables, settings=settings)
    return folder / "tables" / "subgroups.tsv"


def report_of(
    folder,
    *,
    task=GRADING,
    rows=ROWS,
    title=None,
    published="none",
    notice=None,
    caveats=(),
    alpha=False,
    findings=(("no_label_grading", SCRIPT, "grade unknown"),),
    of_expression=(),
    gene="GENE",
    reference=None,
    modalities=None,
):
    runs = [write_run(folder / "models", task, rows, seed=seed) for seed in range(2)]
    options = {"tasks": [task], "methods": ["snn"], "title": title}
    if reference:
        runs += [write_run(folder / "models", task, reference, method="ksfusion", seed=seed) for seed in range(2)]
        options["methods"] = ["snn", "ksfusion"]
    comparisons = folder / "tables" / "comparisons.tsv"
    compared = MakeComparisonsSettings(tasks=options["tasks"], methods=options["methods"])
    make_comparisons(runs, comparisons, settings=compared)
    tables = ["table1", "table2", "alpha", "table_s1"]
    settings = MakeTablesSettings(**options, published=published, names=tables)
    make_tables(runs, folder / "tables", settings=settings, comparisons=comparisons)
    subgroups = write_subgroups(folder, runs, rows, MakeSubgroupsSettings(tasks=[task], methods=options["methods"]))
    drawn = DrawFiguresSettings(**options)
    draw_figures(runs, folder / "figures", settings=drawn, comparisons=comparisons, subgroups=subgroups)
    if alpha:
        runs = [write_run(folder / "models", task, rows, method="ksfusion-alpha025")]
        options |= {"methods": ["ksfusion-alpha025"]}
        make_tables(runs, folder / "tables", settings=MakeTablesSettings(**options, names=["alpha"]))
        draw_figures(runs, folder / "figures", settings=DrawFiguresSettings(**options, only_alpha=True))
    write_tsv(pd.DataFrame(SLIDES, columns=SLIDE_COLUMNS), folder / "slides.tsv")
    pictures = [("A", "A.png", ""), ("B", "B.png", ""), (SCRIPT, "", "missing_mpp")]
    write_tsv(pd.DataFrame(pictures, columns=["slide_id", "overview", "reason"]), folder / "slides" / "0.tsv")
    for name in ("A", "B"):
        Image.new("RGB", (1200, 900), "pink").save(folder / "slides" / f"{name}.png")
    heatmaps = [write_heatmaps(folder, seed, ["S1", "S2", "S3", "S9"]) for seed in (0, 1)]
    heatmaps.append(write_heatmaps(folder, 2, []))
    write_tsv(pd.DataFrame(SAMPLES, columns=SAMPLE_COLUMNS), folder / "samples.tsv")
    write_tsv(pd.DataFrame(findings, columns=["check", "subject", "detail"]), folder / "audit.tsv")
    write_tsv(pd.DataFrame(of_expression, columns=["check", "subject", "detail"]), folder / "findings.tsv")
    leakage = [
        ("same_file", SCRIPT, "B", "identical; cases C1 and C2", "allowed"),
        ("slides", "", "", "3 files", "fine"),
    ]
    columns = ["check", "first", "second", "detail", "verdict"]
    write_tsv(pd.DataFrame(leakage, columns=columns), folder / "leakage.tsv")
    genes = pd.DataFrame({"symbol": [f"{gene}{i:02d}" for i in range(20)], "rank": range(1, 21), "variance": 1.0})
    genes = genes.assign(category="immune", niche=["tme"] * 16 + ["tumour"] * 4, source="set 7")
    write_tsv(genes, folder / "genes" / "fold0" / "selected.tsv")
    write_tsv(genes.assign(chosen=True), folder / "genes" / "fold0" / "ranking.tsv")
    draw_genes(
        folder / "genes" / "fold0" / "ranking.tsv",
        folder / "figures" / "genes_fold0",
        settings=Ranking(rank="pooled", top_fraction=1.0),
    )
    files = ReportFiles(
        tables=folder / "tables",
        figures=folder / "figures",
        slides=folder / "slides.tsv",
        samples=folder / "samples.tsv",
        audit=folder / "audit.tsv",
        leakage=folder / "leakage.tsv",
        expression_findings=folder / "findings.tsv",
        selected=[folder / "genes" / "fold0" / "selected.tsv"],
        overviews=[folder / "slides" / "0.tsv"],
        heatmaps=heatmaps,
        comparisons=comparisons,
        modalities=modalities,
        subgroups=subgroups,
    )
    write_report(
        files,
        folder / "report.html",
        settings=WriteReportSettings(
            config={"methods": ["snn"], "slides": {"mpp": 0.5, "exclude": [SCRIPT]}},
            notice=notice,
            caveats=caveats,
            alpha=alpha,
            title=title,
            tasks=[task],
            published=published,
        ),
    )
    return (folder / "report.html").read_text(encoding="utf-8")
