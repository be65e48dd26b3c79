"""Where a trained model looks."""
