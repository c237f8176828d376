"""Scripts written for Chainer 1 to 7 run as they are: `rnnlm run script.py`.

`table` lists the names that are gone and what serves each; `run` puts them in place,
in the process of the script and nowhere else, if `source` finds that the script needs
them.
"""
