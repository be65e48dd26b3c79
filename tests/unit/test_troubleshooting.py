"""The page of reason codes has every code that the program knows."""

import ast
import functools
import re
from typing import get_args

import pytest
from project import ROOT

from ksfusion.doctor.findings import Level

# What makes a row, a flag or an error of a code, which it is given first, or as ``check``.
MAKERS = {"Finding", "_finding", "Noted", "LeakageFinding", "_shared", "_duplicates", "CaseFlag", "Flag", "SlideError"}
PAGE = ROOT / "docs/troubleshooting.md"
# A flag of a table that no maker has a name for: in `ksfusion.stages.read_regions`.
WRITTEN_OUT = {"no_features"}


def constants(tree):
    """Return the texts that names of a module stand for: of a mapping all its values."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            target, pairs = node.targets[0], [(node.targets[0], node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
            for name, value in pairs:
                values = value.values if isinstance(value, ast.Dict) else [value]
                found[ast.unparse(name)] = [text.value for text in values if isinstance(text, ast.Constant)]
    return found


@functools.cache
def made_codes():
    """Return the codes that the code gives to what makes rows, flags and errors."""
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "src/ksfusion").rglob("*.py"))]
    shared = {name: values for tree in trees for name, values in constants(tree).items()}
    codes = set()
    for tree in trees:
        known = shared | constants(tree)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in MAKERS:
                first = next((word.value for word in call.keywords if word.arg == "check"), None)
                first = first or (call.args[0] if call.args else None)
                if isinstance(first, ast.Constant):
                    codes.add(first.value)
                elif isinstance(first, ast.JoinedStr):
                    codes.add(re.sub(r"\{\w+\}", "{}", ast.unparse(first)[2:-1]))
                elif isinstance(first, ast.Name | ast.Subscript):
                    codes |= set(known.get(ast.unparse(first).partition("[")[0], []))
    # A finding of ksfusion doctor has its level first.
    return {code for code in codes if re.fullmatch(r"[a-z][a-z_{}]+", str(code))} - set(get_args(Level))


def listed():
    """Return the codes in the first column of the page's tables; what is in braces is left open."""
    rows = re.findall(r"^\| (`.+?`) \|", PAGE.read_text(), re.MULTILINE)
    return {re.sub(r"\{\w+\}", "{}", code) for row in rows for code in re.findall(r"`([^`]+)`", row)}


def test_codes_are_found_in_the_code():
    """A sample of each kind: else the test below would hold of nothing."""
    assert made_codes() >= {
        "missing_file", "same_tumour", "same_file", "unit_looks_wrong", "dead_without_time", "no_label_{}",
        "trained_on", "without_slide", "pairing_same_{}", "rank_by_one_value", "few_patches", "genes_missing_outside",
    }  # fmt: skip


def test_the_page_has_every_code_that_the_code_makes():
    assert made_codes() - listed() == set()


@pytest.mark.parametrize(
    "where",
    [
        "ksfusion.slides.reading.errors.Reason",
        "ksfusion.training.unfinished.Status",
        "ksfusion.bundles.distances.FlagCode",
        "ksfusion.terms.flags.Flag",
        "ksfusion.results.report.sections.MEANINGS",
        "ksfusion.cohort.leakage.REMEDIES",
    ],
)
def test_the_page_has_the_closed_lists(where):
    from importlib import import_module

    module, _, name = where.rpartition(".")
    closed = getattr(import_module(module), name)
    codes = set(closed) if isinstance(closed, dict) else set(get_args(closed))
    assert codes and codes - listed() == set()


def test_the_page_has_no_code_that_the_program_does_not_know():
    text = "\n".join(path.read_text() for path in (ROOT / "src/ksfusion").rglob("*.py"))
    unknown = {code for code in listed() if re.fullmatch(r"[a-z_]+", code) and f'"{code}"' not in text}
    assert unknown == set()
    assert listed() >= WRITTEN_OUT
