"""The folder that `rnnlm run` puts on the PYTHONPATH of the script and its children."""
