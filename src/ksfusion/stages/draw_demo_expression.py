"""The expression profiles of the demo cohort, and apart from them the truth."""

from __future__ import annotations

from pathlib import Path

from ksfusion.core.storage import write_tsv
from ksfusion.demo.cohort import SEED, draw_cases, planted_profiles
from ksfusion.demo.config import DrawDemoExpressionSettings
from ksfusion.demo.expression import draw_genes, write_expression
from ksfusion.demo.planted_genes import planted_effects


def draw_demo_expression(output: Path, truth: Path, *, gene_truth: Path, settings: DrawDemoExpressionSettings) -> None:
    """Draw expression profiles of the demo.

    Parameters
    ----------
    output
        Folder that gets gdc/ and ivygap/, in the published layouts.
    truth
        Gets the planted truth of the cases; no stage of the pipeline reads it.
    gene_truth
        Gets what each gene is bound to tell of them (`ksfusion.demo.planted_genes.planted_effects`).
    settings
        Profiles to draw; the demo's table of samples names them.
    """
    profiles = planted_profiles(settings.profiles)
    write_expression(profiles, output, SEED)
    cases = draw_cases(SEED)
    cases = cases[cases["case_id"].isin(set(profiles["case_id"]))]
    write_tsv(cases, truth)
    write_tsv(planted_effects(draw_genes(SEED), cases), gene_truth)
