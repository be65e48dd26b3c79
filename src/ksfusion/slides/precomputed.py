"""Features that another tool has extracted: one HDF5 file a slide, as TRIDENT, CLAM or STAMP leaves it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ksfusion.slides.backends import SlideError
from ksfusion.slides.sources import precomputed_file, slide_sources

if TYPE_CHECKING:
    import h5py
    import numpy as np

STAGE = "ksfusion.slides.precomputed"
MAX_COORDINATE = 2**31


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

        try:
            with np.errstate(over="ignore"):
                values = _table(self._features[()]).astype(np.float16)
        except OSError as error:
            raise SlideError("unreadable", f"{self.path}: {error}") from None
        if not np.isfinite(values).all():
            raise SlideError("unreadable", f"{self.path}: a feature is missing, infinite or beyond float16")
        return values[self.order[tiles]]


@contextmanager
def open_precomputed(path: Path) -> Iterator[PrecomputedSlide]:
    """Open a slide's file and check what is in it.

    Raises
    ------
    SlideError
        With reason ``missing_file`` or ``unreadable``.
    """
    import h5py

    if not path.exists():
        raise SlideError("missing_file", f"{path} is not there")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise SlideError("unreadable", f"{path}: {error}") from None
    with file:
        try:
            slide = _read(path, file)
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise SlideError("unreadable", f"{path}: holds no features and coords ({error})") from None
        yield slide


def _read(path: Path, file: h5py.File) -> PrecomputedSlide:
    import numpy as np

    features, coords = file["feats" if "feats" in file else "features"], _table(file["coords"][()])
    shape = features.shape[1:] if features.ndim == 3 and features.shape[0] == 1 else features.shape
    if len(shape) != 2 or features.dtype.kind != "f" or coords.shape != (shape[0], 2):
        both = f"features {features.shape} {features.dtype}, coords {coords.shape}"
        raise SlideError("unreadable", f"{path}: {both}; a vector of floats and an x, y are needed for each tile")
    if coords.dtype.kind not in "iuf" or not (np.abs(coords) < MAX_COORDINATE).all():
        raise SlideError("unreadable", f"{path}: coords are not all numbers of pixels or micrometres")
    coords = np.rint(coords).astype(np.int64)
    told = file["coords"].attrs
    sides = [told.get(f"level0_{side}") for side in ("width", "height")]
    size = tuple(int(side) if isinstance(side, int | np.integer) else 0 for side in sides)
    micrometres = file.attrs.get("unit") in ("um", b"um") or "tile_size_um" in file.attrs
    order = np.lexsort((coords[:, 0], coords[:, 1]))
    return PrecomputedSlide(path, features, coords, "um" if micrometres else "px", size, order)


def _table(values: np.ndarray) -> np.ndarray:
    """Return a table of rows; some files have a leading axis of one."""
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def import_tiles(samples: Path, output: Path, *, batch: int, batches: int, path: str, min_tiles: int) -> None:
    """Take the tiles of a batch of slides from their files; one that fails is a row with its reason.

    Parameters
    ----------
    samples
        The user's table of samples; a slide needs its id only, and its ``mpp`` where the ledger is to say it.
    output
        The table of `ksfusion.slides.tiling.tile_batch`; x and y are whole numbers of the file's own unit.
    batch, batches
        Which batch, of how many.
    path
        The folder of the files.
    min_tiles
        Fewest tiles that make a slide usable.
    """
    import pandas as pd

    from ksfusion.batches import batch_of
    from ksfusion.provenance import provenance
    from ksfusion.slides.fingerprint import file_digest
    from ksfusion.slides.tiling import COLUMN_TYPES, slide_rows
    from ksfusion.storage import write_parquet

    parts = []
    for slide_id, source in slide_sources(samples).items():
        if batch_of(slide_id, batches) != batch:
            continue
        known = {"mpp": source.mpp, "mpp_source": "manifest"} if source.mpp else {}
        try:
            with open_precomputed(precomputed_file(path, slide_id)) as slide:
                known |= {"width": slide.size[0], "height": slide.size[1], "digest": file_digest(slide.path)}
                found = _tiles(slide, min_tiles)
        except SlideError as error:
            found = {"reason": error.reason, "message": str(error)}
        parts.append(slide_rows(slide_id, known, found))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMN_TYPES))
    made_by = provenance(STAGE, {"batch": batch, "path": path, "min_tiles": min_tiles})
    write_parquet(table.astype(COLUMN_TYPES), output, made_by)


def _tiles(slide: PrecomputedSlide, min_tiles: int) -> dict[str, Any]:
    import numpy as np

    if len(slide.coords) < min_tiles:
        raise SlideError("too_few_tiles", f"{slide.path}: {len(slide.coords)} tiles; {min_tiles} are needed")
    x, y = slide.coords[slide.order].T
    return {"tile": np.arange(len(x)), "x": x, "y": y, "tissue": np.full(len(x), np.nan)}


def import_features(tiles: Path, patches: Path, output: Path, *, features: Mapping[str, Any]) -> None:
    """Take the features of the chosen patches of a batch of slides from their files.

    Parameters
    ----------
    tiles, patches
        Tables of `import_tiles` and `ksfusion.slides.sampling.sample_batch`.
    output
        The file of `ksfusion.slides.features.extract_batch`; an attribute ``unit`` says the unit of ``coords``.
    features
        Settings ``source`` and ``path``.
    """
    import h5py
    import numpy as np

    from ksfusion.provenance import provenance
    from ksfusion.storage import PROVENANCE_KEY, atomic, read_parquet

    mpp = read_parquet(tiles, columns=["slide_id", "mpp"]).drop_duplicates("slide_id").set_index("slide_id")["mpp"]
    with atomic(output) as temporary, h5py.File(temporary, "w") as file:
        file.attrs[PROVENANCE_KEY] = json.dumps(provenance(STAGE, {"features": dict(features)}), sort_keys=True)
        for slide_id, rows in read_parquet(patches).groupby("slide_id", sort=True):
            group, reason = file.create_group(slide_id), rows["reason"].iloc[0]
            if not reason:
                chosen, first, index = np.unique(rows["tile"].to_numpy(), return_index=True, return_inverse=True)
                try:
                    with open_precomputed(precomputed_file(features["path"], slide_id)) as slide:
                        group.create_dataset("features", data=slide.features(chosen))
                        group.create_dataset("coords", data=rows[["x", "y"]].to_numpy(np.int32)[first])
                        group.create_dataset("index", data=index.astype(np.int32))
                        group.attrs["unit"] = slide.unit
                except SlideError as error:
                    reason = error.reason
                    print(f"{slide_id}\t{reason}: {error}", file=sys.stderr, flush=True)
            group.attrs.update({"status": "failed" if reason else "ok", "reason": reason, "mpp": float(mpp[slide_id])})
