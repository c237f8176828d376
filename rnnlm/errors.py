"""The exceptions, and the checks of arguments that raise `InputError`."""
import contextlib
import json
import math
import numbers
import unicodedata
from typing import Any, Callable, Iterator, Optional, Sequence

import numpy


LONGEST_MESSAGE = 4000

# Kinds of characters that are shown as escapes: controls, which a terminal obeys; marks
# of direction and others that cannot be seen; halves of pairs; ends of lines.
_ESCAPED = 'Cc', 'Cf', 'Cs', 'Zl', 'Zp'
_JOINERS = '\u200c\u200d'  # of letters, in Persian and Hindi; and of emoji


def printable(text: Any, most: Optional[int] = None, keep: str = '') -> str:
    """A text from a file as it may be printed: no terminal obeys what is in it.

    Args:
        text: The text, or anything else with a `str`.
        most: If given, the most characters; what is longer ends in ``...``.
        keep: Characters that stay as they are, line feeds say.

    Returns:
        The text, with control characters, marks of direction and the like as escapes
        of JSON: ``\\u001b``.
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
    """A file, an option or an argument that cannot be used.

    Its message names the thing, what was expected, what was found and what to
    do.  The command line prints it without a traceback.

    Args:
        problem: What is wrong: 'expected X, found Y; do Z'.
        name: The argument or field that it is about, if it is about one.  The message
            begins with it.
        lines: Lines of advice below it.

    Attributes:
        problem (str): As given, with the lines.
        name (str or None): As given.  The command line prints its flag instead.
    """

    def __init__(self, problem: str, name: Optional[str] = None,
                 lines: Sequence[str] = ()) -> None:
        # Whatever it tells may have come from a file.
        problem = '\n'.join(
            printable(line, LONGEST_MESSAGE) for line in (problem, *lines))
        super().__init__(problem if name is None else f'{name}: {problem}')
        # Pickle makes it anew from the whole message, and then sets these two.
        self.problem = problem
        self.name = name

    def __str__(self) -> str:
        return self.problem if self.name is None else f'{self.name}: {self.problem}'


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Gives the name of an argument to the errors inside that have none.

    Args:
        name: The argument that they are about.

    Raises:
        InputError: As inside, with the name.
    """
    try:
        yield
    except InputError as e:
        if e.name is not None:
            raise
        raise InputError(e.problem, name) from None


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


def short_repr(value: Any) -> str:
    """The value as a message shows it, however long or deep it is."""
    try:
        text = repr(value)
    except RecursionError:
        return f'a deeply nested {type(value).__name__}'
    except ValueError:  # Python prints no number of so many digits
        return f'a {type(value).__name__} of very many digits'
    return text if len(text) <= 200 else text[:200] + '...'


def require(name: str, value: Any, expected: str,
            is_good: Callable[[Any], Any]) -> None:
    """Refuses a value that is not as it should be.

    Args:
        name: The argument or field that has it.
        value: The value, of any type.
        expected: What is good, in words.
        is_good: Whether a value is; one that it cannot take (TypeError, ValueError,
            OverflowError, LookupError) is not.

    Raises:
        InputError: unless ``is_good(value)``.
    """
    try:
        good = is_good(value)
    except (TypeError, ValueError, OverflowError, LookupError):
        good = False
    if not good:
        raise InputError(f'expected {expected}, found {short_repr(value)}', name)


def is_integer(value: Any) -> bool:
    """Whether a value is a Python or NumPy integer, and not a bool."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def require_count(name: str, value: Any, least: int = 1,
                  most: int = 2 ** 31 - 1) -> None:
    """Raises InputError unless `value` is an integer from `least` to `most`."""
    require(name, value, f'an integer of at least {least}',
            lambda v: is_integer(v) and v >= least)
    require(name, value, f'an integer of at most {most}', lambda v: v <= most)


def require_ratio(name: str, value: Any) -> None:
    """Raises InputError unless 0 <= value < 1."""
    require(name, value, 'a ratio of at least 0 and less than 1',
            lambda v: 0 <= v < 1)


def require_positive(name: str, value: Any) -> None:
    """Raises InputError unless `value` is finite and greater than 0."""
    require(name, value, 'a finite number greater than 0',
            lambda v: v > 0 and math.isfinite(v))


def require_ids(name: str, ids: Any, least: int = 1) -> numpy.ndarray:
    """The ids of a text as an array.

    Args:
        name: What they are called in the message.
        ids (sequence of int): The ids.
        least: The fewest that will do.

    Returns:
        (N,) of integers that int32 holds.

    Raises:
        InputError: if they are not that.
    """
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
    if array.size and (array.max() >= 2 ** 31 or array.min() < -2 ** 31):
        raise InputError(
            f'expected token ids of 32 bits, found {array.min()} to {array.max()}',
            name)
    return array


def require_words(ids: Any, least: int, n_vocab: int) -> None:
    """Refuses what are no word ids; of ids on a GPU only the type and the shape.

    Args:
        ids: int array (B,) or (T, B).
        least: The smallest that is allowed.
        n_vocab: One more than the largest that is allowed.

    Raises:
        InputError: If they are none.
    """
    if not hasattr(ids, 'dtype'):
        raise InputError(
            f'ids: expected an array or a Variable, found {type(ids).__name__}')
    if ids.dtype.kind != 'i' or ids.ndim not in (1, 2) or not ids.size:
        raise InputError(
            'ids: expected signed integers of shape (B,) or (T, B), found '
            f'{ids.dtype} of shape {ids.shape}')
    # On a GPU the answer would have to be waited for.
    if isinstance(ids, numpy.ndarray):
        low, high = ids.min(), ids.max()
        if low < least or high >= n_vocab:
            raise InputError(
                f'ids: expected {least} to {n_vocab - 1} (n_vocab - 1), found '
                f'{low} to {high}')
