"""Raw counts, kept through log2(CPM + 1)."""

import numpy as np
import pandas as pd
import pytest
from layouts import ENDING, GDC_ROWS, write_gdc

from ksfusion.cli import main
from ksfusion.genes import collect_profiles
from ksfusion.genes.counts import counts_to_log, log_to_counts
from ksfusion.provenance import as_json
from ksfusion.storage import read_tsv


def there_and_back(counts):
    log_values = counts.astype(np.float32)
    sizes = pd.Series(counts_to_log(log_values))
    return log_to_counts(pd.DataFrame(log_values), sizes).to_numpy()


@pytest.mark.parametrize("depth", [1e5, 1e6, 5e7, 1e9])
def test_counts_come_back_to_the_read(depth):
    random = np.random.default_rng(0)
    counts = np.exp(random.uniform(0, np.log(min(5e5, depth / 100)), (50, 2000))).astype(np.int64)
    counts[random.random(counts.shape) < 0.2] = 0
    # One gene takes what is left of the library.
    counts[:, -1] = 0
    counts[:, -1] = np.maximum(depth - counts.sum(axis=1), 0)
    np.testing.assert_array_equal(there_and_back(counts)[:, :-1], counts[:, :-1])


def test_very_large_counts_come_back_to_a_millionth():
    counts = np.random.default_rng(1).integers(5_000_000, 16_000_000, (20, 100))
    np.testing.assert_allclose(there_and_back(counts), counts, rtol=2e-6)


def test_estimated_counts_are_rounded_and_missing_ones_stay_missing():
    # RSEM's counts have fractions; the size of the library is that of the counts as given.
    values = np.array([[2.4, np.nan, 7.6, 0.0]], np.float32)
    sizes = pd.Series(counts_to_log(values))
    assert sizes[0] == pytest.approx(10)
    np.testing.assert_array_equal(log_to_counts(pd.DataFrame(values), sizes), [[2, np.nan, 8, 0]])


def test_library_sizes_are_of_all_genes_of_a_file_and_of_counts_alone(tmp_path):
    # 1 + 3 reads; STAR's rows of reads without a gene do not count, A1BG does though the other cohort lacks it.
    a1bg = ("ENSG00000121410.12", "A1BG")
    write_gdc(tmp_path / "gdc" / "b" / f"x{ENDING}", [*GDC_ROWS, (*a1bg, 2_000_000, 0, 0)])
    write_gdc(tmp_path / "gdc" / "a" / f"x{ENDING}", [*GDC_ROWS, (*a1bg, 6, 0, 0)])
    # Without any read a profile is left out.
    write_gdc(tmp_path / "gdc" / "c" / f"x{ENDING}", [(*row[:2], 0, 0, 0) for row in [*GDC_ROWS, a1bg]])
    (tmp_path / "estimated.tsv").write_text("gene\tP1\nEGFR\t1.5\nCD3E\t2\n")
    (tmp_path / "tpm.tsv").write_text("gene\tP1\nEGFR\t1\nCD3E\t2\n")
    sources = [
        {"cohort": "T", "format": "matrix", "unit": "tpm", "path": str(tmp_path / "tpm.tsv")},
        {"cohort": "G", "format": "gdc-star", "unit": "counts", "path": str(tmp_path / "gdc")},
        {"cohort": "E", "format": "matrix", "unit": "counts", "path": str(tmp_path / "estimated.tsv")},
    ]
    files = {name: tmp_path / name for name in ("profiles.parquet", "sizes.tsv")}
    arguments = ["--output", str(files["profiles.parquet"]), "--library-sizes", str(files["sizes.tsv"])]
    main(["profiles", "--settings", as_json({"expression": sources}), *arguments])
    sizes = read_tsv(files["sizes.tsv"], dtype={"expression_id": str})
    assert sizes.columns.tolist() == ["cohort", "expression_id", "library_size"]
    assert sizes.to_numpy().tolist() == [["E", "P1", 3.5], ["G", "a", 10], ["G", "b", 2_000_004]]
    collect_profiles(sources[:1], tmp_path / "p.parquet", library_sizes=files["sizes.tsv"])
    assert files["sizes.tsv"].read_text() == "cohort\texpression_id\tlibrary_size\n"
