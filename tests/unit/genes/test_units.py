"""Values that are not of the unit that is declared: told with what was seen, and silence where they are."""

import logging
import zipfile

import numpy as np
import pandas as pd
import pytest
from layouts import save
from small_cases import shared_case

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.genes import gene_sets, read_expression
from ksfusion.genes.config import ReadExpressionSettings
from ksfusion.stages.read_expression import read_expression as read_all_cohorts

GENES = sorted(gene_sets()["symbol"].unique())[:75]
# As an RNA-seq experiment has them: a few genes take most of the reads, and each library is of another size.
RANDOM = np.random.default_rng(0)
MEANS = 10 + RANDOM.gamma(0.4, 4000, 75)
COUNTS = RANDOM.negative_binomial(1, 1 / (1 + MEANS), (12, 75)) * RANDOM.integers(1, 9, (12, 1))
TPM = COUNTS / COUNTS.sum(axis=1, keepdims=True) * 1e6
LOG = np.log2(TPM + 1)
ZSCORES = (LOG - LOG.mean(axis=0)) / LOG.std(axis=0)
MUTATIONS = RANDOM.integers(0, 2, (12, 75))
COPY_NUMBERS = RANDOM.integers(-2, 3, (12, 75))
TABLES = {
    "counts": COUNTS,
    "rsem": COUNTS + 0.37,
    "deep": COUNTS * 9.5,
    "tpm": TPM,
    "fpkm": TPM * 0.4,
    "log": LOG,
    "centred": LOG - LOG.mean(axis=0),
    "zscores": ZSCORES,
    "mutations": MUTATIONS,
    "copies": COPY_NUMBERS,
}


def findings(path, unit, **source):
    """Return the findings of the stage as (check, detail), and what was logged of the file."""
    source = {"cohort": "C", "format": "matrix", "unit": unit, "path": str(path), **source}
    output = path.parent / "profiles.parquet"
    read_all_cohorts(
        output, settings=ReadExpressionSettings(sources=[source]), findings=output.with_name("findings.tsv")
    )
    table = read_tsv(output.with_name("findings.tsv"), dtype=str)
    assert table.columns.tolist() == ["check", "subject", "detail"]
    assert set(table["subject"]) <= {"C"}
    return [tuple(row) for row in table[["check", "detail"]].itertuples(index=False)]


def drawn(folder, values, by_samples=False):
    ids = [f"P{number}" for number in range(len(values))]
    table = pd.DataFrame(values, index=pd.Index(ids, name="case"), columns=GENES)
    return save((table if by_samples else table.T.rename_axis("gene")).reset_index(), folder / "m.csv")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("counts", "counts"),
        ("rsem", "counts"),
        ("tpm", "tpm"),
        ("fpkm", "fpkm"),
        ("log", "log"),
        ("centred", "log"),
        ("zscores", "zscore"),
    ],
)
def test_nothing_is_said_of_the_right_unit(tmp_path, name, unit):
    assert findings(drawn(tmp_path, TABLES[name]), unit) == []


@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [
        ("log", "counts", "declared counts, and the highest value of all 12 profiles is {:.3g}, as of log2 values"),
        ("log", "tpm", "declared tpm, and the highest value of all 12 profiles is {:.3g}, as of log2 values"),
        ("log", "fpkm", "declared fpkm, and the highest value of all 12 profiles is {:.3g}, as of log2 values"),
        ("tpm", "log", "declared log, and the highest value of all 12 profiles is {:.3g}, as of linear values"),
        ("counts", "log", "declared log, and the highest value of all 12 profiles is {:.3g}, as of linear values"),
        ("mutations", "tpm", "all values are whole numbers from 0 to 1, as tables of mutations have; give expression"),
        ("mutations", "log", "all values are whole numbers from 0 to 1, as tables of mutations have; give expression"),
        ("mutations", "counts", "all values are whole numbers from 0 to 1, as tables of mutations have"),
        ("copies", "zscore", "all values are whole numbers from -2 to 2, as tables of mutations or copy numbers have"),
        ("zscores", "log", "declared log, and genes have mean 0 and sd 1, as z-scores have: set unit: zscore"),
        ("log", "zscore", "declared zscore, and no value is below 0 (from 0 to"),
        ("tpm", "counts", "declared counts, and fractions of all 12 profiles add up to a million, as of TPM"),
        ("counts", "tpm", "whole numbers up to {:,.0f}, as of reads; if they are, set unit: counts"),
        ("counts", "fpkm", "whole numbers up to {:,.0f}, as of reads; if they are, set unit: counts"),
        ("deep", "tpm", "TPM add up to a million at most: see what unit they are in"),
    ],
)
@pytest.mark.parametrize("by_samples", [True, False])
def test_another_unit_is_told_with_what_was_seen(tmp_path, caplog, name, unit, said, by_samples):
    path = drawn(tmp_path, TABLES[name], by_samples)
    ((check, detail),) = findings(path, unit)
    assert check == "unit_looks_wrong"
    assert detail.startswith(f"{path}: declared {unit}, and ")
    assert said.format(TABLES[name].max()) in detail
    assert detail in caplog.text


