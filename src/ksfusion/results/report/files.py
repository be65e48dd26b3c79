"""The files that a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReportFiles:
    """The files of the stages before that a report is made of.

    Parameters
    ----------
    tables
        Folder of the tables of `make-tables`.
    figures
        Folder of the figures of `draw-figures` and `draw-genes`.
    slides
        Ledger of the slides, of `write-ledger`.
    samples
        Ledger of the samples, of `write-ledger`.
    audit
        Findings of `check-cohort`.
    leakage
        Findings of `check-leakage`.
    selected
        ``genes/fold{fold}/selected.tsv`` of each fold.
    expression_findings
        Findings of `read-expression`.
    gene_findings
        Findings of `check-expression` in each fold.
    overviews
        ``slides/{batch}.tsv`` of each batch, where slides were read.
    heatmaps
        ``heatmaps/{task}/{method}/fold{fold}/seed{seed}/heatmaps.tsv`` of the runs to show.
    oracles
        The table of `score-oracles`, of the demo alone.
    comparisons
        The table of `make-comparisons`.
    modalities
        The table of `make-modalities`, whose figure stands among the others; none where nothing was audited.
    localisation
        The table of `make-localisation`, where it is known what patches show.
    attributions
        The tables of `attribute-genes`, whose figures stand among the others.
    embeddings
        The figures of `draw-embeddings`, PNG.
    subgroups
        The table of `make-subgroups`.
    external
        The table of drops of `make-tables`; none without external cohorts.
    """

    tables: Path
    figures: Path
    slides: Path
    samples: Path
    audit: Path
    leakage: Path
    selected: Sequence[Path]
    expression_findings: Path | None = None
    gene_findings: Sequence[Path] = ()
    overviews: Sequence[Path] = ()
    heatmaps: Sequence[Path] = ()
    oracles: Path | None = None
    comparisons: Path | None = None
    modalities: Path | None = None
    localisation: Path | None = None
    attributions: Sequence[Path] = ()
    embeddings: Sequence[Path] = ()
    subgroups: Path | None = None
    external: Path | None = None
