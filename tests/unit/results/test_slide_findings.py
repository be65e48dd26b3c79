"""Findings on slides, as the report shows them."""

import numpy as np
import pandas as pd
import pytest

from ksfusion.results.report.findings import audit_sections, slide_findings
from ksfusion.results.report.sections import MEANINGS
from ksfusion.slides.reading.errors import REASONS
from ksfusion.terms.findings import FINDING_COLUMNS

NOTHING = pd.DataFrame(columns=FINDING_COLUMNS)


@pytest.mark.parametrize("mask", ["automatic", "external", ""])
def test_a_slide_that_is_nearly_all_tissue_is_one(mask):
    shares = {"little": 0.2, "much": 0.89, "nearly_all": 0.93, "all": 1.0, "unknown": np.nan}
    slides = pd.DataFrame({"slide_id": shares.keys(), "tissue_share": shares.values(), "mask": mask})
    found = slide_findings(slides)
    # What the user drew is what the user wanted; no mask at all: features of another tool.
    expected = ["nearly_all", "all"] if mask == "automatic" else []
    assert found["subject"].tolist() == expected
    sections = audit_sections({"results/genes/findings.tsv": NOTHING, "results/slides.tsv": found})
    assert [(one["file"], one["check"], one["count"]) for one in sections] == [
        ("results/slides.tsv", "nearly_all_tissue", 2)
    ] * bool(expected)
    if expected:
        assert found["detail"].iloc[0].startswith("93% of it is taken for tissue")
        assert "slides.masks" in found["detail"].iloc[0]


def test_a_ledger_of_an_earlier_version_has_none():
    assert slide_findings(pd.DataFrame({"slide_id": ["a"], "mask": ["automatic"]})).empty


def test_every_reason_is_told_in_words():
    assert set(REASONS) <= set(MEANINGS)
    assert "features.precision" in MEANINGS["not_finite"]
