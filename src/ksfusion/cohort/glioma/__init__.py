"""The tables of the paper's cohort, from what a user downloads."""
