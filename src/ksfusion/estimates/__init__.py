"""What a study will take before anything runs: time, memory, disk, what will dominate it and what will fail."""
