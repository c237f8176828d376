"""Patches that let Chainer 7.8.1 run on current Python, NumPy and CuPy."""
