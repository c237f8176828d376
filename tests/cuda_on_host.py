"""CUDA kernels on the host, for tests: the sources as they are, compiled as C++.

`cuda_on_host.h` has each thread of a block as a fiber, so that barriers and shared
memory work.  What it shows: wrong indexes, wrong arithmetic, barriers that are missing
where one thread reads what another writes.  What it cannot show: speed, and races
that depend on a GPU's memory.
"""
import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile

import numpy

from rnnlm.kernels.cuda import launch

HERE = os.path.dirname(os.path.abspath(__file__))
COMPILER = shutil.which('g++')
ORDERS = 'forwards', 'backwards', 'shuffled'

_SCALARS = {
    'int': ctypes.c_int, 'unsigned': ctypes.c_uint, 'unsigned int': ctypes.c_uint,
    'long long': ctypes.c_longlong, 'unsigned long long': ctypes.c_ulonglong,
    'float': ctypes.c_float, 'double': ctypes.c_double, 'bool': ctypes.c_bool}
_DTYPES = {
    'int': numpy.int32, 'unsigned': numpy.uint32, 'unsigned int': numpy.uint32,
    'long long': numpy.int64, 'float': numpy.float32, 'double': numpy.float64,
    'half': numpy.float16, 'unsigned char': numpy.uint8}


def compile(source, options=()):
    """A `Module` of all kernels, ``extern "C" __global__``, in a CUDA source.

    Args:
        source (str): CUDA C++.
        options (iterable of str): Of the compiler; of them -D and -I are used.
    """
    options = tuple(o for o in options if o.startswith(('-D', '-I')))
    return _compile(source, options)


@functools.lru_cache(maxsize=None)
def _compile(source, options):
    real = next((o.split('=')[1] for o in options if o.startswith('-DREAL=')), 'float')
    kernels = launch.parameters(source)
    thunks = []
    for name, types in kernels.items():
        values = ', '.join(
            f'*(({kind}{"*" if pointer else ""}*)args[{k}])'
            for k, (kind, pointer) in enumerate(types))
        thunks.append(f'''
extern "C" int launch_{name}(dim3 grid, dim3 block, size_t shared, int cooperative,
                             int order, void** args) {{
    return host::launch(grid, block, shared, cooperative, order,
                        [=] {{ {name}({values}); }});
}}''')
    text = source + ''.join(thunks)
    with open(os.path.join(HERE, 'cuda_on_host.h')) as f:
        key = hashlib.sha256((f.read() + text + repr(options)).encode()).hexdigest()
    folder = os.path.join(tempfile.gettempdir(), f'cuda_on_host_{os.getuid()}')
    os.makedirs(folder, mode=0o700, exist_ok=True)
    library = os.path.join(folder, key[:32] + '.so')
    if not os.path.exists(library):
        made = f'{library}.{os.getpid()}'
        subprocess.run(
            [COMPILER, '-std=c++17', '-O1', '-U_FORTIFY_SOURCE', '-shared', '-fPIC',
             '-w', *options, '-include', os.path.join(HERE, 'cuda_on_host.h'), '-x',
             'c++', '-', '-o', made], input=text, text=True, check=True)
        os.replace(made, library)
    return Module(ctypes.CDLL(library), kernels, real)


class _Dim3(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in 'xyz']


def _dim3(size):
    size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    return _Dim3(*size, *(1,) * (3 - len(size)))


