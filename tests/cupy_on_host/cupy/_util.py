"""Chainer imports one name from here."""


class PerformanceWarning(RuntimeWarning):
    """Something is slow."""
