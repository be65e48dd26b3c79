"""Whole-slide images read at a physical scale (micrometres per pixel), whatever their file format."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

import cv2
import numpy as np
from PIL import Image, ImageCms

from ksfusion.slides.reading.backend_base import Backend
from ksfusion.slides.reading.backends import open_backend
from ksfusion.slides.reading.disk_image import DiskImage
from ksfusion.slides.reading.errors import SlideError
from ksfusion.slides.reading.slide_files import SlideSource
from ksfusion.slides.reading.tiff import is_cut_off
from ksfusion.slides.reading.tiffslide_backend import TiffSlideBackend, is_remote

if TYPE_CHECKING:
    from ksfusion.slides.config import Reading

MPP_RANGE = (0.1, 2.0)
MAX_ANISOTROPY = 0.02
# A level up to 1 % coarser than asked for is read as if it had the scale asked for.
LEVEL_TOLERANCE = 1.01
BLOCK_PX = 1024  # side of what is read at once, in pixels of the level that it is read from
# A glass slide is 76 x 26 mm, 31 million pixels at 8 um/px; a header that claims an area of more than two is wrong.
OVERVIEW_MPP, OVERVIEW_MAX_PIXELS = 8.0, 62_000_000

# Where the scale of a slide is taken from: the first of these that it has.
MppSource = Literal["manifest", "header", "resolution_tag", "objective_power"]
log = logging.getLogger(__name__)


class Slide:
    """A slide opened for reading, by `open_slide`; a context manager.

    Attributes
    ----------
    path : pathlib.Path or str
        Path of the file, or its address.
    mpp : float
        Micrometres per pixel of level 0.
    mpp_source : str
        Origin of ``mpp``: ``manifest`` (the table of samples), ``header``, ``resolution_tag`` or ``objective_power``.
    dimensions : tuple of int
        Width and height of level 0, in px.
    level_mpp : tuple of float
        Micrometres per pixel of each level of the pyramid, finest first.
    bounds : tuple of int
        Left, top, width and height of the scanned region, in px of level 0: the whole slide, unless the header says
        otherwise.
    """

    def __init__(
        self, path: Path | str, backend: Backend, mpp: float, mpp_source: MppSource, icc: Literal["srgb", "none"]
    ):
        self.path = path
        self.mpp = mpp
        self.mpp_source = mpp_source
        self.dimensions = backend.dimensions
        self.level_mpp = tuple(mpp * downsample for downsample in backend.downsamples)
        self.bounds = backend.bounds or (0, 0, *backend.dimensions)
        self._backend = backend
        self._to_srgb = _to_srgb(path, backend) if icc == "srgb" else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._backend.close()

    def read(self, x: float, y: float, size_px: int, mpp: float) -> np.ndarray:
        """Read a square region at a physical scale.

        The coarsest level that is at least as fine is read and shrunk by averaging over areas; where level 0 itself is
        coarser, it is enlarged by cubic interpolation. What lies outside the slide is white.

        Parameters
        ----------
        x, y
            Upper left corner, in px of level 0.
        size_px
            Side of the result, in px.
        mpp
            Scale of the result, in micrometres per px.

        Returns
        -------
        numpy.ndarray of shape (size_px, size_px, 3), uint8
            RGB values; in sRGB where the slide was opened with ``icc="srgb"`` and has an ICC profile.

        Raises
        ------
        SlideError
            If the region cannot be decoded.
        """
        level = self._level_for(mpp)
        side = max(1, round(size_px * mpp / self.mpp / self._backend.downsamples[level]))
        try:
            region = self._backend.region(round(x), round(y), level, side, side)
        except SlideError as error:
            if not is_remote(self.path) and _is_cut_off(Path(self.path)):
                raise SlideError("truncated", str(error)) from None
            raise
        if side != size_px:
            method = cv2.INTER_AREA if side > size_px else cv2.INTER_CUBIC
            region = cv2.resize(region, (size_px, size_px), interpolation=method)
        return self._to_srgb(region) if self._to_srgb else region

    def thumbnail(self, mpp: float) -> np.ndarray:
        """Read the whole slide at a coarse scale, block by block.

        Parameters
        ----------
        mpp
            Scale of the result, in micrometres per px.

        Returns
        -------
        numpy.ndarray of shape (height, width, 3), uint8
            Pixel (row, column) has its upper left corner at x = column * mpp / self.mpp, y = row * mpp / self.mpp in
            px of level 0.
        """
        result = np.full((*self._thumbnail_size(mpp), 3), 255, dtype=np.uint8)
        for top, left, part in self._parts(mpp):
            result[top : top + part.shape[0], left : left + part.shape[1]] = part
        return result

    def thumbnail_on_disk(self, mpp: float) -> DiskImage:
        """Read the whole slide at a coarse scale into a temporary file, so that memory does not grow with the slide.

        Parameters
        ----------
        mpp
            Scale of the result, in micrometres per px.

        Returns
        -------
        DiskImage
            The pixels of `thumbnail`; the caller closes it.
        """
        result = DiskImage(*self._thumbnail_size(mpp))
        try:
            for top, left, part in self._parts(mpp):
                result.write(top, left, part)
        except BaseException:
            result.close()
            raise
        return result

    def _thumbnail_size(self, mpp: float) -> tuple[int, int]:
        """Return the height and width of the whole slide at a scale."""
        width, height = (max(1, round(side / (mpp / self.mpp))) for side in self.dimensions)
        return height, width

    def _parts(self, mpp: float) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield the blocks of a thumbnail: row and column of the upper left pixel in it, and (h, w, 3) uint8."""
        scale = mpp / self.mpp
        height, width = self._thumbnail_size(mpp)
        block = min(max(self.block_px(mpp), 16), max(width, height))
        for top in range(0, height, block):
            for left in range(0, width, block):
                whole = self.read(left * scale, top * scale, block, mpp)
                yield top, left, whole[: height - top, : width - left]

    def block_px(self, mpp: float) -> int:
        """Return the side of the largest square, in px at a scale, that is worth reading at once."""
        return math.floor(BLOCK_PX * self._backend.downsamples[self._level_for(mpp)] * self.mpp / mpp)

    def _level_for(self, mpp: float) -> int:
        """Return the coarsest level that is not coarser than ``mpp`` (by more than 1 %); 0 where all are."""
        wanted = mpp / self.mpp * LEVEL_TOLERANCE
        return max((level for level, down in enumerate(self._backend.downsamples) if down <= wanted), default=0)


