"""Features that another tool has extracted: one HDF5 file a slide, as TRIDENT, CLAM or STAMP leaves it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.slides.reading.backends import SlideError
from ksfusion.slides.reading.slide_files import precomputed_file, slide_sources
from ksfusion.slides.reading.workers import IsolatedCalls

if TYPE_CHECKING:
    import h5py
    import numpy as np

STAGE = "ksfusion.slides.features.precomputed"
MAX_COORDINATE = 2**31
# Far more than any slide has tiles, or any encoder features: a file that claims more is not read.
MAX_TILES, MAX_FEATURES = 20_000_000, 65_536
BLOCK_BYTES = 1 << 26
# What h5py raises where a file is damaged, or made to do harm.
DAMAGED = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class PrecomputedSlide:
    """A slide's file, open.

    Attributes
    ----------
    features : h5py.Dataset (tiles, d)
        STAMP calls it ``feats``, the others ``features``.
    coords : numpy.ndarray of shape (tiles, 2), int64
        x and y of the tiles' upper left corners.
    unit : str
        Of ``coords``: ``px`` of level 0, or ``um`` (STAMP).
    size : tuple of int
        Width and height of level 0, in px; zeros where the file does not say (TRIDENT's does).
    order : numpy.ndarray of shape (tiles,)
        Rows of ``features`` in raster order: by y, then by x.
    """

    path: Path
    _features: h5py.Dataset
    coords: np.ndarray
    unit: str
    size: tuple[int, int]
    order: np.ndarray

    def features(self, tiles: np.ndarray) -> np.ndarray:
        """Return the features (n, d), float16, of tiles given by their number in raster order.

        Raises
        ------
        SlideError
            With reason ``unreadable``, if any value of the slide is not finite in float16.
        """
        import numpy as np

        rows = self.order[tiles]
        chosen = np.empty((len(rows), self._features.shape[-1]), dtype=np.float16)
        for start, values in self._blocks():
            if not np.isfinite(values).all():
                raise SlideError("unreadable", f"{self.path}: a feature is missing, infinite or beyond float16")
            here = (rows >= start) & (rows < start + len(values))
            chosen[here] = values[rows[here] - start]
        return chosen

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all features as float16, some rows at a time, each time with the number of the first."""
        import numpy as np

        step = max(1, BLOCK_BYTES // (self._features.shape[-1] * self._features.dtype.itemsize))
        for start in range(0, len(self.coords), step):
            part = slice(start, start + step)
            try:
                values = self._features[0, part] if self._features.ndim == 3 else self._features[part]
            except DAMAGED as error:
                raise SlideError("unreadable", f"{self.path}: {error}") from None
            with np.errstate(over="ignore"):
                yield start, values.astype(np.float16)


@contextmanager
def open_precomputed(path: Path) -> Iterator[PrecomputedSlide]:
    """Open a slide's file and check what is in it.

    Raises
    ------
    SlideError
        With reason ``missing_file`` or ``unreadable``.
    """
    import h5py

    try:
        if not path.exists():
            raise SlideError("missing_file", f"{path} is not there")
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise SlideError("unreadable", f"{path}: {error}") from None
    with file:
        try:
            slide = _read(path, file)
        except DAMAGED as error:
            raise SlideError("unreadable", f"{path}: holds no features and coords ({error})") from None
        yield slide


def _read(path: Path, file: h5py.File) -> PrecomputedSlide:
    import numpy as np

    features, stored = file["feats" if "feats" in file else "features"], file["coords"]
    shape = _table_shape(features)
    if len(shape) != 2 or features.dtype.kind != "f" or _table_shape(stored) != (shape[0], 2):
        both = f"features {features.shape} {features.dtype}, coords {stored.shape}"
        raise SlideError("unreadable", f"{path}: {both}; a vector of floats and an x, y are needed for each tile")
    if shape[0] > MAX_TILES or not 0 < shape[1] <= MAX_FEATURES:
        raise SlideError("unreadable", f"{path}: claims {shape[0]} tiles of {shape[1]} features; extract them again")
    coords = stored[0] if stored.ndim == 3 else stored[()]
    if coords.dtype.kind not in "iuf" or not ((coords > -MAX_COORDINATE) & (coords < MAX_COORDINATE)).all():
        raise SlideError("unreadable", f"{path}: coords are not all numbers of pixels or micrometres")
    coords = np.rint(coords).astype(np.int64)
    sides = [stored.attrs.get(f"level0_{side}") for side in ("width", "height")]
    known = [isinstance(side, int | np.integer) and 0 < side < MAX_COORDINATE for side in sides]
    size = tuple(int(side) if is_known else 0 for side, is_known in zip(sides, known, strict=True))
    micrometres = file.attrs.get("unit") in ("um", b"um") or "tile_size_um" in file.attrs
    order = np.lexsort((coords[:, 0], coords[:, 1]))
    return PrecomputedSlide(path, features, coords, "um" if micrometres else "px", size, order)


def _table_shape(data: h5py.Dataset) -> tuple[int, ...]:
    """Return the shape of a table of rows; some files have a leading axis of one."""
    return data.shape[1:] if data.ndim == 3 and data.shape[0] == 1 else data.shape


def import_tiles(
    samples: Path, output: Path, *, batch: int, batches: int, path: str, min_tiles: int, timeout: float = 600
) -> None:
    """Take the tiles of a batch of slides from their files; one that fails is a row with its reason.

    Parameters
    ----------
    samples
        The user's table of samples; a slide needs its id only, and its ``mpp`` where the ledger is to say it.
    output
        The table of `ksfusion.slides.tiles.grid.tile_batch`; x and y are whole numbers of the file's own unit.
    batch, batches
        Which batch, of how many.
    path
        The folder of the files.
    min_tiles
        Fewest tiles that make a slide usable.
    timeout
        Seconds that a slide may take; it is read in a process of its own.
    """
    import pandas as pd

    from ksfusion.core.ids import batch_of
    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import write_parquet
    from ksfusion.slides.tiles.grid import COLUMN_TYPES, slide_rows

    parts = []
    with IsolatedCalls(_tiles, timeout) as read_tiles:
        for slide_id, source in slide_sources(samples).items():
            if batch_of(slide_id, batches) != batch:
                continue
            known = {"mpp": source.mpp, "mpp_source": "manifest"} if source.mpp else {}
            try:
                told, found = read_tiles(precomputed_file(path, slide_id), min_tiles)
                known |= told
            except SlideError as error:
                found = {"reason": error.reason, "message": str(error)}
            parts.append(slide_rows(slide_id, known, found))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMN_TYPES))
    made_by = provenance(STAGE, {"batch": batch, "path": path, "min_tiles": min_tiles})
    write_parquet(table.astype(COLUMN_TYPES), output, made_by)


