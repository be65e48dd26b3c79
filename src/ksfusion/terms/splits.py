"""The sides of a split."""

SPLITS = ("train", "val", "test")
