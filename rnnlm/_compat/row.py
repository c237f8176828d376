"""A row of the table of patches, and the conditions under which one is needed."""
import importlib.metadata
import re
import sys
import typing

import numpy


class Row(typing.NamedTuple):
    """A mended place of Chainer's source."""

    what: str        # what broke
    module: str      # in which Chainer module
    since: str       # since which release of what
    needed: typing.Callable[[], bool]
    edits: typing.Tuple[typing.Tuple[str, str], ...]  # (Chainer's text, ours)


def numbers(version):
    """The first four integers of a version: '2.0.1rc1' is (2, 0, 1, 1)."""
    found = [int(n) for n in re.findall(r'\d+', version)[:4]]
    return tuple(found + [0] * (4 - len(found)))


def release(distribution):
    """The version of a distribution as four integers; None if not installed."""
    try:
        return numbers(importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return None


def python_since(*version):
    return lambda: sys.version_info >= version


def numpy_since(*version):
    return lambda: numbers(numpy.__version__) >= version


def h5py_since(*version):
    return lambda: (release('h5py') or ()) >= version


def cupy_since(*version):
    def needed():
        try:
            import cupy  # Chainer imports it anyway, and lives with any failure
        except Exception:
            return False
        return numbers(cupy.__version__) >= version
    return needed