def _tiles(path: Path, min_tiles: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the tiles of one slide: what is known of it, and its tiles or its failure; runs in a worker process."""
    import numpy as np

    from ksfusion.slides.reading.fingerprint import file_digest

    with open_precomputed(path) as slide:
        known = {"width": slide.size[0], "height": slide.size[1], "digest": file_digest(path)}
        if len(slide.coords) < min_tiles:
            message = f"{path}: {len(slide.coords)} tiles; {min_tiles} are needed"
            return known, {"reason": "too_few_tiles", "message": message}
        x, y = slide.coords[slide.order].T
        return known, {"tile": np.arange(len(x)), "x": x, "y": y, "tissue": np.full(len(x), np.nan)}


def _features(path: Path, tiles: np.ndarray) -> tuple[np.ndarray, str]:
    """Take the features of tiles of one slide, and the unit of its coordinates; runs in a worker process."""
    with open_precomputed(path) as slide:
        return slide.features(tiles), slide.unit


def import_features(
    tiles: Path, patches: Path, output: Path, *, features: Mapping[str, Any], timeout: float = 600
) -> None:
    """Take the features of the chosen patches of a batch of slides from their files.

    Parameters
    ----------
    tiles, patches
        Tables of `import_tiles` and `ksfusion.slides.tiles.sampling.sample_batch`.
    output
        The file of `ksfusion.stages.extract_features`; an attribute ``unit`` says the unit of ``coords``.
    features
        Settings ``source`` and ``path``.
    timeout
        Seconds that a slide may take.
    """
    import h5py
    import numpy as np

    from ksfusion.core.provenance import provenance
    from ksfusion.core.storage import PROVENANCE_KEY, atomic, read_parquet

    mpp = read_parquet(tiles, columns=["slide_id", "mpp"]).drop_duplicates("slide_id").set_index("slide_id")["mpp"]
    reading = IsolatedCalls(_features, timeout)
    with reading as read_features, atomic(output) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[PROVENANCE_KEY] = json.dumps(provenance(STAGE, {"features": dict(features)}), sort_keys=True)
        for slide_id, rows in read_parquet(patches).groupby("slide_id", sort=True):
            group, reason = file.create_group(slide_id), rows["reason"].iloc[0]
            if not reason:
                chosen, first, index = np.unique(rows["tile"].to_numpy(), return_index=True, return_inverse=True)
                try:
                    values, unit = read_features(precomputed_file(features["path"], slide_id), chosen)
                    group.create_dataset("features", data=values)
                    group.create_dataset("coords", data=rows[["x", "y"]].to_numpy(np.int32)[first])
                    group.create_dataset("index", data=index.astype(np.int32))
                    group.attrs["unit"] = unit
                except SlideError as error:
                    reason = error.reason
                    print(f"{slide_id}\t{reason}: {error}", file=sys.stderr, flush=True)
            group.attrs.update({"status": "failed" if reason else "ok", "reason": reason, "mpp": float(mpp[slide_id])})
