"""Drawn downloads of the glioma cohort, each file in its published layout."""

import json
from pathlib import Path

from layouts import ENDING, OLD_SHEET_HEADER, SHEET_HEADER, write_gdc, write_ivygap

GBM, LGG, OLD, UNDATED, NO_SLIDE = "TCGA-06-0125", "TCGA-HT-7470", "TCGA-DU-0001", "TCGA-06-0002", "TCGA-06-0003"
CECCARELLI = ["Case", "Study", "RNAseq", "Histology", "Grade", "Age (years at diagnosis)", "Gender"]
CECCARELLI += ["Survival (months)", "Vital status (1=dead)", "IDH status", "1p/19q codeletion", "IDH/codel subtype"]
TUMOR_DETAILS = "donor_id,tumor_name,molecular_subtype,extent_of_resection,surgery,mgmt_methylation,survival_days,"
TUMOR_DETAILS += "egfr_amplification,initial_kps,age_in_years"
SUB_BLOCK_DETAILS = TUMOR_DETAILS + ",sub_block_id,sub_block_name,study_name,specimen_page_link,data_set_id,"
SUB_BLOCK_DETAILS += "normalized_area_le,normalized_area_it,normalized_area_ct"


def profile_name(number: int) -> str:
    return f"0000000{number}-0000-4000-8000-00000000000{number}"


# folder (file uuid), file, case, sample, tissue
SLIDES = [
    ("s1", f"{GBM}-01Z-00-DX1.AAAA.svs", GBM, f"{GBM}-01Z", "Tumor"),
    ("s2", f"{LGG}-01Z-00-DX1.BBBB.svs", LGG, f"{LGG}-01Z", "Tumor"),
    ("s3", f"{LGG}-02A-01-TS1.CCCC.svs", LGG, f"{LGG}-02A", "Tumor"),
    ("s4", f"{OLD}-01Z-00-DX1.DDDD.svs", OLD, f"{OLD}-01Z", "Tumor"),
    ("s5", f"{GBM}-11A-01-TS1.EEEE.svs", GBM, f"{GBM}-11A", "Normal"),
]
PROFILES = [
    (profile_name(1), f"a{ENDING}", GBM, f"{GBM}-02A", "Tumor"),
    (profile_name(2), f"b{ENDING}", GBM, f"{GBM}-01A", "Tumor"),
    (profile_name(3), f"c{ENDING}", LGG, f"{LGG}-01A", "Tumor"),
    (profile_name(4), f"d{ENDING}", NO_SLIDE, f"{NO_SLIDE}-01A", "Tumor"),
    (profile_name(5), f"e{ENDING}", GBM, f"{GBM}-11A", "Normal"),
    (profile_name(6), f"f{ENDING}", LGG, f"{LGG}-02A", "Tumor"),
]


def write_sheet(path: Path, header: list[str], rows: list[tuple], kind: str) -> None:
    lines = ["\t".join(header)]
    for file_id, name, case, sample, tissue in rows:
        described = [kind, kind, "TCGA-GBM", case, sample]
        newer = [tissue, "Primary", "Solid Tissue", "FFPE"]
        older = ["Solid Tissue Normal" if tissue == "Normal" else "Primary Tumor"]
        lines.append("\t".join([file_id, name, *described, *(newer if header is SHEET_HEADER else older)]))
    path.write_text("\n".join(lines) + "\n")


