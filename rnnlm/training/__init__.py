"""Training: the updater, the evaluator, extensions and triggers."""
