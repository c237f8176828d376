"""The exceptions: what was given cannot be used; numbers or processes are lost."""
import math
import numbers

import numpy


class InputError(ValueError):
    """A file, an option or an argument that cannot be used.

    Its message names the thing, what was expected, what was found and what to
    do.  The command line prints it without a traceback.
    """


class NotFinite(ArithmeticError):
    """A training run whose numbers became NaN or infinite.

    Its message names the window, the learning rate and the first parameter hit.

    Attributes:
        signal (int): the number of a signal to stop that came in the same window, or 0.
    """
    signal = 0


class ProcessLost(RuntimeError):
    """A process of a job of several that ended, or does not answer any more.

    Its message names the rank that noticed, the window, and what is known of the other.
    """


def shown(value):
    """The value as a message shows it, however long or deep it is."""
    try:
        text = repr(value)
    except RecursionError:
        return f'a deeply nested {type(value).__name__}'
    return text if len(text) <= 200 else text[:200] + '...'


def require(name, value, expected, is_good):
    """Raises InputError unless ``is_good(value)``; `expected` says what is good."""
    try:
        good = is_good(value)
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise InputError(f'{name}: expected {expected}, found {shown(value)}')


def require_count(name, value, least=1, most=2 ** 31 - 1):
    """Raises InputError unless `value` is an integer from `least` to `most`."""
    def is_count(v):
        return isinstance(v, numbers.Integral) and not isinstance(v, bool)

    require(name, value, f'an integer of at least {least}',
            lambda v: is_count(v) and v >= least)
    require(name, value, f'an integer of at most {most}', lambda v: v <= most)


def require_ratio(name, value):
    """Raises InputError unless 0 <= value < 1."""
    require(name, value, 'a ratio of at least 0 and less than 1',
            lambda v: 0 <= v < 1)


def require_positive(name, value):
    """Raises InputError unless `value` is finite and greater than 0."""
    require(name, value, 'a finite number greater than 0',
            lambda v: v > 0 and math.isfinite(v))


def require_ids(name, ids, least=1):
    """The ids of a text as an array.

    Args:
        name (str): What they are called in the message.
        ids (sequence of int): The ids.
        least (int): The fewest that will do.

    Returns:
        numpy.ndarray: (N,) of integers that int32 holds.

    Raises:
        InputError: if they are not that.
    """
    try:
        array = numpy.asarray(ids)
    except (TypeError, ValueError, OverflowError):
        array = numpy.array(None)
    if array.ndim != 1 or array.dtype.kind not in 'iu' and array.size:
        raise InputError(
            f'{name}: expected a sequence of ints, ids of words, found {shown(ids)}')
    if array.size < least:
        raise InputError(
            f'{name}: expected at least {least} of them, ids of words, found '
            f'{array.size}')
    if array.size and (array.max() >= 2 ** 31 or array.min() < -2 ** 31):
        raise InputError(
            f'{name}: expected ids of words of 32 bits, found {array.min()} to '
            f'{array.max()}')
    return array
