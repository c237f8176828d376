"""Compilation and launch of the CUDA kernels, through CuPy."""
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
ALIGNMENT = 16  # bytes, for arrays that kernels read as `Gates`
THREADS = 256  # threads in a block, by default

_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?'
    r'(\w+)\s*\(([^)]*)\)')
_SCALARS = {'int': numpy.int32, 'unsigned': numpy.uint32, 'long long': numpy.int64,
            'float': numpy.float32, 'double': numpy.float64}
_ARRAYS = {'int': numpy.int32, 'unsigned': numpy.uint32, 'long long': numpy.int64,
           'double': numpy.float64}


def source(*names):
    """Returns the concatenated text of files of this folder."""
    texts = []
    for name in names:
        with open(os.path.join(HERE, name), encoding='utf-8') as f:
            texts.append(f.read())
    return '\n'.join(texts)


def parameters(text):
    """Maps each kernel in a source to its parameters' (type, whether a pointer)."""
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
    """Kernels of a source, compiled for one floating-point type.

    Args:
        compiled: CuPy's ``RawModule``, or a stand-in.
        text (str): The source.
        dtype: float32 or float64, the type `real` of the source.
        start: Function that launches a kernel instead of CuPy; called with (kernel,
            blocks, threads, values of the parameters, bytes of shared memory).
    """

    def __init__(self, compiled, text, dtype, start=None):
        self._compiled = compiled
        self._start = start
        self._parameters = parameters(text)
        self._dtype = numpy.dtype(dtype)
        self._functions = {}

    def function(self, name, shared=0):
        """Returns a kernel, after allowing it that many bytes of shared memory."""
        if name not in self._functions:
            self._functions[name] = self._compiled.get_function(name)
        function = self._functions[name]
        if shared > 48 * 1024 and function.max_dynamic_shared_size_bytes < shared:
            function.max_dynamic_shared_size_bytes = shared
            # As much shared memory as there is, so that other kernels, with what they
            # need of it, fit onto the multiprocessors beside this one.
            function.preferred_shared_memory_carveout = 100
        return function

    def launch(self, name, grid, block, args, shared=0):
        """Launches a kernel on the current stream.

        Args:
            name (str): Name of the kernel.
            grid (int): Number of blocks.
            block (int or tuple): Threads in a block.
            args: A number, or a contiguous array of the declared type, for each
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
    """Returns the address (int) of an array's first element, on a GPU or the host."""
    return x.data.ptr if hasattr(x.data, 'ptr') else x.ctypes.data


def aligned(xp, x):
    """Returns an array, or a contiguous copy that is aligned to `ALIGNMENT`."""
    x = xp.ascontiguousarray(x)
    return x.copy() if address(x) % ALIGNMENT else x


class Cuda:
    """GPU as seen by the kernels: launches, matrix products and memory.

    Work is executed in the order of the calls, except for work of a `lane`.

    Attributes:
        xp: The array module, cupy.
        multiprocessors (int): Number of multiprocessors.
        shared_per_block (int): Maximum bytes of shared memory in a block.
        streamable (int): Maximum bytes of weights that are read in each step.
        blas: `Blas`, for matrix products.
    """

    def __init__(self, xp):
        self.xp = xp
        device = xp.cuda.Device()
        attributes = device.attributes
        self.multiprocessors = attributes['MultiProcessorCount']
        self.shared_per_block = attributes['MaxSharedMemoryPerBlockOptin']
        self.cooperative = bool(attributes['CooperativeLaunch'])
        # Others lack asynchronous copies, or would stream from a slower memory.
        self.streamable = attributes['L2CacheSize'] * 3 // 4 if (
            attributes['ComputeCapabilityMajor'] >= 8) else 0
        self.blas = Blas(xp)
        self._uploads = Uploads(xp)
        self._modules = {}
        self._stream = None  # None means the current stream

    def lane(self, urgent=False):
        """Returns the same GPU with a stream of its own, to work concurrently.

        Args:
            urgent (bool): Whether its work goes before that of other streams.
        """
        lane = copy.copy(self)
        lane.blas = Blas(self.xp)  # concurrent products need separate workspaces
        try:
            lane._stream = self.xp.cuda.Stream(
                non_blocking=True, priority=-1 if urgent else None)
        except TypeError:  # CuPy 13.0 has no priorities
            lane._stream = self.xp.cuda.Stream(non_blocking=True)
        return lane

    def queue(self):
        """Returns a context in which all work goes to the stream of this lane."""
        return self._stream or contextlib.nullcontext()

    def mark(self):
        """Records an event after the lane's work so far, for `wait` of another lane."""
        event = self.xp.cuda.Event(disable_timing=True)
        event.record(self._stream or self.xp.cuda.get_current_stream())
        return event

    def wait(self, mark):
        """Makes the lane's later work wait for an event from `mark`."""
        (self._stream or self.xp.cuda.get_current_stream()).wait_event(mark)

    def launch(self, dtype, name, grid, block, args, shared=0):
        """Launches a kernel of `SOURCES` for a type; see `Module.launch`."""
        self.module(dtype, SOURCES).launch(name, grid, block, args, shared)

    def dot(self, a, b, out, more=False, scale=1.0):
        """Computes ``out = scale a b``, plus out if `more`; see `Blas.dot`."""
        self.blas.dot(a, b, out, more, scale)

    def zero(self, x):
        """Sets ``x = 0``."""
        x.fill(0)

    def copy(self, x, to):
        """Copies ``to = x``, arrays of one shape and dtype."""
        to[...] = x

    def upload(self, x, to):
        """Copies a host array, ``to = x``; `x` may be changed right after the call."""
        self._uploads(x, to)

    def capture(self, work):
        """Captures the launches of a function as a CUDA graph.

        The function must have run once before.

        Returns:
            A graph; its method ``launch`` repeats the launches.
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
        """Returns a compiled module of some sources, compiling it on first use.

        Args:
            dtype: float32 or float64.
            names: Files of this folder.
            defines: 'NAME=VALUE', ...
            cooperative (bool): Whether all blocks of a launch must run concurrently.

        Returns:
            Module
        """
        key = numpy.dtype(dtype), names, defines
        if key not in self._modules:
            text = source(*HEADERS, *names)
            real = {'float32': 'float', 'float64': 'double'}[key[0].name]
            options = ('--std=c++17', f'-DREAL={real}', *(f'-D{d}' for d in defines))
            # The module is shared by all lanes, so it must not refer to this one.
            start = functools.partial(self.start_cooperatively, self.xp)
            self._modules[key] = Module(self.compile(text, options), text, dtype,
                                        start if cooperative else None)
        return self._modules[key]

    def compile(self, text, options):
        return self.xp.RawModule(code=text, options=options, backend='nvrtc')

    @staticmethod
    def start_cooperatively(xp, function, grid, block, values, shared):
        """Launches a kernel whose blocks must all run concurrently.

        RawModule's own way would first link a library that is often missing.
        """
        holders = [numpy.asarray(value if isinstance(value, numpy.generic)
                                 else numpy.uint64(value.data.ptr)) for value in values]
        parameters = (ctypes.c_void_p * len(holders))(
            *(holder.ctypes.data for holder in holders))
        xp.cuda.driver.launchCooperativeKernel(
            function.kernel.ptr, grid, 1, 1, block, 1, 1, shared,
            xp.cuda.get_current_stream().ptr, ctypes.addressof(parameters))

    def blocks_at_once(self, function, threads, shared):
        """Returns how many blocks of a kernel can run concurrently on the GPU."""
        each = self.xp.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
            function.kernel.ptr, threads, shared)
        return each * self.multiprocessors
