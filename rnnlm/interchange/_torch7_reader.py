"""Reading of the object graphs in Torch7 files, binary or ASCII.

Each object is a type number and its content.  Tables and Torch objects have an index,
which refers to them when they occur again:

    0 nil                          1 number: double
    2 string: length, bytes        5 boolean: int
    3 table: index, size, then key and value, each an object, size times
    4 Torch object: index, 'V 1', class, then for a class
        ...Tensor   ndim, sizes, strides, first element (from 1), its storage
        ...Storage  length, elements
        another     one object, usually a table: its fields
    6, 7, 8 function: index (not for 6), bytecode, its upvalues as an object

Nothing is called, and bytecode is skipped.  The code is not recursive, because graphs
of nngraph are deep.  See https://github.com/torch/torch7, File.lua.
"""
import re
import struct

import numpy

from rnnlm.interchange import _untrusted
from rnnlm.serializers import reading

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN = range(6)
FUNCTIONS = OLD_FUNCTION, _, _ = 6, 7, 8
KINDS = {'Float': '<f4', 'Double': '<f8', 'Half': '<f2', 'Long': '<i8', 'Int': '<i4',
         'Short': '<i2', 'Char': 'i1', 'Byte': 'u1', 'Cuda': '<f4',
         'CudaDouble': '<f8'}
WHOLE = 2 ** 53  # larger integers are not exact in float64


class Object:
    """Object of a Torch class that is not a tensor: a module, a node of a graph, ...

    Attributes:
        kind (str): Name of the class, such as 'nn.Linear', or 'function'.
        fields: Its saved content, usually a dict.
    """

    def __init__(self, kind):
        self.kind = kind
        self.fields = None


def load(path):
    """Reads any file written by torch.save in Lua.

    Args:
        path (str): The file, binary or ASCII.

    Returns:
        None, bool, float, str, dict, NumPy array or `Object`.  A dict may contain
        itself.  Integer keys are ints; entries whose key is a table or a tensor are
        dropped.  Arrays are views of the file's content.

    Raises:
        rnnlm.errors.InputError: If it cannot be read.
    """
    data = _untrusted.read_bytes(path)
    with _untrusted.damaged(path, 'a file of Torch7'):
        # An ASCII file starts with a digit and the end of a line.
        source = Ascii(data) if _is_ascii(data) else Binary(data)
        return _read(source)


def is_ascii(path):
    """Returns whether a Torch7 file is ASCII, not binary."""
    with reading.open_regular(path) as f:
        return _is_ascii(f.read(2))


def _is_ascii(data):
    return re.match(rb'\d\n', data) is not None


class Binary:
    """Reader of numbers and texts from a binary file."""

    def __init__(self, data):
        self.data = memoryview(data)
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, n_bytes):
        if not 0 <= n_bytes <= self.left():
            raise ValueError(f'{n_bytes:,} bytes of {self.left():,} at {self.at}')
        self.at += n_bytes
        return self.data[self.at - n_bytes:self.at]

    def int(self):
        return struct.unpack('<i', self.take(4))[0]

    def double(self):
        return struct.unpack('<d', self.take(8))[0]

    def text(self, n_bytes):
        return bytes(self.take(n_bytes))

    def array(self, n, dtype):
        dtype = numpy.dtype(dtype)
        return numpy.frombuffer(self.take(n * dtype.itemsize), dtype)


class Ascii(Binary):
    """Reader of an ASCII file: one object in a line, numbers separated by spaces."""

    def _word(self):
        found = re.compile(rb'\s*([-+.\w]{1,40})\s').match(self.data, self.at)
        if not found:
            raise ValueError(f'no number at {self.at}')
        self.at = found.end()
        return found.group(1)

    def int(self):
        return int(self._word())

    def double(self):
        return float(self._word())

    def text(self, n_bytes):
        text = super().text(n_bytes)
        if n_bytes and self.data[self.at:self.at + 1] == b'\n':
            self.at += 1
        return text

    def array(self, n, dtype):
        dtype = numpy.dtype(dtype)
        if dtype.itemsize == 1:  # raw bytes, like a text
            return numpy.frombuffer(self.text(n), dtype)
        if not 0 <= n <= self.left():
            raise ValueError(f'{n:,} numbers in {self.left():,} bytes at {self.at}')
        convert = float if dtype.kind == 'f' else int
        return numpy.array([convert(self._word()) for _ in range(n)], dtype)


