"""Demonstration cohort: synthetic data with planted truth."""
