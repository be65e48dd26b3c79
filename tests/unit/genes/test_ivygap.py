"""The reader of IvyGAP's download: three files in the published layout."""

import pytest
from layouts import write_ivygap

from ksfusion.core.errors import UserError
from ksfusion.genes import read_expression


def test_ivygap_is_joined_by_gene_id(tmp_path):
    folder = write_ivygap(
        tmp_path / "ivy",
        genes=[(499304661, "CD3E"), (499304660, "EGFR"), (499304662, "")],
        table=["gene_id\\rna_well_id,305273026,305273034", "499304660,1,3", "499304661,0,7", "499304662,5,5"],
    )
    profiles = read_expression(folder, format="ivygap", unit="fpkm")
    assert profiles.index.tolist() == ["305273026", "305273034"]
    assert profiles["EGFR"].tolist() == [1.0, 2.0]
    assert profiles["CD3E"].tolist() == [0.0, 3.0]
    assert profiles.columns.tolist() == ["EGFR", "CD3E"]


def test_ivygap_needs_all_three_files(tmp_path):
    table = ["gene_id\\rna_well_id,1,2", "10,1,3"]
    folder = write_ivygap(tmp_path / "ivy", genes=[(10, "EGFR")], table=table, wells=[(1, "W1-1-2-D.2.01")])
    with pytest.raises(UserError, match=r"columns-samples.csv: no rna_well_id 2, which fpkm_table.csv has"):
        read_expression(folder, format="ivygap", unit="fpkm")
    (folder / "columns-samples.csv").unlink()
    with pytest.raises(UserError, match=r"columns-samples.csv: cannot be read"):
        read_expression(folder, format="ivygap", unit="fpkm")
