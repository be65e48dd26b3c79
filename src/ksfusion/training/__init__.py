"""Training: data of a fold, losses, gradient coordination, and the loop."""
