"""What a profile of Snakemake asks for, for each rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ksfusion.core.errors import UserError
from ksfusion.core.resources import PROJECT, resource
from ksfusion.core.strict_yaml import read_yaml

DEFAULT, SLURM = "default", "slurm"
# Where jobs run of a profile that does not say it.
LOCAL = "local"
_FIRST_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Profile:
    """A profile, as its file has it.

    Attributes
    ----------
    path
        The file.
    values
        Its keys.
    """

    path: Path
    values: Mapping[str, Any]

    @property
    def is_shipped(self) -> bool:
        """Whether it is one of the project's own."""
        return self.path.is_relative_to(PROJECT / "profiles")

    @property
    def executor(self) -> str:
        """Where jobs run: ``local`` or ``slurm``, or another of Snakemake's plugins."""
        return str(self.values.get("executor", LOCAL))

    @property
    def rules(self) -> list[str]:
        """The rules that have values of their own."""
        return list(dict.fromkeys([*self.values.get("set-resources", {}), *self.values.get("set-threads", {})]))

    def asks(self, rule: str, resource: str) -> str | None:
        """Return what a rule asks for of a resource, as it is written; None where nothing is said."""
        own = (self.values.get("set-resources") or {}).get(rule) or {}
        value = own.get(resource, self._defaults().get(resource))
        return None if value is None else str(value)

    def number(self, rule: str, resource: str) -> int:
        """Return how much a rule asks for in its first attempt; 0 where nothing is said, or no number."""
        found = _FIRST_NUMBER.match(self.asks(rule, resource) or "")
        return int(found[0]) if found else 0

    def threads(self, rule: str) -> int:
        """Return the cores that a rule asks for."""
        return int((self.values.get("set-threads") or {}).get(rule, 1))

    def largest_mb(self) -> int:
        """Return the memory that the largest job asks for in its first attempt, in MB."""
        return max(self.number(rule, "mem_mb") for rule in ["", *self.rules])

    def _defaults(self) -> dict[str, str]:
        entries = self.values.get("default-resources") or []
        if isinstance(entries, Mapping):
            return {str(key): str(value) for key, value in entries.items()}
        pairs = (str(entry).partition("=") for entry in entries)
        return {key.strip(): value.strip() for key, _, value in pairs}


def read_profile(name: str | None, *, may_be_empty: bool = False) -> Profile:
    """Return a profile.

    Parameters
    ----------
    name
        One that the project has, or the folder of one; None: that of a workstation.
    may_be_empty
        Whether an empty file will do.

    Raises
    ------
    UserError
        If it is neither, or no mapping.
    """
    folder = PROJECT / "profiles" / (name or DEFAULT)
    # As Snakemake: a profile for its own version first, such as config.v9+.yaml.
    files = sorted((folder if folder.is_dir() else Path(name or "")).glob("config.*yaml"))
    if not files:
        raise UserError(f"--profile {name}: is neither slurm nor a folder with a config.yaml; correct it")
    values = {} if may_be_empty and not files[0].read_text(encoding="utf-8").strip() else read_yaml(files[0])
    if not isinstance(values, Mapping):
        raise UserError(f"{files[0]}: must be a mapping of keys; see profiles/slurm/config.yaml")
    return Profile(files[0], values)


def shipped_requests() -> Profile:
    """Return what jobs ask for in the project's profile for SLURM, whatever its user has made of it since."""
    path = resource("slurm_requests.yaml")
    return Profile(path, read_yaml(path))
