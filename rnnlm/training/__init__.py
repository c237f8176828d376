"""Training: the updater, the evaluator, extensions, triggers, and what they need."""