@pytest.mark.parametrize("unit", ["counts", "tpm", "fpkm"])
def test_zscores_in_a_unit_without_negative_values_are_refused_with_what_was_seen(tmp_path, unit):
    share, lowest, highest = (ZSCORES < 0).mean(), ZSCORES.min(), ZSCORES.max()
    with pytest.raises(UserError, match=f"is negative; {unit} cannot be: check unit") as caught:
        read_expression(drawn(tmp_path, ZSCORES), format="matrix", unit=unit)
    seen = f"({share:.1%} of all values are, from {lowest:.3g} to {highest:.3g}, as of z-scores or log ratios)"
    assert seen in str(caught.value)


def test_a_few_profiles_of_another_unit_are_named(tmp_path):
    mixed = TPM.copy()
    mixed[[3, 7]] = LOG[[3, 7]]
    ((_, detail),) = findings(drawn(tmp_path, mixed), "tpm")
    assert f"the highest value of 2 of 12 profiles (P3, P7) is {LOG[[3, 7]].max():.3g}, as of log2 values" in detail
    mixed = LOG.copy()
    mixed[5] = TPM[5]
    ((_, detail),) = findings(drawn(tmp_path, mixed), "log")
    assert f"the highest value of 1 of 12 profiles (P5) is {TPM[5].max():.3g}, as of linear values" in detail


def test_missing_values_change_nothing(tmp_path):
    holes = LOG.copy()
    holes[RANDOM.random(holes.shape) < 0.2] = np.nan
    holes[4] = np.nan
    ((check, detail),) = findings(drawn(tmp_path, holes), "tpm")
    assert check == "unit_looks_wrong" and "the highest value of all 11 profiles" in detail


@pytest.mark.parametrize("unit", ["counts", "tpm"])
def test_genes_without_reads_do_not_hide_logarithms(tmp_path, unit):
    """Of all genes of the genome most have no reads in a tissue."""
    sparse = LOG * (RANDOM.random(LOG.shape) < 0.3)
    ((check, detail),) = findings(drawn(tmp_path, sparse), unit)
    assert check == "unit_looks_wrong" and "all 12 profiles" in detail and "as of log2 values" in detail
    # Few reads are reads.
    assert findings(drawn(tmp_path, RANDOM.poisson(2, (12, 75))), "counts") == []


def test_few_genes_say_nothing(tmp_path):
    path = save(pd.DataFrame({"gene": GENES[:10], "P": LOG[0, :10]}), tmp_path / "m.csv")
    assert findings(path, "counts") == []


@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [
        ("xena_log2.csv", "counts", "the highest value of all 6 profiles is 8.47, as of log2 values"),
        ("xena_log2.csv", "tpm", "the highest value of all 6 profiles is 8.47, as of log2 values"),
        ("xena_log2.csv", "log", None),
        ("tpm_linear.csv", "log", "the highest value of all 6 profiles is 3.54e+05, as of linear values"),
        ("tpm_linear.csv", "tpm", None),
        ("mutations01.csv", "log", "all values are whole numbers from 0 to 1, as tables of mutations have"),
        ("mutations01.csv", "counts", "all values are whole numbers from 0 to 1, as tables of mutations have"),
    ],
)
def test_the_shared_files(tmp_path, name, unit, said):
    path = tmp_path / name
    path.write_bytes(shared_case(f"genes/{name}").read_bytes())
    found = findings(path, unit)
    assert [check for check, _ in found] == (["unit_looks_wrong"] if said else [])
    assert all(said in detail for _, detail in found)


def test_the_real_zscores_are_right_and_the_copy_numbers_beside_them_are_told(real_data, tmp_path, caplog):
    packed = real_data / "omics/tcga_gbmlgg_all_clean.csv.zip"
    with zipfile.ZipFile(packed) as archive:
        (tmp_path / "m.csv").write_bytes(archive.read(archive.namelist()[0]))
    with caplog.at_level(logging.WARNING):
        assert findings(tmp_path / "m.csv", "zscore", suffix="_rnaseq") == []
        ((check, detail),) = findings(tmp_path / "m.csv", "zscore", suffix="_cnv")
    assert check == "unit_looks_wrong" and "whole numbers from -2 to 2" in detail
