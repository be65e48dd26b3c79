"""Attribution of a trained model's output to each gene."""
