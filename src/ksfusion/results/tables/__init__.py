"""The result tables."""
