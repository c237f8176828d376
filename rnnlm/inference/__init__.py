"""What a trained model is for: writing, scoring, dynamic evaluation."""
