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
        if event is not None:
            event.synchronize()  # wait until the pinned memory can be reused
        if memory is None or memory.size() < x.nbytes:
            memory = self._xp.cuda.alloc_pinned_memory(x.nbytes)
        numpy.frombuffer(memory, x.dtype, x.size)[...] = x.ravel()
        to.data.copy_from_host_async(memory.ptr, x.nbytes)
        event = self._xp.cuda.Event(disable_timing=True)
        event.record()
        self._slots[turn] = memory, event


class Later:
    """Number that is being copied from the GPU; `float` waits for this copy only.

    Args:
        xp: cupy.
        x: The array, of one element.
    """

    def __init__(self, xp, x):
        self._memory = xp.cuda.alloc_pinned_memory(x.nbytes)
        self._host = numpy.frombuffer(self._memory, x.dtype, 1)
        with x.device:  # which may not be the current one
            x.reshape(1).get(out=self._host, blocking=False)
            self._event = xp.cuda.Event(disable_timing=True)
            self._event.record()

    def __float__(self):
        self._event.synchronize()
        return float(self._host[0])
