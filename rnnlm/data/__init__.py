"""Text -> `Vocabulary` -> ids -> windows; the demo corpus."""
