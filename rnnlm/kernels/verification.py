"""Verification of the CUDA kernels against CuPy before they are used.

Each kernel has a reference implementation in CuPy's own functions.  The first time that
kernels of a kind and size run in a process, the reference computes the same from the
same numbers.  If both agree up to rounding, the kernels are used from then on.  If they
differ, or anything fails, a warning is logged and the process continues with CuPy.

The environment variable `RNNLM_CUDA`: 0 disables the kernels, 1 skips the verification.
Verification cannot protect from a kernel that writes out of bounds or never ends.
"""
import collections
import contextlib
import logging
import os
import threading

import chainer
import numpy

logger = logging.getLogger(__name__)

SETTING = 'RNNLM_CUDA'
OFF, TRUSTED, VERIFY = '0', '1', ''

# Maximum deviation that counts as rounding, relative to the largest number of the
# reference array, by the precision of the products.
TOLERANCE = {'float16': 2e-2, 'tf32': 2e-2, 'float32': 1e-4, 'float64': 1e-9}

# Comparisons for each key: each layer reuses scratch memory.
TIMES = 4

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
            'the CUDA kernels differ from CuPy and are no longer used, which makes '
            'training slower: %s.  %s=0 disables them from the start',
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
    # Copied to the host now, because the second call may reuse the same memory.
    expected = {name: on_host(array) for name, array in named(reference).items()}
    try:
        ours = compute()
        found, least = named(ours), floor()
        reason = difference([(name, found[name], array, least)
                             for name, array in expected.items()], kind)
    except Exception as e:  # the type depends on the versions of CuPy and the compiler
        reason = failure(e)
    if reason:
        refuse(what, reason)
        return reference
    # A comparison of NaN verifies nothing, so it does not count.
    if all(numpy.isfinite(array).all() for array in expected.values()):
        state().verified[key] += 1
    return ours


def failure(error):
    """Describes an exception as a reason (str)."""
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0][:200]}'


def difference(arrays, kind):
    """Describes the array that deviates most; '' if all agree up to rounding.

    Args:
        arrays: list of (name, ours, reference, floor).  Where the reference is not
            finite, ours is not compared; numbers below the floor may differ by more.
        kind (str): A key of `TOLERANCE`.
    """
    worst, where = 0.0, ''
    for name, ours, reference, floor in arrays:
        found = deviation(on_host(ours), on_host(reference), floor)
        if not found <= worst:  # also true for NaN, the worst
            worst, where = found, name
        if numpy.isnan(found):
            break
    if worst <= TOLERANCE[kind]:
        return ''
    found = ('numbers that are not finite' if numpy.isnan(worst)
             else f'{worst:.1e}')
    return (f'{where} differs from the reference: expected at most '
            f'{TOLERANCE[kind]:.0e} of its largest number ({kind}), found {found}')


def deviation(ours, reference, floor=0.0):
    """Returns the largest difference of two arrays, relative to the largest number.

    Infinity for arrays of different shapes, NaN if ours is not finite where the
    other is.
    """
    if ours.shape != reference.shape or ours.dtype != reference.dtype:
        return numpy.inf
    if ours.dtype.itemsize < 4:
        ours, reference = ours.astype('f'), reference.astype('f')
    known = numpy.isfinite(reference)
    if not known.all():
        ours, reference = ours[known], reference[known]
    if not reference.size:
        return 0.0
    if not numpy.isfinite(ours).all():
        return numpy.nan
    with numpy.errstate(over='ignore'):
        largest = float(numpy.abs(ours - reference).max())
    return largest / max(float(numpy.abs(reference).max()), floor, 1e-30)


def on_host(x):
    """Returns an array of any device as a NumPy array."""
    return numpy.asarray(x.get() if hasattr(x, 'get') else x)
