"""The splits of a fold: those of the cases that models are made of, and that of cohorts which are only ever scored."""

# The columns of the table of the cases' splits.
SPLIT_COLUMNS = ("fold", "case_id", "split")
SPLITS = ("train", "val", "test")
EXTERNAL = "external"
ALL_SPLITS = (*SPLITS, EXTERNAL)
# Validation cases that are held out of every choice (training.calibration_fraction); in predictions alone.
CALIBRATION = "calibration"
