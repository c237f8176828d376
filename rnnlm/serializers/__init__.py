"""File input and output: atomic writing, and reading that never runs code."""
