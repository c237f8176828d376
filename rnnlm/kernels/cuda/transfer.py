"""Asynchronous copies between the host and a GPU."""
import itertools

import numpy


class Uploads:
    """Copier of small arrays to the GPU; blocks only if too many are in flight.

    Args:
        xp: cupy.
        count (int): Maximum number of copies in flight.
    """

    def __init__(self, xp, count=4):
        self._xp = xp
        self._slots = [(None, None)] * count
        self._turns = itertools.cycle(range(count))

    def __call__(self, x, to):
        """Copies ``to = x``: from a host array to a GPU array of the same shape."""
        x = numpy.ascontiguousarray(x, to.dtype)
        turn = next(self._turns)
        memory, event = self._slots[turn]
        if event is None:
            event = self._xp.cuda.Event(disable_timing=True)
        else:
            event.synchronize()  # wait until the pinned memory can be reused
        if memory is None or memory.size() < x.nbytes:
            memory = self._xp.cuda.alloc_pinned_memory(x.nbytes)
        numpy.frombuffer(memory, x.dtype, x.size)[...] = x.ravel()
        to.data.copy_from_host_async(memory.ptr, x.nbytes)
        event.record()
        self._slots[turn] = memory, event


class Later:
    """Numbers that are being copied from the GPU; reading waits for these copies only.

    Args:
        xp: cupy.
        arrays: Arrays of one element each, on one device.
    """

    SIZE = 8  # bytes between two numbers

    def __init__(self, xp, *arrays):
        self._memory = xp.cuda.alloc_pinned_memory(self.SIZE * len(arrays))
        self._types = [x.dtype for x in arrays]
        with arrays[0].device:  # which may not be the current one
            for k, x in enumerate(arrays):
                x.data.copy_to_host_async(self._memory.ptr + self.SIZE * k, x.nbytes)
            self._event = xp.cuda.Event(disable_timing=True)
            self._event.record()

    def read(self):
        """Returns the numbers, a list of float."""
        self._event.synchronize()
        return [float(numpy.frombuffer(self._memory, dtype, 1, self.SIZE * k)[0])
                for k, dtype in enumerate(self._types)]
