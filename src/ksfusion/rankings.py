"""The orders in which genes may be ranked: by variance, or as a flavour of scanpy does."""

# By what they read.
LOG_FLAVOURS = ("seurat", "cell_ranger")
COUNT_FLAVOURS = ("seurat_v3", "seurat_v3_paper")
RANKINGS = ("within_cohort", "pooled", *LOG_FLAVOURS, *COUNT_FLAVOURS)
