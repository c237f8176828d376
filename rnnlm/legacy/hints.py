"""Hints for errors caused by differences from NumPy 1 and Python 3.6."""
import ast
import linecache
import re
import traceback

from rnnlm.legacy import explain as explaining, numpy_1, old_modules, releases
from rnnlm.legacy import rewriting

# NumPy functions that turn a number into a float64, which then widens an array.
SCALARS = {'sqrt', 'log', 'log2', 'log10', 'exp', 'power', 'mean', 'std', 'var', 'sum',
           'prod', 'max', 'min', 'median', 'float64', 'rand', 'randn', 'uniform',
           'normal', 'sin', 'cos', 'tanh', 'abs', 'float_power', 'norm'}

CURE = ("The script runs unmodified with an old NumPy: Python 3.11 or older with pip "
        "install 'numpy<1.24'.")
ENDS = ('NumPy 1 accepted an array of one element as a number.  Write array.item() or '
        'array[0].')

# (type of error, pattern of its message, explanation).
KNOWN = (
    (ValueError, 'inhomogeneous shape',
     'Until 1.23, NumPy turned lists of different lengths into an array of objects.  '
     'Write numpy.array(lists, dtype=object).'),
    (OverflowError, 'Python integer .* out of bounds',
     'NumPy 1 took the integer modulo the range of the type: -1 was 255 as uint8.  '
     'Write numpy.array(number).astype(dtype).'),
    (TypeError, 'only 0-dimensional arrays can be converted', ENDS),
    (ValueError, 'setting an array element with a sequence', ENDS),
)
PICKLED = ('Until 1.16.2, NumPy unpickled files with objects, which can run code from '
           'them.  If you trust the file, write numpy.load(..., allow_pickle=True).')
PYTHON_2 = ('A pickle written by Python 2 needs an encoding.  Write '
            "pickle.load(file, encoding='latin1').")


def explain(error):
    """Explains an exception that comes from today's NumPy or Python.

    Args:
        error (Exception): The exception raised by the script.

    Returns:
        str: The script's line, what it did before, and the remedy; None if the error
        has other causes.
    """
    text = (_removed(error) or _of_chainer(error) or _of_python_2(error)
            or _numpy_2(error))
    if not text:
        return None
    place = place_of(error)
    return f'{place[0]}:{place[1]}: {place[2]}\n    {text}' if place else text


def place_of(error):
    """Returns (path, line, source) of the last line of user code in a traceback."""
    finder = rewriting.Finder()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        path = frame.f_code.co_filename
        if finder.is_users(frame.f_globals.get('__name__', ''), path):
            return path, line, linecache.getline(path, line).strip()
    return None


def _of_python_2(error):
    """Returns the remedy for a pickle with strings of bytes, or None."""
    if not isinstance(error, UnicodeDecodeError):
        return None
    # The reader is written in C: unlike that of a text, it has no line of its own.
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    place = place_of(error)
    reads = place and place[:2] == (frame.f_code.co_filename, line) and (
        re.search(r'\bloads?\(', place[2]))
    return PYTHON_2 if reads else None


def _numpy_2(error):
    if isinstance(error, ValueError) and 'allow_pickle=False' in str(error):
        return PICKLED
    for kind, words, meaning in KNOWN:
        if isinstance(error, kind) and re.search(words, str(error)):
            return f'{meaning}\n    {CURE}'
    if not numpy_1.NUMPY_2 or not _widened(error):
        return None
    # The error shows where the types meet, not where float64 came from.
    lines = ''.join(f'\n        line {line}: {text}'
                    for line, text in _suspects(place_of(error)))
    return ('float64 was combined with a narrower type.  In NumPy 1 an array times a '
            'scalar kept its type:\n    float32 array * numpy.float64 was float32.  '
            'Since NumPy 2 it is float64 (NEP 50).\n'
            "    Write float(...) around the scalar, or .astype('f') after the result."
            + (f'  Possible causes:{lines}' if lines else '') + f'\n    {CURE}')


def _widened(error):
    """Returns whether an exception is about floating types of different width."""
    if type(error).__name__ == 'InvalidType':
        return 'dtype' in str(error) and len(set(re.findall(
            r'float(?:16|32|64)', str(error)))) > 1
    return isinstance(error, TypeError) and 'float64' in str(error) and bool(
        re.search('float(16|32)', str(error)))


def _suspects(place):
    """Returns [(line, text)] where a result of `SCALARS` is used in arithmetic."""
    if place is None:
        return []
    text = ''.join(linecache.getlines(place[0]))
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.BinOp):
            found.update(part.lineno for part in (node.left, node.right)
                         if isinstance(part, ast.Call)
                         and getattr(part.func, 'attr', None) in SCALARS)
    return [(line, linecache.getline(place[0], line).strip())
            for line in sorted(found)][:5]


def _removed(error):
    """Returns the replacement for a removed Python module or NumPy name, or None."""
    if isinstance(error, ModuleNotFoundError) and error.name in old_modules.GONE:
        return (f'Python has removed the module {error.name}.  Install its '
                f'replacement: pip install {old_modules.GONE[error.name]}')
    found = re.match(r"module 'numpy' has no attribute '(\w+)'", str(error))
    instead = found and numpy_1.replacement_for(found.group(1))
    return instead and f'NumPy has removed {found.group(1)}.  Instead: {instead}.'


def _of_chainer(error):
    """Says in which releases a missing name of Chainer existed, and its replacement."""
    found = isinstance(error, (ImportError, AttributeError)) and re.match(
        r"cannot import name '(?P<name>\w+)' from '(?P<owner>chainer[\w.]*)'"
        r"|module '(?P<of>chainer[\w.]*)' has no attribute '(?P<what>\w+)'"
        r"|No module named '(?P<module>chainer\.[\w.]+)'", str(error))
    if not found:
        return None
    path = found['module'] or '.'.join(
        (found['owner'] or found['of'], found['name'] or found['what']))
    table = releases.load()
    when = releases.union(table.resolve(path))
    if not when:
        return None
    instead = explaining.of_name(path, table)
    return (f'{path} existed in Chainer {table.first(when)} to {table.last(when)}.'
            + (f'  Instead: {instead}.' if instead else ''))
