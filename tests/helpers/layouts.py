"""Files in the published layouts of the GDC and of IvyGAP, and tables as people save them."""

import gzip
import zipfile
from pathlib import Path

import pandas as pd

GDC_HEADER = ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first", "stranded_second"]
GDC_HEADER += ["tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]
ENDING = ".rna_seq.augmented_star_gene_counts.tsv"
EGFR, CD3E, TP53 = "ENSG00000146648.18", "ENSG00000198851.10", "ENSG00000141510.18"
# gene_id, symbol, count, tpm, fpkm
GDC_ROWS = [(TP53, "TP53", 1, 3.0, 1.0), (EGFR, "EGFR", 3, 7.0, 15.0), (CD3E, "CD3E", 0, 0.0, 0.0)]
SHEET_HEADER = ["File ID", "File Name", "Data Category", "Data Type", "Project ID", "Case ID", "Sample ID"]
SHEET_HEADER += ["Tissue Type", "Tumor Descriptor", "Specimen Type", "Preservation Method"]
OLD_SHEET_HEADER = [*SHEET_HEADER[:7], "Sample Type"]
IVYGAP_SAMPLES = "tumor_id,tumor_name,block_id,block_name,specimen_id,specimen_name,rna_well_id,polygon_id,"
IVYGAP_SAMPLES += "structure_id,structure_abbreviation,structure_color,structure_name"


def write_gdc(path: Path, rows: list[tuple] = GDC_ROWS, *, header: list[str] = GDC_HEADER, comment=True) -> Path:
    """Write (gene_id, symbol, count, tpm, fpkm) rows as the GDC publishes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# gene-model: GENCODE v36"] if comment else []
    lines.append("\t".join(header))
    lines += [f"N_{name}\t\t\t999\t999\t999\t\t\t" for name in ("unmapped", "multimapping", "noFeature", "ambiguous")]
    for gene, symbol, count, tpm, fpkm in rows:
        lines.append("\t".join(map(str, (gene, symbol, "protein_coding", count, 0, count, tpm, fpkm, 7.5))))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_ivygap(folder: Path, *, genes: list[tuple], table: list[str], wells: list[tuple] | None = None) -> Path:
    """Write (gene_id, symbol) rows, the lines of the table and (rna_well_id, specimen_name) rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["gene_id,chromosome,gene_entrez_id,gene_symbol,gene_name"]
    rows += [f'{gene},7,1956,{symbol},"{symbol}, of man"' for gene, symbol in genes]
    (folder / "rows-genes.csv").write_text("\n".join(rows) + "\n")
    (folder / "fpkm_table.csv").write_text("\n".join(table) + "\n")
    wells = wells or [(well, "W1-1-2-D.2.01") for well in table[0].split(",")[1:]]
    rows = [IVYGAP_SAMPLES]
    for well, specimen in wells:
        tumour, block = "-".join(specimen.split("-")[:3]), specimen.rsplit(".", 1)[0]
        rows.append(
            f"703393,{tumour},703397,{block},297710593,{specimen},{well},298727153,1,CT-CD44,FF0000,a structure"
        )
    (folder / "columns-samples.csv").write_text("\n".join(rows) + "\n")
    return folder


def save(table: pd.DataFrame, path: Path) -> Path:
    """Write a table in the form its name asks for."""
    separator = "\t" if ".tsv" in path.name else ","
    text = table.to_csv(sep=separator, index=False)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.name, text)
            # What macOS adds to an archive.
            archive.writestr(f"__MACOSX/._{path.name}", b"\x00\x05\x16\x07")
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        path.write_text(text)
    return path
