"""Devices, streams and memory."""
import contextlib
import ctypes
import types
import warnings

from cupy import _array, _device, _libraries, _raw
from cupy._device import Event, Graph, Stream
from cupy._memory import MemoryPointer
from cupy.cuda import memory_hook, runtime

__all__ = ['Event', 'Graph', 'Stream', 'runtime', 'memory_hook']

get_current_stream = _device.current_stream


class Device:
    """The device."""

    def __init__(self, device=None):
        self.id = runtime.getDevice() if device is None else int(device)

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return hash(self.id)

    def __repr__(self):
        return f'<CUDA Device {self.id}>'

    def __enter__(self):
        self.use()
        return self

    def __exit__(self, *exc):
        pass

    def use(self):
        """Makes it the current device."""
        runtime.setDevice(self.id)
        return self

    def synchronize(self):
        """Waits for all its work."""
        runtime.deviceSynchronize()

    compute_capability = '90'

    @property
    def cublas_handle(self):
        _libraries.load('libcublas.so.13')
        return 0x1000

    mem_info = (2 ** 34, 2 ** 34)

    @property
    def attributes(self):
        return {'MultiProcessorCount': 4, 'MaxSharedMemoryPerBlockOptin': 227 * 1024,
                'CooperativeLaunch': 1, 'ComputeCapabilityMajor': 9,
                'L2CacheSize': 50 * 2 ** 20}


class MemoryPool:
    """Chainer wants one; the host's memory has no need of it."""

    def malloc(self, size):
        """Memory of that many bytes."""
        return _array.ndarray(size, 'u1').data

    def used_bytes(self):
        return 0

    total_bytes = free_bytes = n_free_blocks = used_bytes

    def free_all_blocks(self, stream=None):
        """Does nothing."""

    free_all_free = free_all_blocks

    def set_limit(self, size=None, fraction=None):
        """Does nothing."""


PinnedMemoryPool = MemoryAsyncPool = MemoryPool
_pool, _pinned_pool = MemoryPool(), PinnedMemoryPool()


def alloc(size):
    """Memory of the device."""
    return _pool.malloc(size)


def set_allocator(allocator=None):
    """Does nothing."""


set_pinned_memory_allocator = set_allocator


@contextlib.contextmanager
def using_allocator(allocator=None):
    """Does nothing."""
    yield


def alloc_pinned_memory(size):
    """Memory of the host: a buffer with `ptr` and `size()`."""
    memory = type('PinnedMemoryPointer', (ctypes.c_char * size,), {
        'ptr': property(ctypes.addressof), 'size': lambda self: size})
    return memory()


def get_elapsed_time(start, end):
    """Milliseconds between two events: none."""
    return 0.0


memory = types.SimpleNamespace(
    MemoryPointer=MemoryPointer, MemoryPool=MemoryPool,
    OutOfMemoryError=type('OutOfMemoryError', (MemoryError,), {}))
stream = types.SimpleNamespace(Stream=Stream, get_current_stream=get_current_stream)
device = types.SimpleNamespace(Device=Device, get_cublas_handle=lambda: 0x1000)
driver = types.SimpleNamespace(
    CUDADriverError=type('CUDADriverError', (RuntimeError,), {}),
    ctxGetCurrent=lambda: 1,
    launchCooperativeKernel=_raw.launch_cooperatively,
    occupancyMaxActiveBlocksPerMultiprocessor=lambda function, threads, shared: 2)
nvtx = types.SimpleNamespace(
    available=True, RangePush=lambda *args: None, RangePop=lambda: None)
cublas = types.SimpleNamespace(getVersion=lambda handle: 131211)


def __getattr__(name):
    if name != 'nvtx_enabled':
        raise AttributeError(name)
    warnings.warn('cupy.cuda.nvtx_enabled is deprecated', DeprecationWarning)
    return True
