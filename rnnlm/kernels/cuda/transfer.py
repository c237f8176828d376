"""Copies between the host and a GPU that the host does not wait for."""
import itertools

import numpy


class Uploads:
    """Copies small arrays to the GPU; the host waits only if it is far ahead.

    Args:
        xp: cupy.
        count (int): Copies that may be on their way at once.
    """

    def __init__(self, xp, count=4):
        self._xp = xp
        self._slots = [(None, None)] * count
        self._turns = itertools.cycle(range(count))

    def __call__(self, x, to):
        """``to = x``: an array of the host, one of the GPU of the same kind."""
        x = numpy.ascontiguousarray(x, to.dtype)
        turn = next(self._turns)
        memory, event = self._slots[turn]
        if event is not None:
            event.synchronize()  # the memory is free again
        if memory is None or memory.size() < x.nbytes:
            memory = self._xp.cuda.alloc_pinned_memory(x.nbytes)
        numpy.frombuffer(memory, x.dtype, x.size)[...] = x.ravel()
        to.data.copy_from_host_async(memory.ptr, x.nbytes)
        event = self._xp.cuda.Event(disable_timing=True)
        event.record()
        self._slots[turn] = memory, event


class Later:
    """A number on its way from the GPU; `float` waits for it, and for it alone.

    Args:
        xp: cupy.
        x: Its array, of one element.
    """

    def __init__(self, xp, x):
        self._memory = xp.cuda.alloc_pinned_memory(x.nbytes)
        self._host = numpy.frombuffer(self._memory, x.dtype, 1)
        with x.device:  # another one may be the current one
            x.reshape(1).get(out=self._host, blocking=False)
            self._event = xp.cuda.Event(disable_timing=True)
            self._event.record()

    def __float__(self):
        self._event.synchronize()
        return float(self._host[0])
