"""When two predicted risks are the same."""

# Risks closer than this are ties, as in scikit-survival.
TIED_RISK = 1e-8