def open_slide(
    path: Path | str, mpp: float | None = None, *, reader: str = "auto", icc: Literal["srgb", "none"] = "none"
) -> Slide:
    """Open a slide and settle its physical scale.

    The scale is that of the table of samples (``mpp``), else the header's, else that of the TIFF resolution tag, else
    10 um/px divided by the objective power (with a warning in the log).

    Parameters
    ----------
    path
        Path of a file that OpenSlide or tiffslide reads, or of a plain PNG, JPEG or TIFF; or the address of a TIFF that
        fsspec reads (``s3://``, ``gs://``, ``az://``, ``http://``, ``https://``, ``file://``).
    mpp
        Micrometres per pixel of level 0 as the table of samples gives it; None or NaN where it does not.
    reader
        Library that reads the slide: ``openslide``, ``tiffslide``, ``image`` (a plain image), or ``auto``, the first
        that reads all that the file holds. An address is read with tiffslide.
    icc
        Colours: ``srgb`` converts pixels from the slide's ICC profile, where it has one, to sRGB; ``none`` leaves them.

    Returns
    -------
    Slide
        Open slide, which the caller closes.

    Raises
    ------
    SlideError
        With reason ``missing_file``, ``unreadable``, ``truncated``, ``too_large``, ``missing_mpp`` or
        ``implausible_mpp`` (outside 0.1 to 2.0 um/px, or x and y more than 2 % apart).
    UserError
        If an address needs a package that is not installed.
    """
    backend = _open_remote(str(path), reader) if is_remote(path) else _open_local(path, reader)
    try:
        scale, source = _settle_mpp(path, backend, mpp)
        width, height = (side * scale / OVERVIEW_MPP for side in backend.dimensions)
        if width * height > OVERVIEW_MAX_PIXELS:
            size = " x ".join(f"{side:,}" for side in backend.dimensions)
            message = f"{path}: {size} px of {scale:g} um are larger than any slide"
            raise SlideError("too_large", message, {"mpp": scale, "mpp_source": source})
        return Slide(path if is_remote(path) else Path(path), backend, scale, source, icc)
    except SlideError:
        backend.close()
        raise


