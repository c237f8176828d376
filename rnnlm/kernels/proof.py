"""Whether the CUDA kernels may be used: they prove themselves against their twins.

Each kernel has a plain twin, of CuPy's own functions.  What kernels compute for the
first time in a process, of each kind and size, the twins compute too, from the same
numbers.  If the two agree up to rounding, the kernels are used from then on.  If they
differ, or anything fails, a warning says so and the process goes on with the twins.

`RNNLM_CUDA` in the environment: 0 does without the kernels, 1 uses them without proof.
A kernel that writes where it should not, or never ends, can spoil the whole process;
no comparison helps there.
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
OFF, TRUSTED, PROVE = '0', '1', ''

# The largest deviation that counts as rounding, in parts of the largest number of the
# twin's array, by the precision of the products.
TOLERANCE = {'float16': 2e-2, 'tf32': 2e-2, 'float32': 1e-4, 'float64': 1e-9}

# So often what has one key is compared: scratch memory is used anew by each layer.
TIMES = 4

_local = threading.local()


class State:
    """What is known in this process.

    Attributes:
        mode (str): OFF, TRUSTED or PROVE.
        proven (collections.Counter): How often what has a key has proved itself.
        refused (str): Why the kernels are not used any more; '' while they are.
    """

    def __init__(self, mode=None):
        self.mode = read_mode() if mode is None else mode
        self.proven = collections.Counter()
        self.refused = ''


def read_mode():
    """str: The setting of the environment.

    Raises:
        ValueError: if it is another than 0, 1 or none.
    """
    mode = os.environ.get(SETTING, PROVE)
    if mode not in (OFF, TRUSTED, PROVE):
        raise ValueError(
            f'{SETTING}: expected 0 (no CUDA kernels), 1 (use them without proof) or '
            f'nothing (they prove themselves first), found {mode!r}; unset it')
    return mode


_state = None


def state():
    """State: that of this process."""
    global _state
    if _state is None:
        _state = State()
    return _state


def allowed():
    """bool: Whether kernels may be used here and now."""
    known = state()
    return not (known.mode == OFF or known.refused or getattr(_local, 'without', 0))


@contextlib.contextmanager
def without():
    """A context in which this thread uses no kernels."""
    _local.without = getattr(_local, 'without', 0) + 1
    try:
        yield
    finally:
        _local.without -= 1


def refuse(what, reason):
    """From here on no kernels are used.

    Args:
        what (str): What did not prove itself.
        reason (str): What was expected and found.
    """
    if not state().refused:
        state().refused = f'{what}: {reason}'
        logger.warning(
            'the CUDA kernels differ from CuPy, and are not used from here on, which '
            'takes longer: %s.  %s=0 does without them from the start',
            state().refused, SETTING)


def precision(dtype):
    """str: The key of `TOLERANCE` for products of arrays of `dtype`."""
    name = numpy.dtype(dtype).name
    if name == 'float32' and getattr(chainer.config, 'tf32', False):
        return 'tf32'
    return name


def needed(key):
    """bool: Whether what has this key has yet to prove itself."""
    return allowed() and state().mode == PROVE and state().proven[key] < TIMES


def key_of(what, dtype, *rest):
    """The key of a function: its name, the precision of its products, and the rest.

    Args:
        what (str): The name of the function.
        dtype: Of the factors of its products.
        rest: What else its kernels depend on.
    """
    return (what, precision(dtype), *rest)


def prove(gpu, key, compute, named, floor=lambda: 0.0):
    """The result of a function, by kernels if they are proven.

    Args:
        gpu: The kernels; None where there are none.
        key: Of the function, from `key_of`.
        compute: The function, which uses kernels where `allowed` says so.  It may be
            called twice, and may change nothing but what it returns.
        named: From a result to a dict of arrays, those to compare.
        floor: Of no arguments: the least size of numbers whose rounding matters.

    Returns:
        What `compute` returns.
    """
    if not gpu or not needed(key):
        return compute()
    what, kind = key[:2]
    with without():
        twin = compute()
    expected = {name: on_host(array) for name, array in named(twin).items()}
    try:
        ours = compute()
        found, least = named(ours), floor()
        reason = difference([(name, found[name], array, least)
                             for name, array in expected.items()], kind)
    except Exception as e:  # what CuPy and a compiler raise depends on their versions
        reason = failure(e)
    if reason:
        refuse(what, reason)
        return twin
    if all(numpy.isfinite(array).all() for array in expected.values()):
        state().proven[key] += 1
    return ours


def failure(error):
    """str: An exception as a reason."""
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0][:200]}'


def difference(arrays, kind):
    """The array that deviates most, in words; '' if none does by more than rounding.

    Args:
        arrays: list of (name, ours, the twin's, floor): where the twin's is not finite
            ours may be anything; numbers below the floor may differ by more.
        kind (str): A key of `TOLERANCE`.
    """
    worst, where = 0.0, ''
    for name, ours, twin, floor in arrays:
        found = deviation(on_host(ours), on_host(twin), floor)
        if not found <= worst:  # NaN is the worst
            worst, where = found, name
        if numpy.isnan(found):
            break
    if worst <= TOLERANCE[kind]:
        return ''
    found = ('numbers that are not finite' if numpy.isnan(worst)
             else f'{worst:.1e} of it')
    return (f'{where} deviates from its twin: expected at most {TOLERANCE[kind]:.0e} '
            f'of its largest number ({kind}), found {found}')


def deviation(ours, twin, floor=0.0):
    """float: The largest difference of two arrays, in parts of the largest number.

    Infinity for arrays of different shapes, NaN if ours is not finite where the
    other is.
    """
    if ours.shape != twin.shape or ours.dtype != twin.dtype:
        return numpy.inf
    if ours.dtype.itemsize < 4:
        ours, twin = ours.astype('f'), twin.astype('f')
    known = numpy.isfinite(twin)
    if not known.all():
        ours, twin = ours[known], twin[known]
    if not twin.size:
        return 0.0
    if not numpy.isfinite(ours).all():
        return numpy.nan
    with numpy.errstate(over='ignore'):
        largest = float(numpy.abs(ours - twin).max())
    return largest / max(float(numpy.abs(twin).max()), floor, 1e-30)


def on_host(x):
    """numpy.ndarray: An array of any device, on the host."""
    return numpy.asarray(x.get() if hasattr(x, 'get') else x)
