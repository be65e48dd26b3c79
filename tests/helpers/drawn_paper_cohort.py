"""Drawn downloads of the paper's cohort that can be run to the end: slides of tissue, genes of the shipped sets."""

from pathlib import Path

import numpy as np
from drawn_downloads import CECCARELLI, SUB_BLOCK_DETAILS, TUMOR_DETAILS, write_sheet
from layouts import ENDING, SHEET_HEADER, write_gdc, write_ivygap
from PIL import Image
from slide_files import write_slide

from ksfusion.genes import gene_sets

PATIENTS = [f"TCGA-{site}-{number:04d}" for number, site in enumerate(["06", "HT", "DU"] * 12)]
TUMOURS = ["W1-1-1", "W2-1-1", "W3-1-1"]
GRADES = ["G2", "G3", "G4"]
# What only the user knows of IvyGAP's patients.
KNOWN = "case_id\tevent\tgrade\n" + "".join(f"{tumour.split('-')[0]}\t1\tG4\n" for tumour in TUMOURS)


def draw_paper_cohort(folder: Path) -> Path:
    """Draw 36 patients of TCGA and 3 of IvyGAP, each with a slide and a profile, in the layout of docs/data.md."""
    symbols = gene_sets().groupby("niche")["symbol"].head(20).unique().tolist()
    random = np.random.default_rng(0)
    tcga = folder / "tcga"
    slides = [(f"s{n:02d}", f"{case}-01Z-00-DX1.svs", case, f"{case}-01Z", "Tumor") for n, case in enumerate(PATIENTS)]
    profiles = [(f"p{n:02d}", f"{n:02d}{ENDING}", case, f"{case}-01A", "Tumor") for n, case in enumerate(PATIENTS)]
    for number, (file_id, name, *_) in enumerate(slides):
        (tcga / "slides" / file_id).mkdir(parents=True)
        write_slide(tcga / "slides" / file_id / name, tissue(number), 0.5)
    for number, (file_id, name, *_) in enumerate(profiles):
        values = expression(random, len(symbols), number % 3)
        rows = [
            (f"ENSG{n:011d}.1", gene, int(x), x, x) for n, (gene, x) in enumerate(zip(symbols, values, strict=True))
        ]
        write_gdc(tcga / "expression" / file_id / name, rows)
    write_sheet(tcga / "gdc_sample_sheet.2025-09-30.tsv", SHEET_HEADER, slides, "Slide Image")
    write_sheet(tcga / "gdc_sample_sheet.2025-10-01.tsv", SHEET_HEADER, profiles, "Transcriptome Profiling")
    write_clinical(tcga)
    draw_atlas(folder / "ivygap", symbols, random)
    (folder / "known.tsv").write_text(KNOWN)
    return folder


def tissue(number: int) -> np.ndarray:
    """Return tissue in darker and lighter squares, another pattern for each number."""
    random = np.random.default_rng(number)
    tone = np.kron(random.uniform(0.7, 1.2, (10, 10)), np.ones((30, 30)))[..., None]
    rgb = np.array([150, 70, 145]) * tone + random.normal(0, 8, (300, 300, 3))
    return rgb.clip(0, 255).astype(np.uint8)


def expression(random: np.random.Generator, n_genes: int, grade: int) -> np.ndarray:
    """Return values of genes, of which one in three is raised in a grade."""
    raised = np.where(np.arange(n_genes) % 3 == grade, 8.0, 1.0)
    return (random.lognormal(3, 0.5, n_genes) * raised).round(3)


def write_clinical(folder: Path) -> None:
    """Write the GDC's clinical tables, markers and copy numbers: grade by grade death comes sooner."""
    columns = ["case_id", "case_submitter_id", "vital_status", "days_to_death", "days_to_last_follow_up", "tumor_grade"]
    clinical, markers = ["\t".join(columns)], [",".join(CECCARELLI)]
    for number, case in enumerate(PATIENTS):
        grade = number % 3
        clinical.append(
            "\t".join([f"id{number}", case, "Dead", str(2000 - 600 * grade - number), "'--", GRADES[grade]])
        )
        idh, codel = ["Mutant,codel", "Mutant,non-codel", "WT,non-codel"][grade].split(",")
        markers.append(f"{case},TCGA,Yes,glioma,{GRADES[grade]},50,male,10,1,{idh},{codel},NA")
    (folder / "clinical.tsv").write_text("\n".join(clinical) + "\n")
    (folder / "ceccarelli_S1A.csv").write_text("\n".join(markers) + "\n")
    header = ["Hugo_Symbol", "Entrez_Gene_Id", *(f"{case}-01" for case in PATIENTS)]
    calls = ["CDKN2A", "1029", *("-2" if number % 6 == 1 else "0" for number in range(len(PATIENTS)))]
    (folder / "data_cna.txt").write_text("\n".join("\t".join(line) for line in (header, calls)) + "\n")


def draw_atlas(folder: Path, symbols: list[str], random: np.random.Generator) -> None:
    """Draw a tumour of each patient of IvyGAP, with one sub-block that has an image and a profile."""
    wells = [(300000000 + number, f"{tumour}-A.1.01") for number, tumour in enumerate(TUMOURS)]
    values = [expression(random, len(symbols), 2) for _ in TUMOURS]
    table = ["gene_id\\rna_well_id," + ",".join(str(well) for well, _ in wells)]
    table += [f"{10 + row}," + ",".join(str(profile[row]) for profile in values) for row in range(len(symbols))]
    genes = [(10 + row, symbol) for row, symbol in enumerate(symbols)]
    write_ivygap(folder / "expression", genes=genes, table=table, wells=wells)
    details = {
        tumour: f"{n},{tumour},Classical,Complete,primary,No,{300 + n},Yes,100,60 yrs"
        for n, tumour in enumerate(TUMOURS)
    }
    (folder / "tumor_details.csv").write_text("\n".join([TUMOR_DETAILS, *details.values()]) + "\n")
    blocks = [f"{details[t]},{n + 50},{t}-A.1.01,ISH,link,{n},0,,1" for n, t in enumerate(TUMOURS)]
    (folder / "sub_block_details.csv").write_text("\n".join([SUB_BLOCK_DETAILS, *blocks]) + "\n")
    for number, (_, block) in enumerate(wells):
        (folder / "slides" / block).mkdir(parents=True)
        Image.fromarray(tissue(100 + number)).save(folder / "slides" / block / f"{number}.jpg", quality=95)
