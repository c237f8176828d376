"""Files: written whole, read without running anything, checked before use."""