def _read(source):
    """Reads the first object of a file, with everything in it."""
    known = {}
    found = []
    # Objects that are not complete yet, innermost last: the object, its parts read so
    # far, and its number of parts.
    waiting = [(None, found, 1)]
    while waiting:
        whole, parts, n_parts = waiting[-1]
        if len(parts) < n_parts:
            value, n_inside = _begin(source, known)
            parts.append(value)
            if n_inside:
                waiting.append((value, [], n_inside))
            continue
        waiting.pop()
        if isinstance(whole, Object):
            whole.fields, = parts
        elif isinstance(whole, dict):
            whole.update((_key(key), value) for key, value in zip(
                parts[::2], parts[1::2]) if not isinstance(key, (dict, numpy.ndarray)))
    return found[0]


def _key(key):
    if key is None or key != key:
        raise ValueError(f'{key} as the key of a table')
    if isinstance(key, float) and key.is_integer() and abs(key) <= WHOLE:
        return int(key)
    return key


def _begin(source, known):
    """Reads the start of an object; returns it, and how many parts follow."""
    kind = source.int()
    if kind == NIL:
        return None, 0
    if kind == NUMBER:
        return source.double(), 0
    if kind == BOOLEAN:
        return source.int() == 1, 0
    if kind == STRING:
        return _text(source), 0
    if kind not in (TABLE, OBJECT, *FUNCTIONS):
        raise ValueError(f'an object of the type {kind} at {source.at}')
    if kind == OLD_FUNCTION:
        _text(source)
        return Object('function'), 1
    index = source.int()
    if index in known:
        return known[index], 0
    if kind == TABLE:
        size = source.int()
        if not 0 <= size <= source.left():
            raise ValueError(f'a table of {size:,} in {source.left():,} bytes')
        known[index] = {}
        return known[index], 2 * size
    if kind in FUNCTIONS:
        _text(source)
        known[index] = Object('function')
        return known[index], 1
    name = _class(source)
    part = re.fullmatch(r'torch\.(\w+)(Tensor|Storage)', name)
    if not part:
        known[index] = Object(name)
        return known[index], 1
    dtype = KINDS[part.group(1)]
    if part.group(2) == 'Storage':
        known[index] = _storage(source, dtype)
    else:
        known[index] = _tensor(source, dtype, known)
    return known[index], 0


def _text(source):
    # Lua strings are bytes.
    return source.text(source.int()).decode('utf-8', 'surrogateescape')


def _class(source):
    text = _text(source)
    # Old files have the class here, not a version.
    return _text(source) if re.fullmatch(r'V -?\d+', text) else text


def _storage(source, dtype):
    return source.array(int(source.array(1, '<i8')[0]), dtype)


def _tensor(source, dtype, known):
    """Reads a tensor as a view of its storage, with its bounds checked."""
    n_axes = source.int()
    if n_axes > _untrusted.MOST_AXES:
        raise ValueError(f'a tensor of {n_axes} dimensions')
    shape, strides, (first,) = (
        source.array(n, '<i8').tolist() for n in (n_axes, n_axes, 1))
    storage, _ = _begin(source, known)
    if storage is None or not n_axes:  # an empty one
        return numpy.empty(0, dtype)
    if not isinstance(storage, numpy.ndarray) or storage.dtype != dtype or (
            storage.ndim != 1):
        raise ValueError('a tensor without a storage of its type')
    return _untrusted.view(storage, first - 1, shape, strides)
