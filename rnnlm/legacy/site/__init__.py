"""Folder that `rnnlm run` adds to the PYTHONPATH of the script and its children."""
