"""Exceptions, and checks of arguments that raise `InputError`."""
import contextlib
import itertools
import json
import math
import numbers
import unicodedata
from typing import (
    TYPE_CHECKING, Any, Callable, Iterable, Iterator, Optional, Sequence, Tuple)

if TYPE_CHECKING:  # the command reads its options without NumPy
    import numpy

LONGEST_MESSAGE = 4000

# Unicode categories that are shown as escapes: control characters, which a terminal
# obeys; direction marks and other invisible ones; surrogates; line separators.
_ESCAPED = 'Cc', 'Cf', 'Cs', 'Zl', 'Zp'
_JOINERS = '\u200c\u200d'  # they join letters, in Persian and Hindi, and emoji


def printable(text: Any, most: Optional[int] = None, keep: str = '') -> str:
    """Escapes a text from a file, so that it is safe to print to a terminal.

    Args:
        text: The text, or any object with a `str`.
        most: Maximum number of characters; a longer text is cut and ends in ``...``.
        keep: Characters that are not escaped, such as line feeds.

    Returns:
        The text, with control characters, direction marks and the like as JSON
        escapes: ``\\u001b``.
    """
    text = str(text)
    if most is not None and len(text) > most:
        text = text[:most - 3] + '...'
    if not text.isprintable():
        text = ''.join(json.dumps(c)[1:-1] if _is_escaped(c) and c not in keep else c
                       for c in text)
    return text


def _is_escaped(c: str) -> bool:
    return unicodedata.category(c) in _ESCAPED and c not in _JOINERS


