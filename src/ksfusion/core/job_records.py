"""What Snakemake recorded of finished jobs: by it, it knows what must be made anew."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ksfusion.core.resources import resource

log = logging.getLogger(__name__)

RECORDS = Path(".snakemake", "metadata")


@dataclass(frozen=True)
class JobRecord:
    """The record of one output.

    Attributes
    ----------
    file, rule
        The output, and what made it.
    finished
        Whether the job came to its end.
    params
        Values of the rule's ``params``.
    inputs, checksums
        The job's inputs, and the SHA-256 of those that are small.
    """

    file: str
    rule: str
    finished: bool
    params: list[Any]
    inputs: list[str]
    checksums: dict[str, str]

    def parsed_params(self) -> list[Any]:
        """Return those of the parameters that are JSON, as what they stand for."""
        return [value for value in map(_parsed, self.params) if value is not None]

    def changed_inputs(self) -> Iterator[str]:
        """Yield the inputs that are not what they were: by checksum where one is recorded, else by time."""
        made = Path(self.file).stat().st_mtime
        for name in self.inputs:
            path, checksum = _present(name), self.checksums.get(name)
            if not path.exists():
                yield name
            elif checksum:
                if checksum.removeprefix("sha256:") != hashlib.sha256(path.read_bytes()).hexdigest():
                    yield name
            elif path.is_file() and path.stat().st_mtime > made:
                yield name


def read_records(folder: Path = RECORDS) -> Iterator[JobRecord]:
    """Yield the records of a working directory: the name of each is that of the output, in base64."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            # A long name is cut into folders, each with an @ before it.
            name = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                yield JobRecord(
                    base64.urlsafe_b64decode(name).decode(),
                    record["rule"],
                    not record["incomplete"],
                    [ast.literal_eval(text) for text in record["params"] or []],
                    record["input"] or [],
                    record["input_checksums"] or {},
                )
            except (ValueError, KeyError, TypeError, SyntaxError):
                log.warning("%s is damaged: what it tells of is left to be made anew", path)


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _present(name: str) -> Path:
    """Return where an input is now: a shipped file may have been used from another folder of the project."""
    path, (_, resources, shipped) = Path(name), name.rpartition("resources/")
    return resource(shipped) if resources and not path.exists() else path
