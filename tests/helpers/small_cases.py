"""The small inputs that once went wrong, which lie beside the project."""

from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


def shared_case(name: str) -> Path:
    """Return one of them; the test skips where it is absent, since others like it are drawn."""
    path = CASES / name
    if not path.exists():
        pytest.skip(f"no {name} in {CASES}")
    return path
