"""What the files of published expression data are called: the GDC's STAR gene counts, and IvyGAP's tables."""

GDC_SUFFIX = ".rna_seq.augmented_star_gene_counts.tsv"
FPKM_TABLE, GENES_TABLE, SAMPLES_TABLE = IVYGAP_FILES = ("fpkm_table.csv", "rows-genes.csv", "columns-samples.csv")
