"""Samples, labels, splits and the ledger of what became of each slide and sample."""
