"""What is said of the configuration beside its classes, and of outputs beside their list, written anew from these."""

from __future__ import annotations

from pathlib import Path

from ksfusion.config import Config
from ksfusion.core.outputs import outputs_page, read_outputs
from ksfusion.core.reference import settings_page, settings_schema, with_defaults
from ksfusion.core.storage import write_text

PAGE, SCHEMA, CONFIGURATION = "docs/configuration.md", "resources/config.schema.json", "config.yaml"
OUTPUTS, OUTPUTS_PAGE = "resources/outputs.yaml", "docs/outputs.md"


def write_reference(output: Path) -> None:
    """Write the reference pages of configuration and outputs, the JSON schema, and the defaults in config.yaml.

    Parameters
    ----------
    output
        The folder of a checkout.
    """
    write_text(settings_page(Config), output / PAGE)
    write_text(settings_schema(Config), output / SCHEMA)
    commented = (output / CONFIGURATION).read_text(encoding="utf-8")
    write_text(with_defaults(commented, Config), output / CONFIGURATION)
    write_text(outputs_page(read_outputs(output / OUTPUTS)), output / OUTPUTS_PAGE)