class Module:
    """Kernels of a source.

    Attributes:
        kernels (dict): Name to the types of its parameters.
        order (str): In which blocks and threads take turns; one of `ORDERS`.
    """

    def __init__(self, library, kernels, real):
        self._library = library
        self._real = real  # what is not a type of C consists of these
        self.kernels = kernels
        self.order = 'forwards'

    def launch(self, name, grid, block, args, shared_mem=0, cooperative=False):
        """Runs a kernel to its end.

        Args:
            name (str): Its name.
            grid, block: int or tuple of up to three.
            args: Of each parameter a number; or an array of its type, or an address.
            shared_mem (int): Bytes of dynamic shared memory.
            cooperative (bool): Whether all blocks run at once.
        """
        types = self.kernels[name]
        if len(args) != len(types):
            raise TypeError(f'{name}: {len(types)} arguments, found {len(args)}')
        values = [self._value(name, k, kind, pointer, arg)
                  for k, ((kind, pointer), arg) in enumerate(zip(types, args))]
        pointers = (ctypes.c_void_p * len(values))(
            *(ctypes.addressof(value) for value in values))
        if getattr(self._library, f'launch_{name}')(
                _dim3(grid), _dim3(block), ctypes.c_size_t(shared_mem),
                int(cooperative), ORDERS.index(self.order), pointers):
            raise RuntimeError(f'{name}: its threads wait for one another for ever')

    def _value(self, name, k, kind, pointer, arg):
        if not pointer:
            kind = _SCALARS.get(kind) or _SCALARS[self._real]
            return kind(arg.item() if hasattr(arg, 'item') else arg)
        if isinstance(arg, (int, numpy.integer)):
            return ctypes.c_void_p(int(arg))
        expected = _DTYPES.get(kind) or _DTYPES[self._real]
        if not arg.flags.c_contiguous or arg.dtype != expected:
            raise TypeError(f'{name}: parameter {k} is {kind}*, found {arg.dtype}, '
                            f'contiguous: {arg.flags.c_contiguous}')
        return ctypes.c_void_p(arg.ctypes.data)


class Cuda(launch.Cuda):
    """A GPU of a few multiprocessors, on NumPy arrays."""

    def __init__(self, multiprocessors=6, shared_per_block=227 * 1024):
        self.xp = numpy
        self.multiprocessors = multiprocessors
        self.shared_per_block = shared_per_block
        self.cooperative = True
        self.streamable = 2 ** 25
        self.order = 'forwards'
        self.launched = []
        self._captured = None
        self._modules = {}

    def lane(self, urgent=False):
        return self  # the order of the calls is one of those that are allowed

    def queue(self):
        return contextlib.nullcontext()

    def mark(self):
        return len(self.launched)

    def wait(self, mark):
        assert mark is not None

    def _do(self, work):
        """Does some work now, or puts it into the graph that is captured."""
        if self._captured is None:
            work()
        else:
            self._captured.append(work)

    def dot(self, a, b, out, more=False, scale=1.0):
        assert out.strides[1] == out.itemsize or out.shape[1] == 1

        def work():
            wide = numpy.promote_types(a.dtype, numpy.float32)
            product = scale * numpy.dot(a.astype(wide), b.astype(wide))
            out[...] = product + out if more else product

        self._do(work)

    def zero(self, x):
        self._do(lambda: x.fill(0))

    def copy(self, x, to):
        self._do(lambda: numpy.copyto(to, x))

    def upload(self, x, to):
        assert self._captured is None
        to[...] = x

    def capture(self, work):
        self._captured = []
        try:
            work()
            return Graph(self._captured)
        finally:
            self._captured = None

    def compile(self, text, options):
        return _Compiled(self, compile(text, options))

    @staticmethod
    def start_cooperatively(xp, function, grid, block, values, shared):
        function((grid,), (block,), values, shared, cooperative=True)

    def blocks_at_once(self, function, threads, shared):
        return self.multiprocessors


class _Compiled:
    """What CuPy's RawModule is, as far as `rnnlm.kernels.cuda.launch` uses it."""

    def __init__(self, cuda, module):
        self._cuda, self._module = cuda, module

    def get_function(self, name):
        return _Function(self._cuda, self._module, name)


class _Function:

    def __init__(self, cuda, module, name):
        self._cuda, self._module, self._name = cuda, module, name
        self.max_dynamic_shared_size_bytes = 48 * 1024

    def __call__(self, grid, block, args, shared_mem=0, cooperative=False):
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        assert shared_mem <= self._cuda.shared_per_block

        def work():
            self._cuda.launched.append(self._name)
            self._module.order = self._cuda.order
            self._module.launch(self._name, grid, block, args, shared_mem,
                                cooperative)

        self._cuda._do(work)


class Graph:
    """Work that was captured."""

    def __init__(self, works):
        self._works = works

    def launch(self):
        for work in self._works:
            work()
