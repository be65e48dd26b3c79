"""Expression profiles: their files, units and genes."""
