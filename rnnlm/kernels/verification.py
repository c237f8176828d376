"""Verification of the CUDA kernels against CuPy before they are used.

Each kernel has a reference implementation in CuPy's own functions.  The first `TIMES`
times that kernels of a kind and size run in a process, the reference computes the same
from the same numbers.  If both agree each time up to rounding, the kernels are used
from then on.  If they differ, or anything fails, a warning is logged and the process
continues with CuPy.

The environment variable `RNNLM_CUDA`: 0 disables the kernels, 1 skips the verification.
Verification cannot protect from a kernel that writes out of bounds or never ends.
"""
import collections
import contextlib
import logging
import math
import os
import threading

import chainer
from chainer import backend
import numpy

logger = logging.getLogger(__name__)

SETTING = 'RNNLM_CUDA'
OFF, TRUSTED, VERIFY = '0', '1', ''

# Maximum deviation that counts as rounding, relative to the largest number of the
# reference array, by the precision of the products.
TOLERANCE = {'float16': 2e-2, 'tf32': 2e-2, 'float32': 1e-4, 'float64': 1e-9}

# Comparisons for each key: each layer reuses scratch memory.
TIMES = 4

# Elements compared at once: in float32, 8 MiB and as much for each intermediate result.
PIECE = 2 ** 21

_local = threading.local()


class State:
    """State of the verification in this process.

    Attributes:
        mode (str): OFF, TRUSTED or VERIFY.
        verified (collections.Counter): Number of successful comparisons by key.
        refused (str): Why the kernels are no longer used; '' while they are.
    """

    def __init__(self, mode=None):
        self.mode = read_mode() if mode is None else mode
        self.verified = collections.Counter()
        self.refused = ''


def read_mode():
    """Returns the mode (str) from the environment.

    Raises:
        ValueError: If the variable is not 0, 1 or empty.
    """
    mode = os.environ.get(SETTING, VERIFY)
    if mode not in (OFF, TRUSTED, VERIFY):
        raise ValueError(
            f'{SETTING}: expected 0 (no CUDA kernels), 1 (use them unverified) or '
            f'nothing (verify them first), found {mode!r}; unset it')
    return mode


_state = None


def state():
    """Returns the `State` of this process."""
    global _state
    if _state is None:
        _state = State()
    return _state


def allowed():
    """Returns whether this thread may use kernels now."""
    known = state()
    return not (known.mode == OFF or known.refused or getattr(_local, 'without', 0))


@contextlib.contextmanager
def without():
    """Disables the kernels for this thread, within a context."""
    _local.without = getattr(_local, 'without', 0) + 1
    try:
        yield
    finally:
        _local.without -= 1


def refuse(what, reason):
    """Disables the kernels for the rest of the process.

    Args:
        what (str): The function whose verification failed.
        reason (str): What was expected and found.
    """
    if not state().refused:
        state().refused = f'{what}: {reason}'
        logger.warning(
            'the verification of the CUDA kernels failed; they are no longer used, '
            'which makes training slower: %s.  %s=0 disables them from the start',
            state().refused, SETTING)


def precision(dtype):
    """Returns the key of `TOLERANCE` for products of arrays of `dtype`."""
    name = numpy.dtype(dtype).name
    if name == 'float32' and getattr(chainer.config, 'tf32', False):
        return 'tf32'
    return name


def needed(key):
    """Returns whether the function with this key must still be verified."""
    return allowed() and state().mode == VERIFY and state().verified[key] < TIMES


def key_of(what, dtype, *rest):
    """Returns the key of a function: name, precision of its products, and the rest.

    Args:
        what (str): Name of the function.
        dtype: Dtype of the factors of its products.
        rest: Anything else that its kernels depend on.
    """
    return (what, precision(dtype), *rest)


