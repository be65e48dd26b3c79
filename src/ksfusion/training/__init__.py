"""Training: data of a fold, the epochs and their steps, losses, gradient coordination, and the search of settings."""
