"""The words that all parts share: niches, flags, rankings, units, names of gene columns."""
