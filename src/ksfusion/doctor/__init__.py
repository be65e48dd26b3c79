"""Whether this machine, its cluster and a study's files are fit for a run: each finding with its remedy."""
