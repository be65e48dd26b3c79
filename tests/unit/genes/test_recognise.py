"""Formats and units of expression, recognised by what lies there."""

import numpy as np
import pandas as pd
import pytest
from layouts import ENDING, write_gdc

from ksfusion.core.errors import UserError
from ksfusion.genes import read_expression
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


def test_the_profiles_of_a_renamed_folder_are_those_that_a_run_reads(tmp_path):
    # gdc-client names a folder by the File ID; where one was renamed, the file's own name says which sample it is.
    folder, sheet = tmp_path / "gdc", tmp_path / "gdc_sample_sheet.2026-01-01.tsv"
    write_gdc(folder / "uuid-1" / f"a{ENDING}")
    write_gdc(folder / "renamed" / f"b{ENDING}")
    write_gdc(folder / f"c{ENDING}")
    rows = [("uuid-1", "a", "01A"), ("uuid-2", "b", "02A"), ("uuid-3", "c", "01B"), ("uuid-4", "d", "02B")]
    lines = [f"{file_id}\t{name}{ENDING}\tTCGA-06-0125-{sample}\n" for file_id, name, sample in rows]
    sheet.write_text("File ID\tFile Name\tSample ID\n" + "".join(lines))
    found = recognise(folder)
    assert set(found.ids) == {"TCGA-06-0125-01A", "TCGA-06-0125-02A", "TCGA-06-0125-01B"}
    read = read_expression(folder, format=found.format, unit=found.unit, sample_sheet=found.sample_sheet)
    assert read.index.tolist() == found.ids
    write_gdc(folder / "uuid-5" / f"e{ENDING}")
    with pytest.raises(UserError, match=f"e{ENDING}: is not in the sample sheet {sheet}; download the sheet of"):
        recognise(folder)


def test_what_is_none(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        recognise(tmp_path / "x.csv")
    with pytest.raises(UserError, match="neither a folder of the GDC's"):
        recognise(tmp_path)
