"""What Chainer needs on today's Python, NumPy and CuPy, applied at `import rnnlm`."""
