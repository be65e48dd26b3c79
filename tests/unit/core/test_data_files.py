"""Files that are no data: archives that become too large, lines and fields without an end, devices."""

import gzip
import json
import os
import zipfile

import pytest

from ksfusion.cohort.glioma.downloads import MissingData, read_rows
from ksfusion.cohort.glioma.gdc_clinical import read_clinical
from ksfusion.cohort.glioma.markers import read_cdkn2a
from ksfusion.cohort.split_files import read_split_file
from ksfusion.cohort.user_table import read_user_table
from ksfusion.core import data_files, memory
from ksfusion.core.data_files import check_is_data, open_data
from ksfusion.core.errors import UserError
from ksfusion.core.memory import check_fits_memory, memory_limit
from ksfusion.genes import gene_sets, read_expression

MIB = 2**20


def write_bomb(path, size, start=b"gene,P1\n", line=b"EGFR,0\n"):
    """Write a table of one row that is repeated until the unpacked file has a size."""
    block = line * (MIB // len(line))
    blocks = [start, *[block] * (size // len(block))]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as file:
            for part in blocks:
                file.write(part)
    else:
        with gzip.open(path, "wb") as file:
            for part in blocks:
                file.write(part)
    return path


READERS = {
    "matrix": lambda path: read_expression(path, format="matrix", unit="tpm"),
    "rows": lambda path: read_rows(path, ("gene",)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zip"])
def test_what_becomes_too_large_is_refused(tmp_path, monkeypatch, reader, name):
    monkeypatch.setattr(data_files, "ALWAYS_FITS", 4 * MIB)
    path = write_bomb(tmp_path / name, 64 * MIB)
    assert path.stat().st_size < MIB / 4
    with pytest.raises(UserError) as caught:
        READERS[reader](path)
    assert str(caught.value).startswith(f"{path}: is packed to 0.") and "MiB unpacked, as no table is" in str(
        caught.value
    )


def test_what_becomes_hundreds_of_mebibytes(tmp_path):
    path = write_bomb(tmp_path / "a.csv.gz", 280 * MIB)
    with pytest.raises(UserError, match=r"is packed to 0\.\d MiB and more than 256 MiB unpacked, as no table is"):
        read_expression(path, format="matrix", unit="tpm")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zip"])
def test_a_table_that_packs_well_is_read_to_its_end(tmp_path, name):
    path = write_bomb(tmp_path / name, 8 * MIB)
    with open_data(path) as file:
        assert file.read(8) == b"gene,P1\n"
        file.seek(0)
        assert len(file.read()) == 8 + 8 * (MIB // 7 * 7)
        file.seek(8)
        assert file.readline() == b"EGFR,0\n"


def test_json_that_becomes_too_large_or_too_deep(tmp_path, monkeypatch):
    (tmp_path / "clinical.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not complete JSON"):
        read_clinical(tmp_path, MissingData())
    monkeypatch.setattr(data_files, "ALWAYS_FITS", MIB)
    (tmp_path / "clinical.json").write_bytes(gzip.compress(json.dumps(["a" * 64 * MIB]).encode()))
    with pytest.raises(UserError, match="unpacked, as no table is"):
        read_clinical(tmp_path, MissingData())


@pytest.mark.parametrize("name", ["/dev/zero", "pipe"])
def test_a_device_or_a_pipe_is_no_file(tmp_path, name):
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    said = f"{path}: is a device or a pipe, not a file; check the path"
    for read in (check_is_data, READERS["matrix"], READERS["rows"]):
        with pytest.raises(UserError, match=said):
            read(path)
    assert read_user_table(str(path)).all_problems() == [said]


LONG = "x" * 200_000


def test_a_line_without_an_end(tmp_path, monkeypatch):
    from ksfusion.genes.expression import header

    monkeypatch.setattr(header, "BLOCK_BYTES", MIB)
    (tmp_path / "m.csv").write_text("gene,P1\n" + "1," * MIB)
    with pytest.raises(UserError, match="has a line of more than 1 MiB; is it a table"):
        read_expression(tmp_path / "m.csv", format="matrix", unit="tpm")


@pytest.mark.parametrize(
    ("text", "row"),
    [(f"gene,{LONG}\nEGFR,1\n", 1), (f'gene,P1\nEGFR,"{LONG}"\n', 2), (f"# a\ngene\t{LONG}\nA\t1\n", 2)],
)
def test_a_field_of_an_expression_table_longer_than_csv_takes(tmp_path, text, row):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(
        UserError, match=rf"m\.csv: row {row}: a field has more than 131,072 characters; is a tab, a line"
    ):
        read_expression(tmp_path / "m.csv", format="matrix", unit="tpm")


@pytest.mark.parametrize("row", [1, 2, 3])
def test_a_field_of_a_users_table_longer_than_csv_takes(tmp_path, row):
    lines = ["case_id\tgrade", "A\tG2", "B\tG3"]
    lines[row - 1] += LONG
    path = tmp_path / "cases.tsv"
    path.write_text("\n".join(lines) + "\n")
    said = "a field has more than 131,072 characters; is a tab, a line break or a closing quote missing?"
    assert read_user_table(str(path)).all_problems() == [f"{path}: row {row}: {said}"]
    with pytest.raises(UserError, match=f"row {row}: a field has more than 131,072 characters"):
        gene_sets(path)
    with pytest.raises(UserError, match=f"row {row}: a field has more than 131,072 characters"):
        read_split_file(path, ["A"], {})


@pytest.mark.parametrize("text", [f"Hugo_Symbol\t{LONG}\nCDKN2A\t-2\n", f"Hugo_Symbol\tS1\nCDKN2A\t{LONG}\n"])
def test_a_field_of_copy_numbers_longer_than_csv_takes(tmp_path, text):
    (tmp_path / "data_cna.txt").write_text(text)
    with pytest.raises(UserError, match=r"data_cna\.txt: is not a regular table \(field larger than field limit"):
        read_cdkn2a(tmp_path, MissingData())


def test_a_field_of_a_comma_separated_split_longer_than_csv_takes(tmp_path):
    path = tmp_path / "splits_0.csv"
    path.write_text(f"train,val,test\nA,{LONG},B\n")
    with pytest.raises(UserError, match=r"splits_0\.csv: row 2: a field has more than 131,072 characters"):
        read_split_file(path, ["A"], {})


def test_the_memory_of_the_job(tmp_path, monkeypatch):
    assert 2**28 < memory_limit() < 2**44
    group = tmp_path / "job_7/step_0"
    group.mkdir(parents=True)
    (tmp_path / "job_7/memory.max").write_text("123456789\n")
    (group / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_group_files", lambda: [group / "memory.max", tmp_path / "job_7/memory.max"])
    assert memory_limit() == 123456789
    check_fits_memory(tmp_path / "a", "they", 123456789)
    with pytest.raises(UserError, match=r"a: they take 1\.0 GiB, and this job can have 0\.1 GiB of memory; keep only"):
        check_fits_memory(tmp_path / "a", "they", 2**30)


def test_a_small_parquet_file_of_a_large_table(tmp_path, monkeypatch):
    import pandas as pd

    table = pd.DataFrame({"gene": ["EGFR"] * 100_000, "P1": 0.0})
    table.to_parquet(tmp_path / "m.parquet")
    monkeypatch.setattr(memory, "memory_limit", lambda: 4 * 200_000 - 1)
    with pytest.raises(UserError, match=r"m\.parquet: 100,000 rows x 2 columns take 0\.0 GiB"):
        read_expression(tmp_path / "m.parquet", format="matrix", unit="tpm")
