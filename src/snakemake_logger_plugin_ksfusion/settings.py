"""The settings of the plugin, as options of Snakemake: ``--logger-ksfusion-plan``."""

# Snakemake reads the types of the fields, which must not be text (no postponed annotations).
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Settings of the plugin."""

    plan: Optional[Path] = field(  # noqa: UP045
        default=None,
        metadata={"help": "In a dry run: write the jobs that are due to this file, as JSON, and print nothing."},
    )
