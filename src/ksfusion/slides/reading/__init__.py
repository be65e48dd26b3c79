"""Slide files: which they are, how they are opened, and patches read from them."""
