"""One thing under two names: equal digests, images whose hashes are close, profiles equal to the last digit."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ksfusion.terms.fingerprints import HASH_SIDE

# Share of the bits of two image hashes: re-encoded, rescaled or recoloured copies differ in at most 6 %, sections of
# different tissue in 20 % and more.
MAX_DISTANCE = 0.1
ROWS_AT_A_TIME = 1024


class Pair(NamedTuple):
    """Two names, and what they have in common."""

    first: str
    second: str
    detail: str


def equal_values(values: Mapping[str, str]) -> Iterator[Pair]:
    """Yield the pairs of names with equal values: each name with the first that has the same."""
    names = defaultdict(list)
    for name, value in sorted(values.items()):
        names[value].append(name)
    for first, *others in names.values():
        for second in others:
            yield Pair(first, second, "identical")


def equal_profiles(profiles: pd.DataFrame, used: Collection[str]) -> Iterator[Pair]:
    """Yield the pairs of profiles that are identical to the last digit.

    Parameters
    ----------
    profiles : pandas.DataFrame, profiles x genes
        Indexed by cohort and expression_id.
    used
        Names, as ``cohort/expression_id``, of the profiles to compare; the pairs have these names.
    """
    names = [f"{cohort}/{name}" for cohort, name in profiles.index]
    digests = {
        name: hashlib.sha256(row.tobytes()).hexdigest()
        for name, row in zip(names, profiles.to_numpy(), strict=True)
        if name in used
    }
    return equal_values(digests)


def close_images(hashes: Mapping[str, str]) -> tuple[list[Pair], Pair | None]:
    """Compare images by their hashes, turned and mirrored too.

    Parameters
    ----------
    hashes
        Name to the hash of `ksfusion.slides.reading.fingerprint.thumbnail_hash`.

    Returns
    -------
    pairs : list of Pair
        Those that differ in at most `MAX_DISTANCE` of their bits.
    nearest : Pair or None
        Of the others the closest.
    """
    names = sorted(hashes)
    packed = np.frombuffer(bytes.fromhex("".join(hashes[name] for name in names)), np.uint8)
    signs = np.unpackbits(packed).reshape(len(names), HASH_SIDE**2).astype(np.float32) * 2 - 1
    pairs, nearest, least = [], None, 1.0
    for start in range(0, len(names), ROWS_AT_A_TIME):
        part = signs[start : start + ROWS_AT_A_TIME]
        agreement = np.max([turned @ signs.T for turned in _symmetries(part)], axis=0) / signs.shape[1]
        distance = (1 - agreement) / 2  # (rows, names)
        distance[np.tril_indices(len(part), start, len(names))] = 1
        for row, column in np.argwhere(distance <= MAX_DISTANCE):
            pairs.append(_pair(names, start + row, column, distance[row, column]))
        distance[distance <= MAX_DISTANCE] = 1
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        if distance[row, column] < least:
            least = distance[row, column]
            nearest = _pair(names, start + row, column, least)
    return pairs, nearest


def _pair(names: list[str], row: int, column: int, distance: float) -> Pair:
    return Pair(names[row], names[column], f"images differ in {distance:.1%} of their bits")


def _symmetries(signs: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the hashes of the images turned and mirrored: a mirror reverses the signs of the odd frequencies."""
    square = signs.reshape(-1, HASH_SIDE, HASH_SIDE)
    odd = np.where(np.arange(HASH_SIDE) % 2, -1, 1).astype(np.float32)
    for turned in (square, square.transpose(0, 2, 1)):
        for rows in (1, odd[:, None]):
            for columns in (1, odd[None]):
                yield (turned * rows * columns).reshape(signs.shape)
