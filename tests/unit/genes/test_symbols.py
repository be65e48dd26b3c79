"""Gene names: the shipped table of previous symbols, and what becomes of a name that has two meanings."""

import logging

import pandas as pd
import pytest
from layouts import save

from ksfusion.core.resources import resource
from ksfusion.core.storage import read_tsv
from ksfusion.genes import gene_sets, read_expression
from ksfusion.genes.expression.matrix import ABOUT_PATIENTS
from ksfusion.genes.sets.known import bare_name
from ksfusion.genes.sets.shipped import shipped_symbols
from ksfusion.genes.sets.symbols import current_symbols, previous_symbols
from ksfusion.terms.gene_sets import TABLES, VERSIONS

ALIASES = [tables["aliases"] for tables in TABLES.values()]


def test_previous_symbols_table():
    table = pd.concat([read_tsv(resource(name), dtype=str) for name in ALIASES])
    assert table.columns.tolist() == ["previous", "symbol", "source"]
    assert table["previous"].is_unique
    assert not table.isna().any(axis=None)
    # No name of today is anyone's previous name, so that no gene changes into another.
    assert not set(table["previous"]) & (set(gene_sets()["symbol"]) | set(table["symbol"]))
    assert len(previous_symbols()) == len(table)


# Symbols of 2010 to 2018 that HGNC has replaced since.
OUTDATED = {
    "IL8", "IL29", "IL28A", "CXCR7", "DARC", "MLL", "MLL2", "MLL3", "H3F3A", "H3F3B", "HIST1H3B", "WHSC1", "TMEM173",
    "MB21D1", "C10orf54", "CTGF", "CYR61", "FIGF", "PVRL2", "GPR56", "CD97", "EMR1", "EMR2", "CASC5", "MLF1IP", "HN1",
    "PPAP2B", "SEPT3", "SEPT9", "MARCH1", "PARK2", "FYB", "CECR1", "TAZ", "FAIM3", "GIF", "CDC2",
}  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_no_set_holds_a_previous_symbol(version):
    symbols = shipped_symbols(version)
    assert not symbols & (OUTDATED | set(pd.concat(read_tsv(resource(name)) for name in ALIASES)["previous"]))


def test_no_name_of_a_gene_is_that_of_a_fact_about_patients():
    assert not {name.lower() for name in shipped_symbols() | set(previous_symbols())} & ABOUT_PATIENTS


# From the HGNC's records, beside the table: what GENCODE 19 or RefSeq of 2014 still called them.
@pytest.mark.parametrize(
    ("previous", "symbol"),
    [
        ("IL8", "CXCL8"),
        ("CXCR7", "ACKR3"),
        ("TMEM173", "STING1"),
        ("C10orf54", "VSIR"),
        ("MARCH1", "MARCHF1"),
        ("SEPT3", "SEPTIN3"),
        ("H3F3A", "H3-3A"),
        ("MLL2", "KMT2D"),
        ("PPAP2B", "PLPP3"),
        ("HN1", "JPT1"),
        ("CD97", "ADGRE5"),
        ("IL29", "IFNL1"),
        ("WARS", "WARS1"),
        ("SCYB10", "CXCL10"),
        ("CDC2", "CDK1"),
        ("HIST1H3B", "H3C2"),
        ("SCYA2", "CCL2"),
        ("CTGF", "CCN2"),
        ("NOV", "CCN3"),
        ("DDX58", "RIGI"),
        ("FAM19A5", "TAFA5"),
        ("TDGF1", "CRIPTO"),
    ],
)
def test_previous_symbol_becomes_todays(tmp_path, caplog, previous, symbol):
    table = pd.DataFrame({"gene": ["EGFR", previous], "P1": [1.0, 2.0]})
    with caplog.at_level(logging.INFO):
        profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles.loc["P1"].to_dict() == {"EGFR": 1.0, symbol: 2.0}
    assert "1 previous symbols are brought to today's" in caplog.text


def test_previous_symbol_beside_todays_stays_apart_and_is_counted(tmp_path, caplog):
    table = pd.DataFrame({"gene": ["CXCL8", "IL8", "DARC"], "P1": [1.0, 2.0, 3.0]})
    profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    assert profiles.loc["P1"].to_dict() == {"CXCL8": 1.0, "IL8": 2.0, "ACKR1": 3.0}
    assert "1 previous symbols keep their name, the table has today's symbol as well: IL8 (CXCL8)" in caplog.text


def test_two_previous_symbols_of_one_gene_resolve_as_repeated_symbols(tmp_path, caplog):
    table = pd.DataFrame({"gene": ["SDF1", "SDF1B", "EGFR"], "P1": [1.0, 4.0, 0.0], "P2": [2.0, 1.0, 0.0]})
    with caplog.at_level(logging.INFO):
        profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="log")
    # Means 1.5 and 2.5: the second stays.
    assert profiles["CXCL12"].tolist() == [4.0, 1.0]
    assert "1 genes share a symbol with a more expressed one and are dropped" in caplog.text


def test_names_that_are_neither_stay_as_they_are(tmp_path):
    names = ["EGFR", "LINC01234", "ENSG00000999999.3_PAR_Y", " TP53 "]
    assert current_symbols(names, tmp_path) == ["EGFR", "LINC01234", "ENSG00000999999_PAR_Y", "TP53"]
    assert bare_name("ENSG00000146648.18") == "ENSG00000146648"
    assert bare_name("AC012345.1") == "AC012345.1"
    assert bare_name("EGFR|1956") == "EGFR"
    assert bare_name("?|100130426") == "?|100130426"


def test_known_names_are_those_of_the_shipped_tables():
    """Read with the standard library alone, they are what the tables' readers find."""
    from ksfusion.genes.sets.known import known_names
    from ksfusion.genes.sets.shipped import ensembl_symbols

    assert known_names() == {*shipped_symbols(), *ensembl_symbols(), *previous_symbols()}
