"""What is said of the configuration elsewhere is what its classes say."""

import json

import pytest
import yaml
from project import ROOT
from pydantic import Field

from ksfusion.config import Config
from ksfusion.core.config_block import Block
from ksfusion.core.reference import settings_page, settings_schema, with_defaults


class Inner(Block):
    """Of a colour."""

    colour: str | None = Field(None, description="its name")
    sides: list[int] = Field([3, 4], description="corners")


class Whole(Block):
    """All."""

    name: str
    rate: float = Field(0.5, description="how fast")
    names: list[str] = Field(default_factory=list)
    inner: Inner = Inner()


TEXT = """name: x     # no default
rate: 1     # how fast, a number
            # [7]
# said before [wrong]
names: [a]
inner:
  colour: red  # [blue]
  sides: [9]   # at most [two] kinds [3]
"""


def test_defaults_in_brackets_are_those_of_the_classes():
    assert with_defaults(TEXT, Whole) == (
        TEXT.replace("[7]", "[0.5]")
        .replace("[wrong]", "[[]]")
        .replace("[blue]", "[null]")
        .replace("kinds [3]", "kinds [3, 4]")
    )


def test_a_key_without_its_default_is_refused():
    with pytest.raises(ValueError, match=r"line 2: rate does not say its default in brackets: \[0.5\]"):
        with_defaults("name: x\nrate: 1  # how fast\n", Whole)


def test_the_page_has_every_key_with_its_default():
    lines = settings_page(Whole).splitlines()
    assert "| `rate` | number | `0.5` | how fast |" in lines
    assert "| `colour` | text or null | `null` | its name |" in lines
    assert "| `name` | text | *needed* |  |" in lines


def test_the_files_of_the_project_are_current():
    """After a change of the settings: make reference."""
    assert (ROOT / "docs/configuration.md").read_text() == settings_page(Config)
    assert (ROOT / "resources/config.schema.json").read_text() == settings_schema(Config)
    commented = (ROOT / "config.yaml").read_text()
    assert with_defaults(commented, Config) == commented


def test_the_schema_takes_the_configurations_of_the_project_and_refuses_a_wrong_key():
    import jsonschema

    check = jsonschema.Draft202012Validator(json.loads(settings_schema(Config)))
    for name in ("config.yaml", "resources/cohorts/glioma.yaml", "resources/cohorts/tcga_genes.yaml"):
        assert list(check.iter_errors(yaml.safe_load((ROOT / name).read_text()))) == []
    wrong = yaml.safe_load((ROOT / "config.yaml").read_text())
    wrong["slides"]["mmp"] = 0.5
    wrong["tasks"] = ["diagnosys"]
    wrong["methods"] = ["ksfusion", "foo"]
    found = {tuple(error.absolute_path) for error in check.iter_errors(wrong)}
    assert found == {("slides",), ("tasks",), ("methods", 1)}
