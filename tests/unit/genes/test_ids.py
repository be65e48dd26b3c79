"""The ids of a source's profiles: what names of files and a first line say of them, and what the whole file says."""

import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from layouts import ENDING, save, write_gdc, write_ivygap

from ksfusion.core.errors import UserError
from ksfusion.genes.config import ExpressionSource
from ksfusion.genes.expression.all_ids import read_ids
from ksfusion.genes.expression.ids import ids_at_hand

GENES = ["EGFR", "CD3E", "TP53", "MKI67"]
PATIENTS = ["P1", "P2", "P3"]


def source(path, format="matrix", unit="tpm", **more):
    return ExpressionSource(cohort="X", format=format, unit=unit, path=str(path), **more)


def genes_below_each_other(ending=""):
    values = pd.DataFrame(np.arange(12.0).reshape(4, 3) + 0.5, columns=[f"{name}{ending}" for name in PATIENTS])
    return values.assign(gene=GENES)[["gene", *values.columns]]


def patients_below_each_other(name="sample"):
    values = pd.DataFrame(np.arange(12.0).reshape(3, 4) + 0.5, columns=GENES)
    return values.assign(**{name: PATIENTS})[[*GENES, name]]


@pytest.mark.parametrize("wanted", [["P1", "P2"], ["P1", "TCGA-1"], ["TCGA-1"]])
def test_columns_of_a_table_are_ids_that_its_first_line_says(tmp_path, wanted):
    for name in ("m.tsv", "m.csv.gz", "m.zip"):
        there = ids_at_hand(source(save(genes_below_each_other(), tmp_path / name)), wanted)
        assert set(there) == {"gene", *PATIENTS}
        assert read_ids(source(tmp_path / name), wanted) == there


def test_an_ending_of_the_columns_is_no_part_of_the_ids(tmp_path):
    path = save(genes_below_each_other("_tpm"), tmp_path / "m.tsv")
    assert {"P1", "P2", "P3"} <= set(ids_at_hand(source(path, suffix="_tpm"), ["P1"]))
    assert "P1" not in ids_at_hand(source(path), ["P1"])


@pytest.mark.parametrize("name", ["m.csv", "m.parquet", "m.tsv.gz"])
@pytest.mark.parametrize("column", ["sample", "expression_id"])
def test_ids_below_each_other_take_the_whole_file(tmp_path, name, column):
    path = save(patients_below_each_other(column), tmp_path / name)
    for wanted in (["P1"], ["TCGA-1"], ["EGFR"]):  # the last as a gene is called
        assert ids_at_hand(source(path), wanted) is None
        assert read_ids(source(path), wanted) == PATIENTS


def test_a_table_of_columns_that_is_no_text_is_read_too(tmp_path):
    path = save(genes_below_each_other(), tmp_path / "m.parquet")
    assert ids_at_hand(source(path), ["P1"]) is None
    assert read_ids(source(path), ["P1"]) == PATIENTS


def test_gene_counts_have_the_names_of_folders_or_of_the_sample_sheet(tmp_path):
    for uuid in ("aa-1", "bb-2"):
        write_gdc(tmp_path / "files" / uuid / f"{uuid}x{ENDING}")
    folder = source(tmp_path / "files", "gdc-star")
    assert set(ids_at_hand(folder, ["aa-1"])) == set(read_ids(folder)) == {"aa-1", "bb-2"}
    rows = [f"{uuid}\t{uuid}x{ENDING}\tTCGA-{number}-01A" for number, uuid in enumerate(("aa-1", "bb-2"))]
    sheet = tmp_path / "gdc_sample_sheet.tsv"
    sheet.write_text("\n".join(["File ID\tFile Name\tSample ID", *rows]) + "\n")
    named = folder.model_copy(update={"sample_sheet": str(sheet)})
    assert set(ids_at_hand(named, [])) == {"TCGA-0-01A", "TCGA-1-01A"}
    sheet.write_text("\n".join(["File ID\tName\tSample ID", *rows]) + "\n")
    with pytest.raises(UserError, match="no column File Name; it has File ID, Name, Sample ID"):
        ids_at_hand(named, [])


def test_the_atlas_has_its_wells_in_the_first_line(tmp_path):
    table = ["gene_id\\rna_well_id,300,301", "1,0.5,1.5", "2,1,2"]
    folder = write_ivygap(tmp_path / "ivy", genes=[(1, "EGFR"), (2, "CD3E")], table=table)
    assert list(ids_at_hand(source(folder, "ivygap", "fpkm"), ["300"])) == ["300", "301"]


def test_anndata_has_its_obs_names(tmp_path):
    data = anndata.AnnData(np.ones((3, 4), np.float32), obs=pd.DataFrame(index=PATIENTS), var=pd.DataFrame(index=GENES))
    data.write_h5ad(tmp_path / "a.h5ad")
    entry = source(tmp_path / "a.h5ad", "h5ad", "log")
    assert ids_at_hand(entry, ["P1"]) is None
    assert read_ids(entry) == PATIENTS
    (tmp_path / "a.h5ad").write_bytes((tmp_path / "a.h5ad").read_bytes()[:2000])
    with pytest.raises(UserError, match="is not a readable h5ad file"):
        read_ids(entry)


def test_a_download_that_failed_is_told_at_once(tmp_path):
    (tmp_path / "m.tsv").write_text("<html>busy</html>")
    with pytest.raises(UserError, match="is a web page, not data"):
        ids_at_hand(source(tmp_path / "m.tsv"), ["P1"])


def test_nothing_heavy_is_imported_for_it():
    code = "import sys, ksfusion.genes.expression.ids, ksfusion.preflight.profiles as p; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"numpy", "pandas", "pyarrow", "h5py"}.isdisjoint(done.stdout.split())
