"""What a trained model's output owes to each gene."""
