"""YAML that would take all memory, or end in a traceback, is a line within a moment."""

import os
import time

import pytest
import yaml
from project import ROOT

from ksfusion.core.errors import UserError
from ksfusion.core.strict_yaml import read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("cohort: &a\n  samples: s.tsv\n  cases: *a\n", "row 1: refers to itself"),
        ("tasks:\n- &a [x, *a]\n", "row 2: refers to itself"),
        (LAUGHS, "row 5: stands for more than 100,000 values"),
        (
            "cohort:\n  samples: !!int expression\n",
            "row 2: 'expression' cannot be read as int; correct it, or put",
        ),
        ("a: !!float x", "row 1: 'x' cannot be read as float"),
        ("a: !!bool maybe", "row 1: 'maybe' cannot be read as bool"),
        ("a: !!timestamp soon", "row 1: 'soon' cannot be read as timestamp"),
        ("a: !!set [1]", "is not valid YAML"),
        ("study: 2024-13-45\n", "row 1: '2024-13-45' cannot be read as timestamp"),
        ("? [a, b]\n: 1\n", "row 1: a key is a list or a mapping"),
        ("a: 1\n? {a: 1}\n: 1\n", "row 2: a key is a list or a mapping"),
        ("a: " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("a: " + "x" * 2**20, "has more than 1,048,576 bytes"),
        ("a: !!python/object:os.system x", "row 1: is not valid YAML"),
        ('a: "\\ud800"\n', ""),
        ("a: 1\na: 2\n", "row 2: key 'a' stands in row 1 already"),
        ("a: [", "row 1: is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_a_line_at_once(tmp_path, text, line):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    started = time.monotonic()
    if line:
        with pytest.raises(UserError) as caught:
            read_yaml(path)
        assert str(caught.value).startswith(f"{path}: {line}") and "\n" not in str(caught.value)
    else:
        read_yaml(path)
    assert time.monotonic() - started < 5


def test_a_device_or_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "zero"):
        if path.name == "zero":
            path.symlink_to("/dev/zero")
        with pytest.raises(UserError, match=r": is a device or a pipe, not a file; name a file"):
            read_yaml(path)


def test_not_utf8(tmp_path):
    (tmp_path / "my.yaml").write_bytes(b"study: \xff\n")
    with pytest.raises(UserError, match="is not valid YAML"):
        read_yaml(tmp_path / "my.yaml")


def test_references_that_shorten_a_file_are_read(tmp_path):
    text = "shared: &s {lr: 0.1, seeds: [0, 1]}\na:\n  <<: *s\n  lr: 0.2\nb: *s\n"
    (tmp_path / "my.yaml").write_text(text)
    assert read_yaml(tmp_path / "my.yaml") == yaml.safe_load(text)
    assert read_yaml(ROOT / "config.yaml") == yaml.safe_load((ROOT / "config.yaml").read_text())
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") is None


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(UserError, match=r"my\.yaml: is not valid YAML: no text in UTF-8; name another file, or save"):
        read_yaml(path)
    path.write_bytes(b"a: \x01\n")
    with pytest.raises(UserError, match=r"special characters are not allowed.*; save it as plain text in UTF-8"):
        read_yaml(path)
