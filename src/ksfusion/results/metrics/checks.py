"""What every metric asks of its inputs."""

from __future__ import annotations

import numpy as np


def check_finite(**values: np.ndarray) -> None:
    """Raise ValueError where a value is not finite, by the name of its argument."""
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite")
