"""`RawKernel` and `RawModule`: CUDA C++ by `tests/cuda_on_host.py`."""
import ctypes
import importlib.util
import os
import weakref

import numpy

from cupy import _device
from cupy._array import ndarray
from cupy._memory import MemoryPointer

_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir,
                     'cuda_on_host.py')


def _cuda_on_host(kept=[]):
    if not kept:
        spec = importlib.util.spec_from_file_location('cuda_on_host', _PATH)
        kept.append(importlib.util.module_from_spec(spec))
        spec.loader.exec_module(kept[0])
    return kept[0]


class RawModule:
    """As `cupy.RawModule`, of a source."""

    def __init__(self, *, code=None, path=None, options=(), backend='nvrtc',
                 translate_cucomplex=False, enable_cooperative_groups=False,
                 name_expressions=None, jitify=False):
        if code is None:
            raise NotImplementedError('binaries cannot be run on the host')
        self.code, self.options = code, tuple(options)
        self.backend = backend
        self.enable_cooperative_groups = enable_cooperative_groups
        self._module = None

    def compile(self, log_stream=None):
        """Compiles it, if it is not."""
        if self._module is None:
            self._module = _cuda_on_host().compile(self.code, self.options)
        return self._module

    def get_function(self, name):
        """One of its kernels."""
        if name not in self.compile().kernels:
            raise _device.CUDARuntimeError('CUDA_ERROR_NOT_FOUND', name)
        return Function(self, name)

    def real(self):
        """What the type `real` of this project's sources is."""
        return next((o.split('=')[1] for o in self.options if o.startswith('-DREAL=')),
                    'float')


class Function:
    """A kernel of a module."""

    max_threads_per_block = 1024
    num_regs = 32
    shared_size_bytes = local_size_bytes = const_size_bytes = 0

    def __init__(self, module, name):
        self._of, self.name = module, name
        self.max_dynamic_shared_size_bytes = 48 * 1024

    @property
    def kernel(self):
        return self

    @property
    def ptr(self):
        _by_address[id(self)] = self
        return id(self)

    def start(self, grid, block, addresses, shared_mem):
        """A cooperative launch by the driver: addresses of the parameters' values."""
        module, values = self._of.compile(), []
        scalars = _cuda_on_host()._SCALARS
        for k, (kind, pointer) in enumerate(module.kernels[self.name]):
            ctype = ctypes.c_void_p if pointer else scalars.get(
                kind) or scalars[self._of.real()]
            values.append(ctype.from_address(addresses[k]).value or 0)
        _device.enqueue(lambda: module.launch(
            self.name, tuple(grid), tuple(block), values, shared_mem=shared_mem,
            cooperative=True))

    @property
    def attributes(self):
        return {name: getattr(self, name) for name in (
            'max_threads_per_block', 'num_regs', 'shared_size_bytes',
            'local_size_bytes', 'const_size_bytes', 'max_dynamic_shared_size_bytes')}

    def compile(self, log_stream=None):
        """Compiles its module."""
        self._of.compile()

    def __call__(self, grid, block, args, *, shared_mem=0):
        module = self._of.compile()
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise _device.CUDARuntimeError('CUDA_ERROR_INVALID_VALUE', (
                f'{shared_mem} bytes of shared memory'))
        values = [self._value(arg, *kind)
                  for arg, kind in zip(args, module.kernels[self.name])]
        if len(args) != len(module.kernels[self.name]):
            raise TypeError(f'{self.name}: {len(args)} arguments')

        def work(kept=args):
            module.launch(self.name, grid, block, values, shared_mem=shared_mem,
                          cooperative=self._of.enable_cooperative_groups)
        _device.enqueue(work)

    def _value(self, arg, kind, pointer):
        """CuPy hands over 8 bytes of a Python number and those of a NumPy scalar."""
        if isinstance(arg, ndarray):
            return arg._host
        if isinstance(arg, MemoryPointer):
            return arg.ptr
        if pointer:  # an address
            return int(arg)
        if isinstance(arg, numpy.ndarray):
            raise TypeError(f'Unsupported type {type(arg)}')
        kind = kind if kind in _cuda_on_host()._SCALARS else self._of.real()
        width = {'float': 'f4', 'double': 'f8'}.get(kind)
        if not pointer and width and not isinstance(arg, numpy.dtype(width).type) and (
                kind == 'float' or not isinstance(arg, float)):
            raise TypeError(f'{self.name}: a {kind} parameter, found {type(arg)}, '
                            'whose bytes are others')
        return arg


_by_address = weakref.WeakValueDictionary()


def launch_cooperatively(kernel, gx, gy, gz, bx, by, bz, shared, stream, parameters):
    """As `cupy.cuda.driver.launchCooperativeKernel`."""
    if stream != _device.current_stream().ptr:
        raise NotImplementedError('a stream that is not the current one')
    function = _by_address[kernel]
    count = len(function._of.compile().kernels[function.name])
    addresses = (ctypes.c_void_p * count).from_address(parameters)
    function.start((gx, gy, gz), (bx, by, bz), addresses, shared)


class RawKernel(Function):
    """As `cupy.RawKernel`."""

    def __init__(self, code, name, options=(), backend='nvrtc',
                 translate_cucomplex=False, *, enable_cooperative_groups=False,
                 jitify=False):
        super().__init__(RawModule(
            code=code, options=options, backend=backend,
            enable_cooperative_groups=enable_cooperative_groups), name)
        self.code = code
