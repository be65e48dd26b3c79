"""The STAR gene counts of a folder by the ids of their profiles. Light: asked before any job starts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ksfusion.core.errors import UserError
from ksfusion.core.tables import read_text_table
from ksfusion.genes.expression.files import gdc_files
from ksfusion.terms.published_files import GDC_SUFFIX, profile_id


def gdc_files_by_id(path: Path, sample_sheet: Path | None = None) -> dict[str, Path]:
    """Return the STAR gene counts of a folder, by the expression_id that each has.

    What that is, `ksfusion.genes.expression.readers.read_gdc_star` says.

    Parameters
    ----------
    path
        The folder.
    sample_sheet
        The sample sheet, if profiles are to be named by it.

    Raises
    ------
    UserError
        If there is no file, two of one id, or one that the sample sheet lacks.
    """
    sheet = read_sample_sheet(sample_sheet) if sample_sheet else None
    files: dict[str, Path] = {}
    for file in (path / name for name, _ in gdc_files(path)):
        expression_id = sheet.sample_of(file) if sheet else profile_id(file, path)
        if expression_id in files:
            first, second = (f"{one.parent.name}/{one.name}" for one in (files[expression_id], file))
            raise UserError(f"{path}: {first} and {second} are both {expression_id}; remove one")
        files[expression_id] = file
    if not files:
        raise UserError(f"{path}: no *{GDC_SUFFIX} in it or its folders; check the path")
    return files


class SampleSheet(NamedTuple):
    """A sample sheet of the GDC portal: the Sample IDs of each file, by File ID and name, and by name alone."""

    path: Path
    by_id: dict[tuple[str, str], set[str]]
    by_name: dict[str, set[str]]

    def sample_of(self, file: Path) -> str:
        """Return the Sample ID of a file: by its folder, which gdc-client names by File ID, else by its name."""
        samples = self.by_id.get((file.parent.name, file.name)) or self.by_name.get(file.name)
        if not samples:
            raise UserError(f"{file}: is not in the sample sheet {self.path}; download the sheet of the same cart")
        if len(samples) > 1:
            raise UserError(
                f"{file}: the sample sheet has this name for {' and '.join(sorted(samples))}; keep the file in the "
                "folder that gdc-client made for it"
            )
        return next(iter(samples))


def read_sample_sheet(path: Path) -> SampleSheet:
    """Read a sample sheet of the GDC portal."""
    columns = ("File ID", "File Name", "Sample ID")
    table = read_text_table(path)
    if missing := [name for name in columns if name not in table.header]:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(table.header[:12])}")
    sheet = SampleSheet(path, {}, {})
    places = [table.header.index(name) for name in columns]
    for _, fields in table.rows:
        file_id, name, sample = (fields[place] if place < len(fields) else "" for place in places)
        sheet.by_id.setdefault((file_id, name), set()).add(sample)
        sheet.by_name.setdefault(name, set()).add(sample)
    return sheet
