"""The sides of a split: those of the cases that models are made of, and that of cohorts which are only ever scored."""

SPLITS = ("train", "val", "test")
EXTERNAL = "external"
SIDES = (*SPLITS, EXTERNAL)
