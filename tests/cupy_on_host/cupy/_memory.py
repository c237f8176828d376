"""Where an array lies."""
import ctypes

import numpy

from cupy import _device


class Flags:
    """Which flags CuPy has."""

    def __init__(self, flags):
        self.c_contiguous = self.forc = flags.c_contiguous
        self.f_contiguous = flags.f_contiguous
        self.owndata = flags.owndata


class MemoryPointer:
    """An address of the device, and what keeps it alive."""

    def __init__(self, host, offset=0):
        self.mem = host
        self.ptr = host.ctypes.data + offset
        self.device_id = 0

    def __int__(self):
        return self.ptr

    def __add__(self, offset):
        return MemoryPointer(self.mem, self.ptr - self.mem.ctypes.data + offset)

    def _view(self, shape, dtype, strides, order):
        """A NumPy array that begins here."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = dtype.itemsize * int(numpy.prod(shape))
        memory = (ctypes.c_char * size).from_address(self.ptr)
        memory.owner = self.mem
        return numpy.ndarray(shape, dtype, memory, 0, strides, order)

    def copy_from_host_async(self, mem, size, stream=None):
        """Copies from an address of pinned memory."""
        _device.counts.uploads += 1
        _device.enqueue(lambda: ctypes.memmove(self.ptr, getattr(mem, 'value', mem),
                                               size))

    def copy_to_host_async(self, mem, size, stream=None):
        """Copies to an address of pinned memory."""
        _device.enqueue(lambda: ctypes.memmove(getattr(mem, 'value', mem), self.ptr,
                                               size))

    def memset_async(self, value, size, stream=None):
        """Sets bytes."""
        _device.enqueue(lambda: ctypes.memset(self.ptr, value, size))