def draw_tcga(folder: Path) -> Path:
    """Draw slides, expression, sheets, clinical data in both schemas, markers and copy numbers."""
    for file_id, name, *_ in [*SLIDES, ("s6", f"{UNDATED}-01Z-00-DX1.FFFF.svs"), ("s7", "scan.svs")]:
        place = folder / "slides" / file_id
        (place / "logs").mkdir(parents=True)
        (place / name).write_bytes(b"a slide")
        (place / "logs" / f"{name}.parcel").write_bytes(b"what gdc-client leaves")
    (folder / "slides" / "s8").mkdir()
    (folder / "slides" / "s8" / f"{OLD}-01Z-00-DX2.GGGG.svs.partial").write_bytes(b"half a slide")
    for file_id, name, *_ in PROFILES:
        write_gdc(folder / "expression" / file_id / name)
    write_sheet(folder / "gdc_sample_sheet.2025-09-30.tsv", SHEET_HEADER, SLIDES, "Slide Image")
    write_sheet(folder / "gdc_sample_sheet.2023-01-01.tsv", OLD_SHEET_HEADER, PROFILES, "Transcriptome Profiling")

    dead = {"vital_status": "Dead", "days_to_death": 1448, "age_at_index": 63, "sex_at_birth": "female"}
    undated = {"vital_status": "Dead", "days_to_death": None, "gender": "male"}
    since_42 = {
        "submitter_id": LGG,
        "demographic": {"vital_status": "Alive", "age_at_index": 37},
        "diagnoses": [{"tumor_grade": "G2", "age_at_diagnosis": 13700}],
        "follow_ups": [{"days_to_follow_up": 100}, {"days_to_follow_up": 2000}, {"days_to_follow_up": None}],
    }
    cases = [
        {"submitter_id": GBM, "demographic": dead, "diagnoses": [{"tumor_grade": "Not Reported"}]},
        {"demographic": {**undated, "submitter_id": f"{UNDATED}_demographic"}},
        since_42,
        {"submitter_id": "TCGA-99-9999", "demographic": {"vital_status": "Dead"}},
    ]
    (folder / "clinical.cart.2025-09-30.json").write_text(json.dumps(cases))
    columns = ["case_id", "case_submitter_id", "vital_status", "days_to_death", "days_to_last_follow_up", "tumor_grade"]
    row = ["0f2b", OLD, "Alive", "'--", "812", "G2"]
    (folder / "clinical.tsv").write_text("\n".join("\t".join(line) for line in (columns, row, row)) + "\n")

    def marked(case, grade, months, dead, idh, codel):
        return f'{case},TCGA,Yes,"glioma, as read",{grade},50,male,{months},{dead},{idh},{codel},NA'

    lines = ['"Table S1. Clinical data of the TCGA discovery dataset"' + "," * 11, ",".join(CECCARELLI)]
    lines += [marked(GBM, "G4", 47.6, 1, "WT", "non-codel"), marked(LGG, "G3", 60, 0, "Mutant", "codel")]
    lines += [marked(UNDATED, "G4", 10, 1, "NA", "NA"), marked("TCGA-99-9999", "G2", 1, 0, "odd", "NA")]
    (folder / "ceccarelli_S1A.csv").write_text("\n".join(lines) + "\n")

    header = ["Hugo_Symbol", "Entrez_Gene_Id", f"{GBM}-02", f"{GBM}-01", f"{LGG}-01", f"{UNDATED}-01"]
    rows = [["CDKN2B", "1030", "0", "0", "0", "0"], ["CDKN2A", "1029", "0", "-2", "-1", "NA"]]
    (folder / "data_cna.txt").write_text("\n".join("\t".join(line) for line in (header, *rows)) + "\n")
    return folder


def draw_ivygap(folder: Path) -> Path:
    """Draw images, expression, tumours and sub-blocks."""
    wells = [(300173630, "W1-1-2-H.2.01"), (300173636, "W1-1-2-D.2.01"), (305461082, "W22-2-1-A.03")]
    wells += [(304950300, "W22-1-1-F.03")]
    table = ["gene_id\\rna_well_id," + ",".join(str(well) for well, _ in wells), "10,1,2,3,4", "11,0,0,7,1"]
    write_ivygap(folder / "expression", genes=[(10, "EGFR"), (11, "CD3E")], table=table, wells=wells)
    tumours = {
        "W1-1-2": "10865,W1-1-2,Classical,Complete,primary,No,105,Yes,100,66 yrs",
        "W22-1-1": '12997,W22-1-1,"Classical, Neural",Complete,primary,Yes,,Yes,90,52 yrs',
        "W22-2-1": "268091685,W22-2-1,Neural,Complete,recurrent,,,Yes,90,52 yrs",
    }
    (folder / "tumor_details.csv").write_text("\n".join([TUMOR_DETAILS, *tumours.values()]) + "\n")
    sub_blocks = [("W1-1-2", 297710593, "W1-1-2-D.2.01", 100), ("W1-1-2", 297710602, "W1-1-2-D.2.05", 101)]
    sub_blocks += [("W22-1-1", 706838, "W22-1-1-H.03", 102), ("W22-2-1", 301019932, "W22-2-1-B.03", 103)]
    lines = [f"{tumours[tumour]},{number},{name},ISH,link,{data},0,,1" for tumour, number, name, data in sub_blocks]
    (folder / "sub_block_details.csv").write_text("\n".join([SUB_BLOCK_DETAILS, *lines]) + "\n")
    for name in (
        "W1-1-2-D.2.01/1001.jpg",
        "297710602_1002.jpg",
        "W22-1-1-H.03_1003.jpg",
        "W22-2-1-B.03/9.jpg",
        "x.jpg",
    ):
        path = folder / "slides" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")
    return folder
