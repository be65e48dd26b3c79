"""Drawn downloads of CPTAC's glioblastomas, each file in its published layout."""

from pathlib import Path

from drawn_downloads import profile_name
from layouts import ENDING, OLD_SHEET_HEADER, write_gdc

BOTH, TWO, ALONE, KIDNEY = "C3L-00016", "C3N-00545", "C3L-00365", "C3N-00150"
# The columns of the imaging archive's table of slides.
SLIDE_TABLE = ["Case_ID", "Specimen_ID", "Slide_ID", "Tumor", "Topographic_Site", "Specimen_Type", "Weight"]
SLIDE_TABLE += ["Tumor_Site", "Percent_Tumor_Nuclei", "Embedding_Medium", "HasRadiology", "Pathology"]
SLIDES = [
    (BOTH, f"{BOTH}-01", f"{BOTH}-21", "GBM", "tumor_tissue"),
    (BOTH, f"{BOTH}-02", f"{BOTH}-22", "GBM", "tumor_tissue"),
    (TWO, f"{TWO}-03", f"{TWO}-23", "GBM", "tumor_tissue"),
    (TWO, f"{TWO}-06", f"{TWO}-26", "GBM", "normal_tissue"),
    (KIDNEY, f"{KIDNEY}-01", f"{KIDNEY}-21", "CCRCC", "tumor_tissue"),
]
# Of the second case one file is of two samples together.
PROFILES = [
    (profile_name(1), BOTH, f"{BOTH}-02", "Primary Tumor"),
    (profile_name(2), BOTH, f"{BOTH}-01", "Primary Tumor"),
    (profile_name(3), f"{TWO}, {TWO}", f"{TWO}-01, {TWO}-03", "Primary Tumor, Primary Tumor"),
    (profile_name(4), BOTH, f"{BOTH}-06", "Solid Tissue Normal"),
    (profile_name(5), KIDNEY, f"{KIDNEY}-01", "Primary Tumor"),
]
CLINICAL = ["cases.submitter_id", "cases.primary_site", "demographic.vital_status", "demographic.days_to_death"]
CLINICAL += ["demographic.age_at_index", "demographic.gender", "diagnoses.tumor_grade"]
CASES = [
    (BOTH, "Brain", "Dead", "402", "63", "male", "G4"),
    (TWO, "Brain", "Alive", "'--", "57", "female", "GX"),
    (KIDNEY, "Kidney", "Alive", "'--", "61", "male", "G2"),
]


def write_table(path: Path, header: list[str], rows: list[tuple[str, ...]], between: str = "\t") -> None:
    path.write_text("\n".join(between.join(line) for line in (header, *rows)) + "\n")


def draw_cptac(folder: Path) -> Path:
    """Draw slides, their table, expression, its sheet, and the clinical data."""
    for name in (*(row[2] for row in SLIDES), f"{ALONE}-21", "scan"):
        (folder / "slides").mkdir(parents=True, exist_ok=True)
        (folder / f"slides/{name}.svs").write_bytes(b"a slide")
    rest = ("12", "Frontal lobe", "80", "FFPE", "no", "")
    rows = [(case, sample, slide, tumour, "Brain", kind, *rest) for case, sample, slide, tumour, kind in SLIDES]
    write_table(folder / "CPTAC-GBM_cohort.csv", SLIDE_TABLE, rows, ",")
    described = ("Transcriptome Profiling", "Gene Expression Quantification", "CPTAC-3")
    sheet = [(number, f"{number[:8]}{ENDING}", *described, *rest) for number, *rest in PROFILES]
    write_table(folder / "gdc_sample_sheet.2025-09-30.tsv", OLD_SHEET_HEADER, sheet)
    for number, *_ in PROFILES:
        write_gdc(folder / f"expression/{number}/{number[:8]}{ENDING}")
    write_table(folder / "clinical.tsv", CLINICAL, CASES)
    follow_ups = [(BOTH, "100"), (TWO, "250"), (TWO, "731")]
    write_table(folder / "follow_up.tsv", ["cases.submitter_id", "follow_ups.days_to_follow_up"], follow_ups)
    return folder