def verify(gpu, key, compute, named, floor=lambda: 0.0):
    """Computes a function by kernels, verifying them first if necessary.

    Args:
        gpu: The kernels, or None if there are none.
        key: Key of the function, from `key_of`.
        compute: The function, which uses kernels where `allowed` is true.  It may be
            called twice, and must not change anything but its result.
        named: Function from a result to a dict of the arrays to compare.
        floor: Function without arguments; the magnitude below which rounding errors do
            not matter.

    Returns:
        The result of `compute`.
    """
    if not gpu or not needed(key):
        return compute()
    what, kind = key[:2]
    with without():
        reference = compute()
    expected = named(reference)
    try:
        ours = compute()
        found, least = named(ours), floor()
        reason, finite = difference([(name, found[name], array, least)
                                     for name, array in expected.items()], kind)
    except Exception as e:  # the type depends on the versions of CuPy and the compiler
        reason = failure(e)
    if reason:
        refuse(what, reason)
        return reference
    # A comparison of NaN verifies nothing, so it does not count.
    state().verified[key] += finite
    return ours


def failure(error):
    """Describes an exception as a reason (str)."""
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0][:200]}'


def difference(arrays, kind):
    """Compares arrays, each on the device of ours.

    Args:
        arrays: Iterable of (name, ours, reference, floor).  The reference may be on the
            host.  Where it is not finite, ours is not compared; numbers below the floor
            may differ by more.
        kind (str): A key of `TOLERANCE`.

    Returns:
        tuple: A description of the array that deviates most ('' if all agree up to
        rounding), and whether all references are finite.
    """
    worst, where, finite = 0.0, '', True
    for name, ours, reference, floor in arrays:
        found, known = deviation(ours, reference, floor)
        del ours, reference  # their memory may serve the next ones
        finite = finite and known
        if not found <= worst:  # also true for NaN, the worst
            worst, where = found, name
        if numpy.isnan(found):
            break
    if worst <= TOLERANCE[kind]:
        return '', finite
    found = ('numbers that are not finite' if numpy.isnan(worst)
             else f'{worst:.1e}')
    return (f'{where} differs from the reference: expected at most '
            f'{TOLERANCE[kind]:.0e} of its largest number ({kind}), found {found}',
            finite)


def deviation(ours, reference, floor=0.0):
    """Compares two arrays where the reference is finite.

    Returns:
        tuple: The largest difference (float), relative to the largest number: infinity
        for arrays of different shapes or dtypes, NaN if ours is not finite.  And
        whether all of the reference is finite (bool).
    """
    if ours.shape != reference.shape or ours.dtype != reference.dtype:
        return numpy.inf, False
    if not ours.size:
        return 0.0, True
    try:
        known, ours_known, most, largest = _measured(ours, reference)
    except MemoryError:  # no memory is left on the GPU
        known, ours_known, most, largest = _measured(on_host(ours), on_host(reference))
    found = most / max(largest, floor, 1e-30) if ours_known else numpy.nan
    return found, known


def _measured(ours, reference):
    """Measures two arrays of one shape, which is not empty, piece by piece.

    Returns:
        tuple: Whether all of the reference is finite; whether ours is, where the
        reference is; the largest difference and the largest number there.
    """
    xp = backend.get_array_module(ours)
    found = []
    for part in pieces(ours.shape):
        a, b = ours[part], xp.asarray(reference[part])
        if a.dtype.itemsize < 4:
            a, b = a.astype('f'), b.astype('f')
        known = xp.isfinite(b)
        a, b = (xp.where(known, x, x.dtype.type(0)) for x in (a, b))
        with numpy.errstate(over='ignore'):
            most = abs(a - b).max()
        found.append(xp.stack([x.astype('d') for x in (
            known.all(), xp.isfinite(a).all(), most, abs(b).max())]))
    found = on_host(xp.stack(found))  # (pieces, 4); the only time that the host waits
    return (bool(found[:, 0].all()), bool(found[:, 1].all()),
            float(found[:, 2].max()), float(found[:, 3].max()))


def sum_of_squares(x):
    """Returns the sum of the squares of an array: float64, shape (), on its device."""
    parts = (x[part].astype('d') for part in pieces(x.shape))
    return sum((part * part).sum() for part in parts)


def pieces(shape):
    """Yields the indices of pieces of an array, each of about `PIECE` elements."""
    if not shape:
        yield Ellipsis
        return
    rows = max(1, PIECE // max(1, math.prod(shape[1:])))
    for start in range(0, max(1, shape[0]), rows):
        yield slice(start, start + rows)


def on_host(x):
    """Returns an array of any device as a NumPy array."""
    return numpy.asarray(x.get() if hasattr(x, 'get') else x)
