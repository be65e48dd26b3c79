"""What a page of ours lets a browser load: nothing from elsewhere, and no style or script but its own."""

from __future__ import annotations

import base64
import hashlib


def content_policy(style: str, script: str = "") -> str:
    """Return the Content-Security-Policy of a page that holds all it needs.

    Parameters
    ----------
    style, script
        The page's own; without a script none runs.
    """
    allowed = f"default-src 'none'; img-src data:; style-src '{_hash_of(style)}'"
    return f"{allowed}; script-src '{_hash_of(script)}'" if script else allowed


def _hash_of(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
