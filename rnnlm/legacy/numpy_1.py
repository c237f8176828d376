"""Names and behaviour of NumPy 1, for scripts that were written for it.

`install()` adds them to `numpy` for the whole process.  Methods cannot be added to
arrays, so `rewriting` makes the script's source call `METHODS` instead.
"""
import ast
import functools
import importlib
import inspect
import math
import pickle

import numpy

NUMPY_2 = int(numpy.__version__.split('.')[0]) >= 2

# Names that were aliases of Python's types until 1.24.
TYPES = {'bool': bool, 'int': int, 'float': float, 'complex': complex, 'object': object,
         'str': str, 'long': int, 'unicode': str}

CONSTANTS = {'Inf': math.inf, 'Infinity': math.inf, 'infty': math.inf, 'PINF': math.inf,
             'NINF': -math.inf, 'NaN': math.nan, 'NAN': math.nan, 'NZERO': -0.0,
             'PZERO': 0.0, 'math': math}

# Old name -> current name, relative to `numpy`.
RENAMED = {
    # Types.
    'float_': 'float64', 'complex_': 'complex128', 'cfloat': 'complex128',
    'singlecomplex': 'complex64', 'longfloat': 'longdouble',
    'longcomplex': 'clongdouble', 'clongfloat': 'clongdouble', 'string_': 'bytes_',
    'unicode_': 'str_', 'bool8': 'bool_', 'bytes0': 'bytes_', 'str0': 'str_',
    'object0': 'object_', 'int0': 'intp', 'uint0': 'uintp', 'void0': 'void',
    'typeDict': 'sctypeDict', 'chararray': 'char.chararray',
    # Functions.
    'rank': 'ndim', 'round_': 'round', 'product': 'prod', 'cumproduct': 'cumprod',
    'alltrue': 'all', 'sometrue': 'any', 'row_stack': 'vstack', 'mat': 'asmatrix',
    'trapz': 'trapezoid', 'compare_chararrays': 'char.compare_chararrays',
    'byte_bounds': 'lib.array_utils.byte_bounds', 'format_parser': 'rec.format_parser',
    'DataSource': 'lib.npyio.DataSource', 'add_docstring': 'lib.add_docstring',
    'add_newdoc': 'lib.add_newdoc', 'tracemalloc_domain': 'lib.tracemalloc_domain',
    **{name: f'exceptions.{name}' for name in (
        'AxisError', 'ComplexWarning', 'ModuleDeprecationWarning', 'RankWarning',
        'TooHardError', 'VisibleDeprecationWarning')},
}

# Names that are not supported: (names, what to use instead).
GONE = (
    ('fv ipmt irr mirr nper npv pmt ppmt pv rate', 'the package numpy-financial'),
    ('ALLOW_THREADS BUFSIZE CLIP ERR_CALL ERR_DEFAULT ERR_IGNORE ERR_LOG ERR_PRINT '
     'ERR_RAISE ERR_WARN FLOATING_POINT_SUPPORT FPE_DIVIDEBYZERO FPE_INVALID '
     'FPE_OVERFLOW FPE_UNDERFLOW MAXDIMS MAY_SHARE_BOUNDS MAY_SHARE_EXACT RAISE '
     'SHIFT_DIVIDEBYZERO SHIFT_INVALID SHIFT_OVERFLOW SHIFT_UNDERFLOW '
     'UFUNC_BUFSIZE_DEFAULT UFUNC_PYVALS_NAME WRAP geterrobj seterrobj '
     'set_numeric_ops', 'numpy.errstate, numpy.seterr'),
    ('add_newdoc_ufunc deprecate deprecate_with_doc get_array_wrap int_asbuffer '
     'kernel_version use_hugepage compat matrixlib numarray oldnumeric version',
     'nothing: it was internal to NumPy'),
    ('Bytes0 Datetime64 Str0 Uint64 sctypeNA typeNA', 'the type itself'),
    ('MachAr', 'numpy.finfo'), ('Tester', 'pytest'), ('lookfor who', 'the manual'),
    ('set_string_function', 'numpy.set_printoptions(override_repr=...)'),
)


# Functions that were removed ----------------------------------------------------

def alen(a):
    """Returns the length of the first axis, or 1 for a scalar."""
    return len(numpy.atleast_1d(a))


def asfarray(a, dtype=numpy.float64):
    """Converts to an array of a floating type."""
    if not numpy.issubdtype(dtype, numpy.inexact):
        dtype = numpy.float64
    return numpy.asarray(a, dtype=dtype)


def asscalar(a):
    return a.item()


def disp(mesg, device=None, linefeed=True):
    print(mesg, file=device, end='\n' if linefeed else '')


def fastCopyAndTranspose(a):
    return numpy.asarray(a).T.copy()