class InputError(ValueError):
    """Error for a file, an option or an argument that cannot be used.

    The message says what was wrong, what was expected, what was found and what to
    do.  The command line prints it without a traceback.

    Args:
        problem: What is wrong: 'expected X, found Y; do Z'.
        name: The argument or field at fault, if there is one.  The message starts
            with it.
        lines: Lines of advice to print below the message.

    Attributes:
        problem (str): `problem`, followed by `lines`.
        name (str or None): As given.  The command line prints the flag instead.
    """

    def __init__(self, problem: str, name: Optional[str] = None,
                 lines: Sequence[str] = ()) -> None:
        # Any part of the message may have come from a file.
        problem = '\n'.join(
            printable(line, LONGEST_MESSAGE) for line in (problem, *lines))
        super().__init__(problem if name is None else f'{name}: {problem}')
        # Unpickling calls this with the whole message, and then sets these two.
        self.problem = problem
        self.name = name

    def __str__(self) -> str:
        return self.problem if self.name is None else f'{self.name}: {self.problem}'


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Adds the name of an argument to errors raised inside that have no name.

    Args:
        name: The argument.

    Raises:
        InputError: The error raised inside, with the name.
    """
    try:
        yield
    except InputError as e:
        if e.name is not None:
            raise
        raise InputError(e.problem, name) from None


class NotFinite(ArithmeticError):
    """Error for a training run whose loss or gradients became NaN or infinite.

    The message names the window, the learning rate and the first parameter affected.

    Attributes:
        signal (int): Number of a stop signal that arrived in the same window, or 0.
    """
    signal = 0


class ProcessLost(RuntimeError):
    """Error for a process of a parallel run that ended or stopped responding.

    The message names the rank that noticed it, the window, and what is known of the
    lost process.
    """


def counted(n: float, noun: str) -> str:
    """Returns a number with its noun in the singular or plural: '1 epoch'.

    Example:
        >>> counted(1, 'epoch'), counted(20000, 'window'), counted(0.4, 'window')
        ('1 epoch', '20,000 windows', '0.4 windows')
    """
    number = f'{n:,.0f}' if n >= 10 or n == int(n) else f'{n:.2g}'
    return f'{number} {noun}' + ('' if number == '1' else 's')


def short_repr(value: Any) -> str:
    """Returns a `repr` short enough for a message, for any value."""
    try:
        text = repr(value)
    except RecursionError:
        return f'a deeply nested {type(value).__name__}'
    except ValueError:  # Python refuses to print an integer of so many digits
        return f'a {type(value).__name__} of very many digits'
    return text if len(text) <= 200 else text[:200] + '...'


def require(name: str, value: Any, expected: str,
            is_good: Callable[[Any], Any]) -> None:
    """Checks a value and raises InputError if it fails.

    Args:
        name: Name of the argument or field.
        value: The value, of any type.
        expected: Description of a valid value.
        is_good: Function that returns whether a value is valid.  A TypeError,
            ValueError, OverflowError or LookupError means that it is not.

    Raises:
        InputError: If the value is invalid.
    """
    try:
        good = is_good(value)
    except (TypeError, ValueError, OverflowError, LookupError):
        good = False
    if not good:
        raise InputError(f'expected {expected}, found {short_repr(value)}', name)


def is_integer(value: Any) -> bool:
    """Returns whether a value is a Python or NumPy integer, and not a bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Returns whether a value is a Python or NumPy number; false for an array."""
    return isinstance(value, numbers.Real)


def require_count(name: str, value: Any, least: int = 1,
                  most: int = 2 ** 31 - 1) -> None:
    """Raises InputError unless `value` is an integer from `least` to `most`."""
    require(name, value, f'an integer of at least {least}',
            lambda v: is_integer(v) and v >= least)
    require(name, value, f'an integer of at most {most}', lambda v: v <= most)


def require_ratio(name: str, value: Any) -> None:
    """Raises InputError unless 0 <= value < 1."""
    require(name, value, 'a ratio of at least 0 and less than 1',
            lambda v: is_real(v) and 0 <= v < 1)


def require_positive(name: str, value: Any) -> None:
    """Raises InputError unless `value` is finite and greater than 0."""
    require(name, value, 'a finite number greater than 0',
            lambda v: is_real(v) and v > 0 and math.isfinite(v))


def require_divisor(name: str, value: Any) -> None:
    """Raises InputError unless `value` is finite and at least 1."""
    require(name, value, 'a finite number of at least 1',
            lambda v: is_real(v) and v >= 1 and math.isfinite(v))


def checked_cutoffs(cutoffs: Iterable[int], n_vocab: int) -> Tuple[int, ...]:
    """Checks the cutoffs of an adaptive softmax, and returns them as a tuple of int.

    Raises:
        InputError: Unless they ascend, from 1 to `n_vocab` - 1.
    """
    def is_good(values: Any) -> bool:
        edges = [0, *values, n_vocab]
        return len(edges) > 2 and all(
            is_real(b) and not isinstance(b, bool) and int(b) == b and a < b
            for a, b in zip(edges, edges[1:]))

    with contextlib.suppress(TypeError):  # an iterator can only be read once
        cutoffs = list(itertools.islice(cutoffs, n_vocab))
    require('cutoffs', cutoffs,
            f'one or more ascending integers from 1 to {n_vocab - 1}', is_good)
    return tuple(map(int, cutoffs))


def require_ids(name: str, ids: Any, least: int = 1, n_vocab: Optional[int] = None
                ) -> 'numpy.ndarray':
    """Converts token ids to an array.

    Args:
        name: Name of the argument, for the message.
        ids (sequence of int): The ids.
        least: Minimum number of ids.
        n_vocab: If given, the ids must be in the vocabulary, from 0 to n_vocab - 1.

    Returns:
        Array (N,) of integers that fit into int32.

    Raises:
        InputError: If they are not such ids.
    """
    import numpy
    try:
        array = numpy.asarray(ids)
    except (TypeError, ValueError, OverflowError):
        array = numpy.array(None)
    if array.ndim != 1 or array.dtype.kind not in 'iu' and array.size:
        raise InputError(
            f'expected a sequence of token ids (int), found {short_repr(ids)}', name)
    if array.size < least:
        raise InputError(
            f'expected at least {least} token ids, found {array.size}', name)
    fits = numpy.can_cast(array.dtype, numpy.int32)  # else all of it would be read
    if array.size and not fits and (array.max() >= 2 ** 31 or array.min() < -2 ** 31):
        raise InputError(
            f'expected token ids of 32 bits, found {array.min()} to {array.max()}',
            name)
    if n_vocab is not None and array.size and not (
            0 <= array.min() and array.max() < n_vocab):
        raise InputError(f'expected token ids from 0 to {n_vocab - 1} (n_vocab - 1), '
                         f'found {array.min()} to {array.max()}', name)
    return array


def require_words(name: str, ids: Any, n_vocab: int, least: Optional[int] = None,
                  ignored: Optional[int] = None) -> int:
    """Raises InputError unless an array holds word ids of a step or a window.

    Args:
        name: Name of the argument, for the message.
        ids: Array (B,) or (T, B).  On a GPU only its type and shape are checked,
            because reading its values would mean waiting.
        n_vocab: Size of the vocabulary.
        least: Smallest valid id; by default ``-n_vocab``, since NumPy counts negative
            ids from the end.
        ignored: Another id that is valid.

    Returns:
        The smallest id, except ignored ones; on a GPU 0.
    """
    import numpy
    if not hasattr(ids, 'dtype'):
        raise InputError(
            f'expected an array or a Variable, found {type(ids).__name__}', name)
    if ids.dtype.kind != 'i' or ids.ndim not in (1, 2) or not ids.size:
        raise InputError('expected signed integers of shape (B,) or (T, B), found '
                         f'{ids.dtype} of shape {ids.shape}', name)
    if not isinstance(ids, numpy.ndarray):
        return 0
    if ignored is not None:
        ids = ids[ids != ignored]
    if not ids.size:
        return 0
    low, high = int(ids.min()), int(ids.max())
    if low < (-n_vocab if least is None else least) or high >= n_vocab:
        raise InputError(f'expected {least or 0} to {n_vocab - 1} (n_vocab - 1), found '
                         f'{low} to {high}', name)
    return low
