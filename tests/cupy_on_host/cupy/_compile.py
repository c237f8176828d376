"""Parameters of kernels, their types, and a C++ compiler for their bodies."""
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile

import numpy

from cupy._array import ndarray

COMPILER = shutil.which('g++')
HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), '_kernel.h')

# As `struct Info` of the header.
INFO = numpy.dtype([('data', 'u8'), ('ndim', 'i8'), ('size', 'i8'),
                    ('shape', 'i8', 8), ('strides', 'i8', 8)])

C_TYPES = {
    'bool': 'bool', 'int8': 'signed char', 'int16': 'short', 'int32': 'int',
    'int64': 'int64_t', 'uint8': 'unsigned char', 'uint16': 'unsigned short',
    'uint32': 'unsigned', 'uint64': 'uint64_t', 'float16': 'float16',
    'float32': 'float', 'float64': 'double'}


class Parameter:
    """One of ``'T x, raw float32 y'``."""

    def __init__(self, text, is_input):
        *words, self.type, self.name = text.split()
        self.raw = 'raw' in words
        self.is_const = is_input and '_non_const' not in words
        self.dtype = None if len(self.type) == 1 else numpy.dtype(self.type)


def parameters(text, is_input):
    """The list of them."""
    return [Parameter(part, is_input) for part in text.split(',') if part.strip()]


def check_arguments(args):
    """Refuses what CuPy's kernels refuse."""
    for arg in args:
        if not isinstance(arg, (ndarray, numpy.generic, int, float, complex)):
            raise TypeError(f'Unsupported type {type(arg)}')


def decide_types(pairs):
    """dtype of each one-letter type; numbers have no say in it.

    Args:
        pairs: (parameter, argument or None), outputs first.
    """
    types = {}
    for parameter, arg in pairs:
        if not isinstance(arg, ndarray):
            continue
        known = types.setdefault(parameter.type, parameter.dtype or arg.dtype)
        if known != arg.dtype:
            raise TypeError(f'Type is mismatched. {parameter.name} {arg.dtype} {known}')
    return types


def dtype_of(parameter, types):
    """The dtype of a parameter; KeyError, as in CuPy, if nothing says it."""
    return parameter.dtype or types[parameter.type]


def typedefs(types):
    """C++ of the one-letter types."""
    return ''.join(f'typedef {C_TYPES[dtype.name]} {letter};\n'
                   for letter, dtype in sorted(types.items()) if len(letter) == 1)


def ctype(parameter):
    """How C++ spells a parameter's type."""
    return parameter.type if parameter.dtype is None else C_TYPES[parameter.dtype.name]


def info(arrays):
    """The table of arrays, `INFO`, that a compiled kernel gets."""
    table = numpy.zeros(len(arrays), INFO)
    for row, a in zip(table, arrays):
        row['data'], row['ndim'], row['size'] = a.ctypes.data, a.ndim, a.size
        row['shape'][:a.ndim], row['strides'][:a.ndim] = a.shape, a.strides
    return table


def declarations(params, is_array):
    """C++: ``_raw_x``, ``x`` of raw arrays and numbers, and the types."""
    lines = []
    for k, (parameter, array) in enumerate(zip(params, is_array)):
        kind = ctype(parameter)
        if array:
            name = parameter.name if parameter.raw else f'_raw_{parameter.name}'
            lines.append(f'CArray<{kind}> {name}{{_infos + {k}}};')
        else:
            lines.append(f'{kind} {parameter.name} = *({kind}*)_infos[{k}].data;')
    return '\n'.join(lines)


def elements(params, is_array, indexer):
    """C++: ``x`` of arrays that are not raw, where an indexer is."""
    return '\n'.join(
        f'{"const " * p.is_const}{ctype(p)} &{p.name} = _raw_{p.name}[{indexer}.get()];'
        for p, array in zip(params, is_array) if array and not p.raw)


@functools.lru_cache(maxsize=None)
def compiled(source):
    """The function ``run(Info* infos, Info* indexers)`` of a C++ source."""
    if COMPILER is None:
        raise RuntimeError('kernels need g++')
    source = f'#include "{HEADER}"\n' + re.sub(r'\b__inline__\b', 'inline', source)
    with open(HEADER) as f:
        key = hashlib.sha256((f.read() + source).encode()).hexdigest()[:32]
    folder = os.path.join(tempfile.gettempdir(), f'cupy_on_host_{os.getuid()}')
    os.makedirs(folder, mode=0o700, exist_ok=True)
    library = os.path.join(folder, f'{key}.so')
    if not os.path.exists(library):
        made = f'{library}.{os.getpid()}'
        subprocess.run([COMPILER, '-std=c++14', '-O1', '-w', '-shared', '-fPIC', '-x',
                        'c++', '-', '-o', made], input=source, text=True, check=True)
        os.replace(made, library)
    run = ctypes.CDLL(library).run
    run.argtypes = ctypes.c_void_p, ctypes.c_void_p
    return run
