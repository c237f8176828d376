"""Of `cupyx.scipy` what Chainer imports."""
