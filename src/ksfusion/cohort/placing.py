"""Which case a file belongs to, by its name: for a first table of samples that nobody has written by hand."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath

BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)
# A shorter id than this is found between separators only: 7 in "case-7", not in "P7".
SHORT = 3


@dataclass(frozen=True)
class Placed:
    """The case of a name; or why there is none."""

    case: str | None
    reason: str = ""


class CaseIndex:
    """The ids of the cases, to find the one that a name belongs to.

    Parameters
    ----------
    ids
        The id of a case by what stands for it in names: the id itself, or that of a block or a file.
    """

    def __init__(self, ids: Mapping[str, str]):
        self._plain: dict[str, set[str]] = {}
        self._barcodes: dict[str, set[str]] = {}
        self._runs: dict[str, set[str]] = {}
        for text, case in ids.items():
            self._plain.setdefault(plain(text), set()).add(case)
            if barcode := BARCODE.search(text):
                self._barcodes.setdefault(barcode[0].upper(), set()).add(case)
            for run in set(_runs(_parts(text))):
                if len(run) >= SHORT:
                    self._runs.setdefault(run, set()).add(case)

    def of(self, name: str) -> Placed:
        """Return the case of a name.

        A TCGA barcode says it; else the id that is the whole name; else the longest id in the name, between its
        separators, else where letters and digits meet; else the only id that has the whole name in it.
        """
        if (barcode := BARCODE.search(name)) and (cases := self._barcodes.get(barcode[0].upper())):
            return _only(cases)
        if cases := self._plain.get(plain(name)):
            return _only(cases)
        for split, shortest in ((_parts, 1), (_finer, SHORT)):
            found = [run for run in _runs(split(name)) if run in self._plain and len(run) >= shortest]
            if found:
                longest = max(map(len, found))
                return _only({case for run in found if len(run) == longest for case in self._plain[run]})
        if cases := self._runs.get(plain(name)):
            return _only(cases)
        return Placed(None, "no case has an id that stands in its name")


def _only(cases: Collection[str]) -> Placed:
    if len(cases) == 1:
        return Placed(next(iter(cases)))
    return Placed(None, f"may be of {' or '.join(sorted(cases)[:3])}")


def plain(text: str) -> str:
    """Return a text in small letters and digits alone: ``P-007`` and ``p007`` are one."""
    return "".join(_parts(text))


def _parts(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _finer(text: str) -> list[str]:
    return re.findall(r"\d+|[^\W\d_]+", text.lower())


def _runs(parts: Sequence[str]) -> list[str]:
    """Return each run of neighbouring parts, joined."""
    return [run for start in range(len(parts)) for run in accumulate(parts[start:])]


def closest_profiles(slide: str, profiles: Sequence[str]) -> list[str]:
    """Return those of a case's profiles whose ids begin most like the name of a slide: all where none does more."""
    shared = {profile: _shared_start(_finer(slide), _finer(profile)) for profile in profiles}
    most = max(shared.values(), default=0)
    return [profile for profile in profiles if shared[profile] == most]


def _shared_start(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = zip(first, second, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def valid_id(text: str) -> str:
    """Return a text as an id: letters, digits, dots, hyphens and underscores, the first a letter or digit."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "_", text.strip()).strip("_")
    return re.sub(r"^[^A-Za-z0-9]+", "", cleaned)[:128] or "unnamed"


def name_of(path: PurePath) -> str:
    """Return what a file is called without its endings, of which OME-TIFF has two."""
    return path.stem.removesuffix(".ome").removesuffix(".OME")


def best_column(names: Iterable[str], columns: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return the column whose ids place the most names; of several the first, None where none places any.

    Parameters
    ----------
    names
        Names of slides or profiles.
    columns
        Case of each value, by column.
    """
    names = list(names)
    placed = {
        column: sum(1 for name in names if cases.of(name).case is not None)
        for column, cases in ((column, CaseIndex(ids)) for column, ids in columns.items())
    }
    best = max(placed, key=placed.__getitem__, default=None)
    return best if best is not None and placed[best] else None
