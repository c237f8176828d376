"""Inference with a trained model: generation, scoring and dynamic evaluation."""
