"""The orders in which genes may be ranked: by variance, or as a flavour of scanpy does."""

from typing import Literal, get_args

Rank = Literal["within_cohort", "pooled", "seurat", "cell_ranger", "seurat_v3", "seurat_v3_paper"]
RANKINGS: tuple[str, ...] = get_args(Rank)
# By what they read.
LOG_FLAVOURS = ("seurat", "cell_ranger")
COUNT_FLAVOURS = ("seurat_v3", "seurat_v3_paper")
