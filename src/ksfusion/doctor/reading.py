"""Whether slides can be read here: the decoders of their tiles, and OpenSlide on a slide drawn for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from ksfusion.doctor.findings import Finding, in_short, looked_at

# How tiles of slides are packed: with loss, and without.
LOSSY, EXACT = ("jpeg", "jpeg2k"), ("lzw", "zlib", "packbits", "zstd")
TOLERANCE = 8
REINSTALL = "install them anew: python -m pip install --force-reinstall imagecodecs openslide-bin openslide-python"


def reading_findings() -> Iterator[Finding]:
    """Yield what was found of codecs and of OpenSlide."""
    yield from looked_at("codecs", _codecs)
    yield from looked_at("OpenSlide", _openslide)


def _codecs() -> Iterator[Finding]:
    """Pack a square with each codec, and see whether it comes back."""
    broken = [name for name in (*LOSSY, *EXACT) if not _decodes(name)]
    if broken:
        yield Finding("problem", "codecs", f"what is packed by {', '.join(broken)} cannot be read", REINSTALL)
    else:
        yield Finding("ok", "codecs", f"{', '.join((*LOSSY, *EXACT))} read back what they pack")


def _decodes(name: str) -> bool:
    """Return whether a codec gives back what it packed: a square with a gradient."""
    import imagecodecs
    import numpy as np

    ramp = np.linspace(40, 220, 64, dtype=np.uint8)
    square = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(128)), axis=-1)
    try:
        encode, decode = getattr(imagecodecs, f"{name}_encode"), getattr(imagecodecs, f"{name}_decode")
        if name in EXACT:
            return bytes(decode(encode(square.tobytes()))) == square.tobytes()
        read = decode(encode(square, level=95 if name == "jpeg" else 60))
    except Exception:  # of a codec: each library has its own
        return False
    return bool(np.abs(read.astype(int) - square).max() <= TOLERANCE)


def _openslide() -> Iterator[Finding]:
    """Draw a pyramid of JPEG tiles, and see whether OpenSlide reads its colour."""
    import numpy as np
    import tifffile

    try:
        import openslide
    except OSError as error:  # its library is not there
        yield Finding("problem", "OpenSlide", f"cannot be loaded ({in_short(error)})", REINSTALL)
        return
    drawn = np.full((512, 512, 3), (200, 120, 180), np.uint8)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "drawn.tif")
            with tifffile.TiffWriter(path) as file:
                file.write(drawn, tile=(256, 256), compression="jpeg", photometric="rgb", subfiletype=0)
                file.write(drawn[::4, ::4], tile=(128, 128), compression="jpeg", photometric="rgb", subfiletype=1)
            with openslide.OpenSlide(path) as slide:
                read = np.asarray(slide.read_region((100, 100), 0, (200, 200)).convert("RGB"), int)
    except Exception as error:  # of OpenSlide, a codec or the disk: each has its own
        said = f"cannot read a slide ({type(error).__name__}: {in_short(error)})"
        yield Finding("problem", "OpenSlide", said, REINSTALL)
        return
    if np.abs(read - drawn[:200, :200]).max() > TOLERANCE:
        yield Finding("problem", "OpenSlide", "reads other pixels than those that were drawn", REINSTALL)
    else:
        yield Finding("ok", "OpenSlide", f"{openslide.__library_version__} reads a slide drawn for it")
