"""Reading and writing tables: what is read is what was written."""

import numpy as np
import pandas as pd

from ksfusion.core import parquet


def test_a_wide_table_is_read_in_parts(tmp_path, monkeypatch):
    values = np.arange(60, dtype=np.float32).reshape(4, 15)
    values[2, 3] = np.nan
    table = pd.DataFrame(values, columns=[f"G{number}" for number in range(15)])
    # A key between the values, as a table made by hand may have it.
    table.insert(5, "cohort", ["x", "x", "y", "y"])
    table.insert(0, "expression_id", ["1", "2", "1", "2"])
    parquet.write_parquet(table, tmp_path / "wide.parquet", {})
    monkeypatch.setattr(parquet, "COLUMNS_AT_A_TIME", 4)
    read = parquet.read_wide_parquet(tmp_path / "wide.parquet", ["cohort", "expression_id"])
    pd.testing.assert_frame_equal(read, table.set_index(["cohort", "expression_id"]))
