"""AnnData files that are damaged, of another kind or too large: one line, and never another gene's values."""

import anndata
import h5py
import numpy as np
import pytest
from scipy import sparse
from small_cases import shared_case

from ksfusion.core import hdf5_probe, memory
from ksfusion.core.errors import UserError
from ksfusion.genes import gene_sets, read_expression

GENES = sorted(gene_sets()["symbol"].unique())[:30]
# Three profiles; the second has nothing of the first gene, the third nothing of the last.
VALUES = np.arange(1, 91, dtype=np.float32).reshape(3, 30)
VALUES[1, 0] = VALUES[2, -1] = 0


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_expression(path, format="h5ad", unit="log")
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


def write(path, x=None, genes=GENES, **parts):
    data = anndata.AnnData(VALUES if x is None else x, **parts)
    data.obs_names, data.var_names = [f"P{number}" for number in range(data.n_obs)], genes
    data.write_h5ad(path)
    return path


def edited(path, name, change):
    """Change a dataset of a file."""
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        change(values)
        file[name][...] = values
    return path


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
def test_a_sparse_matrix_has_the_values_of_its_genes(tmp_path, kind):
    profiles = read_expression(write(tmp_path / "a.h5ad", kind(VALUES)), format="h5ad", unit="log")
    np.testing.assert_array_equal(profiles[GENES], VALUES)


@pytest.mark.parametrize(("kind", "of"), [(sparse.csr_matrix, "30 genes"), (sparse.csc_matrix, "3 profiles")])
@pytest.mark.parametrize("wrong", [-1, 30, 10**6])
def test_an_index_outside_the_genes_is_refused(tmp_path, kind, of, wrong):
    path = write(tmp_path / "a.h5ad", kind(VALUES))

    def change(indices):
        indices[7] = wrong

    assert f"index {wrong} lies outside of its {of}" in refusal(edited(path, "X/indices", change))


def test_indices_that_count_from_one_are_refused_as_such(tmp_path):
    path = write(tmp_path / "a.h5ad", sparse.csr_matrix(VALUES))

    def change(indices):
        indices += 1

    assert "its indices count the 30 genes from 1; they must start at 0" in refusal(edited(path, "X/indices", change))


def test_rows_that_run_backwards_are_refused(tmp_path):
    path = write(tmp_path / "a.h5ad", sparse.csr_matrix(VALUES))

    def change(indptr):
        indptr[1:3] = indptr[2:0:-1]

    assert "X is a damaged sparse matrix" in refusal(edited(path, "X/indptr", change))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("csr-one-based.h5ad", "count the 55 genes from 1"),
        ("csr-index-too-large.h5ad", "index 1000000 lies outside of its 55 genes"),
        ("csr-index-negative.h5ad", "index -1 lies outside of its 55 genes"),
        ("tenx.h5ad", "is a 10x HDF5 matrix, not h5ad; read it with scanpy.read_10x_h5"),
        ("newer.h5ad", "has a part encoded as some-newer-type 0.1.0"),
        ("strings.h5ad", "X holds text, no numbers"),
    ],
)
def test_the_shared_files(name, says):
    assert says in refusal(shared_case(f"genes/{name}"))


def test_a_10x_file_of_either_version(tmp_path):
    for group, names in (("matrix", ["barcodes", "features"]), ("GRCh38", ["barcodes", "genes", "gene_names"])):
        path = tmp_path / f"{group}.h5"
        with h5py.File(path, "w") as file:
            for name in (*names, "data", "indices", "indptr", "shape"):
                file[f"{group}/{name}"] = np.zeros(2, int)
        assert "is a 10x HDF5 matrix, not h5ad" in refusal(path)


def test_a_loom_file_and_another_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "a.loom", "w") as file:
        file["matrix"] = np.zeros((2, 2))
        file.create_group("row_attrs")
        file.create_group("col_attrs")
    assert "is a loom file, not h5ad" in refusal(tmp_path / "a.loom")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["features"] = np.zeros(2)
    assert "is an HDF5 file that is no h5ad: it has features" in refusal(tmp_path / "b.h5")


def test_a_part_of_a_newer_encoding(tmp_path):
    path = write(tmp_path / "a.h5ad", uns={"x": np.zeros(2)})
    with h5py.File(path, "r+") as file:
        file["uns/x"].attrs["encoding-type"] = "some-newer-type"
    assert "a part encoded as some-newer-type 0.2.0, which the anndata installed here cannot read" in refusal(path)


def test_x_that_is_no_matrix_of_numbers(tmp_path):
    path = write(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.array([["1", "x"]] * 3, dtype=h5py.string_dtype())
    assert "X holds text, no numbers" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = np.zeros(3)
    assert "X has 1 dimensions" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        file.create_group("X").attrs["encoding-type"] = "dataframe"
    assert "X is dataframe, no matrix" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
    assert "has no X; write the expression values there" in refusal(path)


def test_a_matrix_larger_than_memory_is_refused_before_it_is_read(tmp_path):
    # 3,000,000 profiles of 60,000 genes are 670 GiB as numbers; the file holds none of them.
    with h5py.File(tmp_path / "dense.h5ad", "w") as file:
        file.create_dataset("X", (3_000_000, 60_000), np.float32, chunks=(1000, 1000))
    said = refusal(tmp_path / "dense.h5ad")
    assert "the values of 3,000,000 profiles x 60,000 genes take 670.6 GiB, and this job can have" in said
    with h5py.File(tmp_path / "sparse.h5ad", "w") as file:
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "shape": [3_000_000, 60_000]})
        x["data"], x["indices"], x["indptr"] = np.zeros(0), np.zeros(0, int), np.zeros(3_000_001, int)
    assert "670.6 GiB" in refusal(tmp_path / "sparse.h5ad")


def test_the_limit_is_that_of_the_job(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5ad")
    monkeypatch.setattr(memory, "memory_limit", lambda: 3 * 30 * 4 - 1)
    assert "the values of 3 profiles x 30 genes take" in refusal(path)
    monkeypatch.setattr(memory, "memory_limit", lambda: 3 * 30 * 4)
    assert read_expression(path, format="h5ad", unit="log").shape == (3, 30)


def test_a_file_that_anndata_cannot_read_whatever_the_reason(tmp_path):
    path = write(tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        del file["var"]
        file["var"] = 5
    assert "is not a readable h5ad file (" in refusal(path)
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes(write(tmp_path / "b.h5ad").read_bytes()[:-2000])
    assert "is not a readable h5ad file (" in refusal(cut)


@pytest.mark.parametrize(
    "code", ["import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "import time; time.sleep(60)"]
)
def test_a_file_on_which_the_library_crashes_or_goes_round_in_a_circle(tmp_path, monkeypatch, code):
    path = write(tmp_path / "a.h5ad")
    (tmp_path / "probe.py").write_text(code)
    monkeypatch.setattr(hdf5_probe, "__file__", str(tmp_path / "probe.py"))
    monkeypatch.setattr(hdf5_probe, "SECONDS", 1)
    assert refusal(path) == "is a damaged HDF5 file; download it again, or save it again with anndata"


@pytest.mark.slow
def test_damaged_bytes_are_a_line_or_change_nothing_but_values(tmp_path):
    whole = write(tmp_path / "a.h5ad", sparse.csr_matrix(VALUES)).read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for number in range(40):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] = random.integers(256)
        path = tmp_path / f"{number}.h5ad"
        path.write_bytes(damaged)
        try:
            assert read_expression(path, format="h5ad", unit="log").shape[1] <= len(GENES)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert refused
