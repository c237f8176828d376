"""Use of a trained model: generation, scoring, dynamic evaluation."""
