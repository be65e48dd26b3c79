"""Which study a results folder belongs to: no other study's run may write to it."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ksfusion.core.checksums import SEAL_KEY, UNSEALED, check_sealed_text, sealed_text
from ksfusion.core.config_block import path_problem
from ksfusion.core.errors import DamagedFileError, UserError
from ksfusion.core.paths import nearest_above
from ksfusion.core.storage import read_provenance, write_text

# About as many slides a batch.
SLIDES_PER_BATCH = 32
# Of results that an earlier version made and that do not say it.
FORMER_BATCHES, FORMER_GENE_SETS = 75, "builtin-0.1.0"
RESULTS = Path("results")
STUDY = "study.json"


@dataclass(frozen=True)
class Study:
    """What identifies a study.

    Attributes
    ----------
    name
        Of the configuration; None where it gives none.
    cases
        The ids of its cases.
    tables
        The tables of samples and cases, for the eye.
    batches
        How many batches its slides are divided over, from its first run on.
    gene_sets
        The version of the shipped gene sets that it began with.
    methods_from
        Full paths of the files with methods of the user's that its runs know.
    """

    name: str | None
    cases: frozenset[str]
    tables: tuple[str, ...]
    batches: int
    gene_sets: str = FORMER_GENE_SETS
    methods_from: tuple[str, ...] = ()

    def is_same(self, other: Study) -> bool:
        """Return whether two are one: by name where both have one, else if half of the smaller's cases are shared."""
        if self.name and other.name:
            return self.name == other.name
        smaller = min(len(self.cases), len(other.cases))
        return 2 * len(self.cases & other.cases) >= smaller

    def describe(self) -> str:
        """Return words for messages."""
        name = f"study {self.name}" if self.name else f"a study of {len(self.cases)} cases"
        return f"{name} ({', '.join(self.tables)})" if self.tables else name

    def write(self, results: Path = RESULTS) -> None:
        """Write the study into its results folder."""
        content = {
            "study": self.name,
            "tables": list(self.tables),
            "batches": self.batches,
            "gene_sets": self.gene_sets,
            "cases": sorted(self.cases),
            **({"methods_from": list(self.methods_from)} if self.methods_from else {}),
            SEAL_KEY: UNSEALED,
        }
        write_text(sealed_text(json.dumps(content, indent=1) + "\n"), results / STUDY)


def study_folder(values: Mapping[str, Any]) -> str:
    """Return the folder of a study, before its configuration is validated: a wrong one is told then."""
    folder = values.get("folder")
    return folder if isinstance(folder, str) and not path_problem(folder) else "."


def usable_folder(folder: Path | str, source: str) -> str:
    """Return the folder of a study after making sure that it is one, or can be made.

    Parameters
    ----------
    folder
        The folder.
    source
        Name of the configuration in messages.

    Raises
    ------
    UserError
        If it can be no folder, or nothing can be written there.
    """
    place = Path(folder)
    there = nearest_above(place)
    if not there.is_dir():
        raise UserError(f"{source}: folder: {there} is not a folder; name another")
    if not _can_be_written(there):
        raise UserError(f"{source}: folder: nothing can be written to {there.absolute()}; name another")
    return str(folder)


def _can_be_written(folder: Path) -> bool:
    """Return whether folders can be made in one; where Snakemake has made its own, the right to write is enough."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    if not os.path.isdir(folder / ".snakemake"):  # noqa: PTH112
        # Of file systems that are none, such as /proc, and of some on the network the right alone says nothing.
        try:
            tempfile.TemporaryDirectory(prefix=".ksfusion-", dir=folder).cleanup()
        except OSError:
            return False
    return True


def batches_for(slides: int) -> int:
    """Return the number of batches of a study that begins with so many slides."""
    return max(1, -(-slides // SLIDES_PER_BATCH))


def read_study(results: Path) -> Study | None:
    """Return the study of a results folder; None where it holds no results yet.

    Parameters
    ----------
    results
        The folder. One that an earlier version made has no ``study.json``: its ledger and its split name the cases.

    Raises
    ------
    UserError
        If ``study.json`` is not what it should be.
    """
    file = results / STUDY
    if file.is_file():
        try:
            text = file.read_bytes()
            check_sealed_text(text, file)
            content = json.loads(text)
            cases, tables = frozenset(content["cases"]), tuple(content["tables"])
            sets = content.get("gene_sets", FORMER_GENE_SETS)
            own = tuple(content.get("methods_from", ()))
            return Study(content["study"], cases, tables, content["batches"], sets, own)
        except (DamagedFileError, OSError, ValueError, KeyError, TypeError) as error:
            seen = "it was changed" if isinstance(error, DamagedFileError) else error
            raise UserError(f"{file}: is damaged ({seen}); delete it if the results are those of this study") from None
    for table in (results / "samples.tsv", results / "cohort/splits.tsv"):
        if cases := _cases_in(table):
            return Study(None, cases, (str(table),), _former_batches(results), _former_gene_sets(results))
    return None


def _cases_in(table: Path) -> frozenset[str]:
    if not table.is_file():
        return frozenset()
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return frozenset(row["case_id"] for row in csv.DictReader(file, delimiter="\t") if row.get("case_id"))
    except (UnicodeDecodeError, csv.Error):
        raise DamagedFileError(table) from None


def _former_batches(results: Path) -> int:
    """Return the number of batches of results without ``study.json``: each table of tiles has it in its settings."""
    for path in sorted((results / "tiles").glob("*.parquet")):
        settings: dict[str, Any] = read_provenance(path)["settings"]
        return int(settings.get("slides", settings).get("batches", FORMER_BATCHES))
    return FORMER_BATCHES


def _former_gene_sets(results: Path) -> str:
    """Return the gene sets of results without ``study.json``: the profiles have their names by them."""
    profiles = results / "genes/profiles.parquet"
    names: str = read_provenance(profiles)["settings"].get("names", FORMER_GENE_SETS) if profiles.is_file() else ""
    return names or FORMER_GENE_SETS


def study_here(
    name: str | None,
    cases: Iterable[str],
    tables: tuple[str, ...],
    *,
    batches: int | Literal["auto"],
    n_slides: int,
    gene_sets: str = FORMER_GENE_SETS,
    results: Path = RESULTS,
) -> Study:
    """Return the study that is about to run, after making sure that the results here are not another's.

    Parameters
    ----------
    name, cases, tables
        See `Study`.
    batches
        Number of batches; ``auto``: as many as when it began.
    n_slides
        Number of slides that it has now.
    gene_sets
        The shipped gene sets for a study that begins: another keeps those that it began with.
    results
        The folder of the results.

    Raises
    ------
    UserError
        If they belong to another study.
    """
    found = read_study(results)
    if batches == "auto":
        batches = found.batches if found else batches_for(n_slides)
    study = Study(name, frozenset(cases), tables, batches, found.gene_sets if found else gene_sets)
    if found is not None and not study.is_same(found):
        raise UserError(
            f"{results}: belongs to {found.describe()}, and this is {study.describe()}; give this study a folder of "
            "its own (folder: NAME in its configuration), or move those results away"
        )
    return study
