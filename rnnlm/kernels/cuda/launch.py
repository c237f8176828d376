"""Launching the kernels of this folder on a GPU, through CuPy."""
import contextlib
import copy
import ctypes
import functools
import os
import re

import numpy

from rnnlm.kernels.cuda.blas import Blas
from rnnlm.kernels.cuda.transfer import Uploads

HERE = os.path.dirname(os.path.abspath(__file__))
HEADERS = ('common.cuh', 'lstm.cuh', 'philox.cuh')
SOURCES = ('steps.cu', 'output.cu', 'rows.cu', 'sgd.cu')
ALIGNMENT = 16  # bytes, of what kernels read as `Gates`
THREADS = 256  # of a block, where nothing speaks for another number

_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?'
    r'(\w+)\s*\(([^)]*)\)')
_SCALARS = {'int': numpy.int32, 'unsigned': numpy.uint32, 'long long': numpy.int64,
            'float': numpy.float32, 'double': numpy.float64}
_ARRAYS = {'int': numpy.int32, 'unsigned': numpy.uint32, 'long long': numpy.int64,
           'double': numpy.float64}


def source(*names):
    """The text of some files of this folder, one after the other."""
    texts = []
    for name in names:
        with open(os.path.join(HERE, name), encoding='utf-8') as f:
            texts.append(f.read())
    return '\n'.join(texts)


def parameters(text):
    """Name of each kernel in a source to its parameters' (type, whether a pointer)."""
    found = {}
    for name, declared in _KERNEL.findall(text):
        types = []
        for parameter in declared.split(','):
            words = parameter.replace('*', ' * ').split()
            kind = ' '.join(
                w for w in words[:-1] if w not in ('const', '*', '__restrict__'))
            types.append((kind, '*' in words))
        found[name] = types
    return found


class Module:
    """The kernels of a source, compiled for one type.

    Args:
        compiled: What CuPy's ``RawModule`` is, or a stand-in.
        text (str): The source.
        dtype: float32 or float64, the `real` of the source.
        start: Starts a kernel otherwise than CuPy does, called with (kernel, blocks,
            threads, values of the parameters, bytes of shared memory).
    """

    def __init__(self, compiled, text, dtype, start=None):
        self._compiled = compiled
        self._start = start
        self._parameters = parameters(text)
        self._dtype = numpy.dtype(dtype)
        self._functions = {}

    def function(self, name, shared=0):
        """The kernel of this name, allowed to use so many bytes of shared memory."""
        if name not in self._functions:
            self._functions[name] = self._compiled.get_function(name)
        function = self._functions[name]
        if shared > 48 * 1024 and function.max_dynamic_shared_size_bytes < shared:
            function.max_dynamic_shared_size_bytes = shared
        return function

    def launch(self, name, grid, block, args, shared=0):
        """Launches a kernel on the current stream.

        Args:
            name (str): Its name.
            grid (int): Blocks.
            block (int or tuple): Threads of a block.
            args: A number or an array, contiguous and of the declared type, for each
                parameter; None is the null pointer.
            shared (int): Bytes of dynamic shared memory.
        """
        types = self._parameters[name]
        values = tuple(self._value(name, kind, pointer, arg)
                       for (kind, pointer), arg in zip(types, args))
        if len(args) != len(types):
            raise TypeError(f'{name}: {len(types)} arguments, found {len(args)}')
        function = self.function(name, shared)
        if self._start:
            self._start(function, grid, block, values, shared)
            return
        block = block if isinstance(block, tuple) else (block,)
        function((grid,), block, values, shared_mem=shared)

    def _value(self, name, kind, pointer, arg):
        if not pointer:
            if kind == 'real':
                return self._dtype.type(arg)
            return _SCALARS[kind](arg)
        if arg is None:
            return numpy.intp(0)
        expected = _ARRAYS.get(kind, self._dtype)
        if arg.dtype != expected or not arg.flags.c_contiguous:
            raise TypeError(
                f'{name}: expected a contiguous array of {expected}, found '
                f'{arg.dtype}, contiguous: {arg.flags.c_contiguous}')
        if kind == 'Gates' and address(arg) % ALIGNMENT:
            raise ValueError(
                f'{name}: expected an array that begins at a multiple of {ALIGNMENT} '
                f'bytes, found the address {address(arg)}')
        return arg


def address(x):
    """int: Where an array begins, on a GPU or on the host."""
    return x.data.ptr if hasattr(x.data, 'ptr') else x.ctypes.data


