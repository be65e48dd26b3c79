"""What Snakemake recorded of finished jobs."""

import base64
import json

from ksfusion.core.job_records import read_records


def test_a_damaged_record_is_left_out(tmp_path, caplog):
    for name, text in (
        ("results/a.tsv", json.dumps({"rule": "a", "incomplete": False, "params": ["'x'"], "input": None,
                                      "input_checksums": {}})),
        ("results/b.tsv", '{"rule": "b", "inco'),
        ("results/c.tsv", json.dumps({"rule": "c", "incomplete": False, "params": ["'x"], "input": [],
                                      "input_checksums": {}})),
        ("results/d.tsv", "[]"),
    ):  # fmt: skip
        (tmp_path / base64.urlsafe_b64encode(name.encode()).decode()).write_text(text)
    (record,) = read_records(tmp_path)
    assert (record.file, record.rule, record.params) == ("results/a.tsv", "a", ["x"])
    assert caplog.text.count("is damaged: what it tells of is left to be made anew") == 3
