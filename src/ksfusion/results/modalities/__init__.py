"""Whether a method uses both modalities: its scores when one is permuted, and without what needs both."""