def aligned(xp, x):
    """An array, or a copy that is contiguous and begins at `ALIGNMENT`."""
    x = xp.ascontiguousarray(x)
    return x.copy() if address(x) % ALIGNMENT else x


class Cuda:
    """A GPU as the kernels see it: launches, matrix products, memory.

    Work is done in the order of the calls, but for `lane`.

    Attributes:
        xp: The module of its arrays, cupy.
        multiprocessors (int): How many it has.
        shared_per_block (int): Bytes of shared memory that a block may have.
        blas: `Blas`, its matrix products.
    """

    def __init__(self, xp):
        self.xp = xp
        device = xp.cuda.Device()
        attributes = device.attributes
        self.multiprocessors = attributes['MultiProcessorCount']
        self.shared_per_block = attributes['MaxSharedMemoryPerBlockOptin']
        self.cooperative = bool(attributes['CooperativeLaunch'])
        self.blas = Blas(xp)
        self._uploads = Uploads(xp)
        self._modules = {}
        self._stream = None  # whatever is current

    def lane(self):
        """The same GPU, whose work is done beside that of others; see `queue`."""
        lane = copy.copy(self)
        lane.blas = Blas(self.xp)  # two products at once need two workspaces
        lane._stream = self.xp.cuda.Stream(non_blocking=True)
        return lane

    def queue(self):
        """A context in which all work is that of this lane."""
        return self._stream or contextlib.nullcontext()

    def mark(self):
        """The present end of the lane's work, for `wait` of another lane."""
        event = self.xp.cuda.Event(disable_timing=True)
        event.record(self._stream or self.xp.cuda.get_current_stream())
        return event

    def wait(self, mark):
        """Lets later work of the lane begin when what was marked is done."""
        (self._stream or self.xp.cuda.get_current_stream()).wait_event(mark)

    def launch(self, dtype, name, grid, block, args, shared=0):
        """`Module.launch` of a kernel of `SOURCES` for a type."""
        self.module(dtype, SOURCES).launch(name, grid, block, args, shared)

    def dot(self, a, b, out, more=False, scale=1.0):
        """``out = scale a b``, plus out if `more`; as `Blas.dot`."""
        self.blas.dot(a, b, out, more, scale)

    def zero(self, x):
        """``x = 0``."""
        x.fill(0)

    def copy(self, x, to):
        """``to = x``, arrays of one shape and dtype."""
        to[...] = x

    def upload(self, x, to):
        """``to = x``, an array of the host; it may change at once."""
        self._uploads(x, to)

    def capture(self, work):
        """Records what a function launches, which it must have done once before.

        Returns:
            A graph; its method ``launch`` does it all again.
        """
        stream = self.xp.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            try:
                work()
            finally:
                graph = stream.end_capture()
        return graph

    def module(self, dtype, names, defines=(), cooperative=False):
        """Some of the sources, compiled when they are first asked for.

        Args:
            dtype: float32 or float64.
            names: Files of this folder.
            defines: 'NAME=VALUE', ...
            cooperative (bool): Whether all blocks of a launch run at once.

        Returns:
            Module
        """
        key = numpy.dtype(dtype), names, defines
        if key not in self._modules:
            text = source(*HEADERS, *names)
            real = {'float32': 'float', 'float64': 'double'}[key[0].name]
            options = ('--std=c++17', f'-DREAL={real}', *(f'-D{d}' for d in defines))
            # All lanes share it: it may not hold this one.
            start = functools.partial(self.start_cooperatively, self.xp)
            self._modules[key] = Module(self.compile(text, options), text, dtype,
                                        start if cooperative else None)
        return self._modules[key]

    def compile(self, text, options):
        return self.xp.RawModule(code=text, options=options, backend='nvrtc')

    @staticmethod
    def start_cooperatively(xp, function, grid, block, values, shared):
        """Starts a kernel all of whose blocks run at once, or none.

        RawModule's own way would first link a library that is often not there.
        """
        holders = [numpy.asarray(value if isinstance(value, numpy.generic)
                                 else numpy.uint64(value.data.ptr)) for value in values]
        parameters = (ctypes.c_void_p * len(holders))(
            *(holder.ctypes.data for holder in holders))
        xp.cuda.driver.launchCooperativeKernel(
            function.kernel.ptr, grid, 1, 1, block, 1, 1, shared,
            xp.cuda.get_current_stream().ptr, ctypes.addressof(parameters))

    def blocks_at_once(self, function, threads, shared):
        """How many blocks of a kernel the whole GPU holds at once."""
        each = self.xp.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            function.kernel.ptr, threads, shared)
        return each * self.multiprocessors