def find_common_type(array_types, scalar_types):
    """Returns the common type of arrays and scalars of some types, as NumPy 1 did."""
    kinds = 'buifc'
    if not array_types or not scalar_types:
        return numpy.result_type(*array_types, *scalar_types)
    arrays = numpy.result_type(*array_types)
    scalars = numpy.result_type(*scalar_types)
    wider = kinds.find(scalars.kind) > kinds.find(arrays.kind)
    return numpy.promote_types(arrays, scalars) if wider else arrays


def in1d(ar1, ar2, assume_unique=False, invert=False):
    return numpy.isin(numpy.ravel(ar1), ar2, assume_unique, invert)


def issctype(rep):
    return obj2sctype(rep) not in (None, numpy.object_) and isinstance(
        rep, (type, numpy.dtype))


def issubclass_(arg1, arg2):
    return isinstance(arg1, type) and issubclass(arg1, arg2)


def issubsctype(arg1, arg2):
    return issubclass(obj2sctype(arg1), obj2sctype(arg2))


def loads(*args, **kwargs):
    return pickle.loads(*args, **kwargs)


def maximum_sctype(t):
    """Returns the widest type of the same kind."""
    widest = {'i': numpy.int64, 'u': numpy.uint64, 'f': numpy.longdouble,
              'c': numpy.clongdouble}
    return widest.get(numpy.dtype(obj2sctype(t)).kind, obj2sctype(t))


def msort(a):
    return numpy.sort(a, axis=0)


def obj2sctype(rep, default=None):
    """Returns the scalar type for a type, a type's name, or an array."""
    if isinstance(rep, numpy.ndarray):
        return rep.dtype.type
    try:
        return numpy.dtype(rep).type
    except (TypeError, ValueError):
        return default


def mafromtxt(fname, **kwargs):
    return numpy.genfromtxt(fname, **{**kwargs, 'usemask': True})


def ndfromtxt(fname, **kwargs):
    return numpy.genfromtxt(fname, **{**kwargs, 'usemask': False})


def recfromtxt(fname, **kwargs):
    """Reads the columns of a text file into a record array."""
    return numpy.genfromtxt(
        fname, **{'dtype': None, **kwargs}).view(numpy.recarray)


def recfromcsv(fname, **kwargs):
    """Reads a comma-separated file into a record array, named by its first line."""
    return recfromtxt(fname, **{'names': True, 'delimiter': ',',
                                'case_sensitive': 'lower', **kwargs})


def safe_eval(source):
    return ast.literal_eval(source)


def sctype2char(sctype):
    return numpy.dtype(obj2sctype(sctype)).char


def source(object, output=None):
    print(inspect.getsource(object), file=output)


FUNCTIONS = (
    alen, asfarray, asscalar, disp, fastCopyAndTranspose, find_common_type, in1d,
    issctype, issubclass_, issubsctype, loads, mafromtxt, maximum_sctype, msort,
    ndfromtxt, obj2sctype, recfromcsv, recfromtxt, safe_eval, sctype2char, source)


class _Cast(dict):
    """Mapping `numpy.cast`, as in `numpy.cast[type](values)`."""

    def __missing__(self, key):
        return lambda values: numpy.asarray(values).astype(key)


def _tables():
    """Returns `numpy.sctypes`, `numpy.nbytes` and `numpy.cast`."""
    kinds = {'int': 'bhilq', 'uint': 'BHILQ', 'float': 'efdg', 'complex': 'FDG'}
    sctypes = {kind: list(dict.fromkeys(numpy.dtype(c).type for c in chars))
               for kind, chars in kinds.items()}
    sctypes['others'] = [bool, object, bytes, str, numpy.void]
    return {'sctypes': sctypes, 'cast': _Cast(),
            'nbytes': {t: numpy.dtype(t).itemsize
                       for t in map(obj2sctype, numpy.typecodes['All'])}}


# Functions whose behaviour has changed --------------------------------------------

def making(original):
    """Lets `array`, `asarray`, `asanyarray` take ragged lists, and wrap integers."""
    order = (['dtype', 'copy', 'order', 'subok', 'ndmin']
             if original.__name__ == 'array' else ['dtype', 'order'])

    @functools.wraps(original)
    def make(object, *args, **kwargs):
        kwargs.update(zip(order, args))
        if NUMPY_2 and kwargs.get('copy', True) is False:
            kwargs['copy'] = None  # copy only if necessary
        try:
            return original(object, **kwargs)
        except ValueError as e:
            if kwargs.get('dtype') is not None or 'inhomogeneous' not in str(e):
                raise
            return original(object, **{**kwargs, 'dtype': numpy.object_})
        except OverflowError:
            dtype = numpy.dtype(kwargs.get('dtype'))
            if dtype.kind not in 'iu':
                raise
            return original(object, **{**kwargs, 'dtype': None}).astype(dtype)
    return make


