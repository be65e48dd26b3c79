"""The stains of a slide, and the target that all are brought to."""
