"""What the wheel carries beside the package: the workflow, so that an installed ksfusion runs without a checkout."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = ("Snakefile", "config.yaml", "workflow", "resources", "profiles", "envs")


class CarryTheWorkflow(BuildHookInterface):
    """Put the workflow into ``ksfusion/project``; an editable installation finds it in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to a wheel that is not editable."""
        if version != "editable":
            build_data["force_include"] |= {name: f"ksfusion/project/{name}" for name in CARRIED}