def taking_lists(original):
    """Lets a function take lists of different lengths."""
    @functools.wraps(original)
    def call(*args, **kwargs):
        try:
            return original(*args, **kwargs)
        except ValueError as e:
            if 'inhomogeneous' not in str(e):
                raise
        return original(*map(_of_objects, args), **{
            name: _of_objects(value) for name, value in kwargs.items()})
    return call


def _of_objects(value):
    return numpy.array(value) if isinstance(value, (list, tuple)) else value


def fromstring(original):
    """Lets `fromstring` convert bytes, which is `frombuffer` today."""
    def fromstring(string, dtype=float, count=-1, sep=''):
        if sep:
            return original(string, dtype, count, sep=sep)
        if isinstance(string, str):
            string = string.encode('latin1')
        return numpy.frombuffer(string, dtype, count).copy()
    return fromstring


def cross(original):
    """Lets `cross` take two-dimensional vectors."""
    def cross(a, b, *args, **kwargs):
        a, b = numpy.asarray(a), numpy.asarray(b)
        flat = [v.shape[-1:] == (2,) for v in (a, b)]
        if args or kwargs or not any(flat):
            return original(a, b, *args, **kwargs)
        a, b = (numpy.concatenate([v, numpy.zeros_like(v[..., :1])], -1) if two else v
                for v, two in zip((a, b), flat))
        c = original(a, b)
        return c[..., 2] if all(flat) else c
    return cross


def listing(original):
    """Makes a function return a list, as in NumPy 1, instead of a tuple."""
    @functools.wraps(original)
    def call(*args, **kwargs):
        found = original(*args, **kwargs)
        return list(found) if isinstance(found, tuple) else found
    return call


def with_argument(old, new):
    """Accepts the old name of an argument that was renamed or removed."""
    def wrap(original):
        known = inspect.signature(original).parameters
        if old in known or new and new not in known:
            return original

        @functools.wraps(original)
        def call(*args, **kwargs):
            if old in kwargs:
                value = kwargs.pop(old)
                if new:
                    kwargs[new] = value
            return original(*args, **kwargs)
        return call
    return wrap


CHANGED = (
    ('array asarray asanyarray', making),
    ('save savez savez_compressed random.permutation random.choice', taking_lists),
    ('fromstring', fromstring), ('cross', cross),
    ('meshgrid broadcast_arrays atleast_1d atleast_2d atleast_3d', listing),
    ('histogram histogram2d histogramdd', with_argument('normed', 'density')),
    ('percentile nanpercentile quantile nanquantile',
     with_argument('interpolation', 'method')),
    ('reshape', with_argument('newshape', 'shape')),
    ('corrcoef', with_argument('bias', None)),
    ('corrcoef', with_argument('ddof', None)),
    ('save', with_argument('fix_imports', None)),
)


# Methods of arrays and of NumPy scalars ---------------------------------------------

def itemset(a, *args):
    """``a.itemset(value)``, ``a.itemset(index, value)``, ``a.itemset(i, j, value)``."""
    *index, value = args
    if not index:
        index = () if a.ndim == 0 else (0,) * a.ndim
    elif len(index) == 1 and not isinstance(index[0], tuple):
        index = numpy.unravel_index(index[0], a.shape)
    else:
        index = index[0] if isinstance(index[0], tuple) else tuple(index)
    a[index] = value


def newbyteorder(a, new_order='S'):
    return a.view(a.dtype.newbyteorder(new_order))


def tostring(a, order='C'):
    return a.tobytes(order)


METHODS = {'itemset': itemset, 'newbyteorder': newbyteorder, 'ptp': numpy.ptp,
           'tostring': tostring}


def install():
    """Adds everything to `numpy`, except names that still exist."""
    there = vars(numpy)
    for name, value in {**TYPES, **CONSTANTS, **_tables(),
                        **{f.__name__: f for f in FUNCTIONS}}.items():
        there.setdefault(name, value)
    for name, path in RENAMED.items():
        owner, _, new = path.rpartition('.')
        try:
            owner = importlib.import_module('numpy.' + owner if owner else 'numpy')
        except ImportError:
            continue  # an older NumPy, which still has the old name
        if name not in there and hasattr(owner, new):
            there[name] = getattr(owner, new)
    for names, change in CHANGED:
        for path in names.split():
            owner = numpy.random if path.startswith('random.') else numpy
            name = path.split('.')[-1]
            setattr(owner, name, change(getattr(owner, name)))
    if NUMPY_2:  # which prints [x] as [numpy.float32(1.0)]
        numpy.set_printoptions(legacy='1.25')


def replacement_for(name):
    """Returns what to use instead of a name that is not supported, or None."""
    return next((instead for names, instead in GONE if name in names.split()), None)
