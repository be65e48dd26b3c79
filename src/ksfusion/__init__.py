"""From raw whole-slide images and gene expression to result tables (KS-Fusion, MICCAI 2024)."""

__version__ = "0.2.0"
