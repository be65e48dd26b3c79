"""What the files of published expression data are called: the GDC's STAR gene counts, and IvyGAP's tables."""

from __future__ import annotations

from pathlib import Path

GDC_SUFFIX = ".rna_seq.augmented_star_gene_counts.tsv"
FPKM_TABLE, GENES_TABLE, SAMPLES_TABLE = IVYGAP_FILES = ("fpkm_table.csv", "rows-genes.csv", "columns-samples.csv")


def profile_id(file: Path, folder: Path) -> str:
    """Return the id of a profile of STAR gene counts: the name of the folder that its file lies in, its GDC file uuid.

    Parameters
    ----------
    file
        Path of the file; directly in ``folder`` it is known by its name up to the first dot.
    folder
        The folder of the download.
    """
    return file.parent.name if file.parent != folder else file.name.split(".")[0]
