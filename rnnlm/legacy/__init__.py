"""Running of unmodified scripts written for Chainer 1 to 7: `rnnlm run script.py`.

`table` lists the names that later releases removed, and a replacement for each.  If
`source` finds that a script needs them, `run` installs them in the script's process.
"""
