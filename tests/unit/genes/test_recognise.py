"""Formats and units of expression, recognised by what lies there."""

import numpy as np
import pandas as pd
import pytest

from ksfusion.core.errors import UserError
from ksfusion.genes.expression.recognise import guess_unit, recognise

GENES = ["EGFR", "TP53", "PTEN", "IDH1"]


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([[10, 0, 3500, 7], [8, 1, 2900, 0]], "counts"),
        ([[9e5, 5e4, 4e4, 1e4 + 0.5], [9e5, 5e4, 4e4, 1e4 - 0.5]], "tpm"),
        ([[120.5, 3.2, 40.1, 0], [99.9, 1.0, 60.2, 1]], "fpkm"),
        ([[3.5, 0, 14.2, 7], [3.1, 1, 13.7, 6]], "log"),
        ([[-1, 0.5, 1, 0], [1, -0.5, -1, 0]], "zscore"),
    ],
)
def test_a_matrix(tmp_path, values, unit):
    path = tmp_path / "expression.csv"
    pd.DataFrame(values, index=["P-1", "P-2"], columns=GENES).T.to_csv(path, index_label="symbol")
    found = recognise(path)
    assert (found.format, found.unit, found.ids, found.guessed) == ("matrix", unit, ["P-1", "P-2"], True)
    assert guess_unit(np.array(values, dtype=np.float32)) == unit


def test_a_folder_of_gene_counts(tmp_path):
    name = "a.rna_seq.augmented_star_gene_counts.tsv"
    for folder in ("uuid-1", "uuid-2"):
        (tmp_path / "gdc" / folder).mkdir(parents=True)
        (tmp_path / "gdc" / folder / name).touch()
    assert recognise(tmp_path / "gdc")[:3] == ("gdc-star", "tpm", ["uuid-1", "uuid-2"])
    sheet = tmp_path / "gdc_sample_sheet.2026-01-01.tsv"
    rows = [f"{folder}\t{name}\tTCGA-02-000{folder[-1]}-01A\n" for folder in ("uuid-1", "uuid-2", "uuid-3")]
    sheet.write_text("File ID\tFile Name\tSample ID\n" + "".join(rows))
    found = recognise(tmp_path / "gdc")
    assert (found.ids, found.sample_sheet) == (["TCGA-02-0001-01A", "TCGA-02-0002-01A"], sheet)


def test_what_is_none(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        recognise(tmp_path / "x.csv")
    with pytest.raises(UserError, match="neither a folder of the GDC's"):
        recognise(tmp_path)
