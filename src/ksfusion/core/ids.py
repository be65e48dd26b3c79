"""What a slide is called where its table does not say, and which job handles it."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath


def stable_hash(text: str) -> int:
    """Hash a text to 32 bits; the same on every machine and in every run."""
    return int(hashlib.sha256(text.encode("utf-8")).hexdigest()[:8], 16)


def batch_of(slide_id: str, batches: int) -> int:
    """Return the batch of a slide: it depends on nothing but its id, so that a new slide touches one batch."""
    return stable_hash(slide_id) % batches


def default_slide_id(path: str) -> str:
    """Return the stem of a slide's file."""
    return PurePosixPath(path).stem