def open_source(source: SlideSource, reading: Reading) -> Slide:
    """Open a slide of the table of samples with the settings for reading slides; see `open_slide`."""
    return open_slide(*source, reader=reading.reader, icc=reading.icc)


def _open_remote(address: str, reader: str) -> Backend:
    if reader not in ("auto", "tiffslide"):
        raise SlideError("unreadable", f"{address}: is read with tiffslide only; set slides.reader to auto")
    return TiffSlideBackend(address)


def _is_cut_off(path: Path) -> bool:
    try:
        return is_cut_off(path)
    except OSError:  # gone, or its disk is
        return False


def _open_local(path: Path | str, reader: str) -> Backend:
    try:
        if not str(path) or not Path(path).exists():
            raise SlideError("missing_file", f"{path or 'no path given'}: there is no such file")
        path = Path(path)
        if path.is_dir():
            raise SlideError("unreadable", f"{path}: is a folder; name the slide file")
        if path.is_char_device() or path.is_block_device():
            raise SlideError("unreadable", f"{path}: is a device; name the slide file")
        if path.is_file() and path.stat().st_size == 0:
            raise SlideError("unreadable", f"{path}: the file is empty")
        return open_backend(path, reader)
    except OSError as error:
        raise SlideError("unreadable", f"{path}: cannot be read ({error})") from None


def _to_srgb(path: Path | str, backend: Backend) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the conversion of (H, W, 3) uint8 from a slide's ICC profile to sRGB; None where it has no profile."""
    if backend.color_profile is None:
        return None
    try:
        transform = ImageCms.buildTransform(backend.color_profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except ImageCms.PyCMSError as error:
        log.warning("%s: its colour profile is not one of RGB, its colours stay as they are (%s)", path, error)
        return None
    return lambda rgb: np.array(ImageCms.applyTransform(Image.fromarray(rgb), transform))


def _settle_mpp(path: Path | str, backend: Backend, manifest: float | None) -> tuple[float, MppSource]:
    known = dict(backend.scales)
    if manifest is not None and not math.isnan(manifest):
        known["manifest"] = (manifest, manifest)
    source = next((source for source in get_args(MppSource) if source in known), None)
    if source is None:
        raise SlideError("missing_mpp", f"{path}: has no scale; give mpp in the samples table")
    x, y = known[source]
    mpp = (x + y) / 2
    told = {"mpp": mpp, "mpp_source": source}
    if not all(MPP_RANGE[0] <= value <= MPP_RANGE[1] for value in (x, y)):
        low, high = MPP_RANGE
        raise SlideError("implausible_mpp", f"{path}: {x:g} um/px from the {source} is not in {low} to {high}", told)
    if abs(x - y) > MAX_ANISOTROPY * max(x, y):
        raise SlideError(
            "implausible_mpp", f"{path}: pixels of {x:g} x {y:g} um from the {source} are not square", told
        )
    if source == "objective_power":
        log.warning("%s: scale of %g um/px guessed from the objective power; give mpp in the samples table", path, x)
    return mpp, source
