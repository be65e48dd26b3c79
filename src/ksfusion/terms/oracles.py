"""The oracles of a synthetic cohort: plain models that read what was planted, in place of slides and genes."""

# Name to how it is printed and what it knows: the latents behind the patches of slides (p), behind genes (g), or both.
ORACLES = {
    "oracle-slides": ("Oracle: slides", "p"),
    "oracle-genes": ("Oracle: genes", "g"),
    "oracle-both": ("Oracle: both", "pg"),
}
