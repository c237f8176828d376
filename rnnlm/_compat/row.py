"""`Row`, an entry of the table of patches, and conditions for when it is needed."""
import importlib.metadata
import re
import sys
import typing

import numpy


class Row(typing.NamedTuple):
    """Entry of the table of patches: one change of Chainer's source."""

    what: str        # what broke
    module: str      # in which Chainer module
    since: str       # since which release of which package
    needed: typing.Callable[[], bool]
    edits: typing.Tuple[typing.Tuple[str, str], ...]  # (original text, replacement)


def numbers(version):
    """Returns the first four integers of a version: '2.0.1rc1' is (2, 0, 1, 1)."""
    found = [int(n) for n in re.findall(r'\d+', version)[:4]]
    return tuple(found + [0] * (4 - len(found)))


def release(distribution):
    """Returns the version of a distribution as four integers, or None if missing."""
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
            import cupy  # Chainer imports it anyway, and tolerates any failure
        except Exception:
            return False
        return numbers(cupy.__version__) >= version
    return needed
