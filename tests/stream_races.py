"""Finds accesses to the same memory by two CUDA streams that nothing orders.

On the host all work is done in the order of the calls, which is one of those that a GPU
may choose.  So results are right even where a stream does not wait for another.  Here
each stream has a vector clock, as in detectors of races between threads: an event
(`mark`) carries the clock of its stream, and `wait` merges it into another.
"""
import contextlib

import cuda_on_host
import numpy

from rnnlm.kernels.cuda import launch


class Race(AssertionError):
    """Two streams access the same memory in no order, and one of them writes."""


class Accesses:
    """All accesses so far, by all streams.

    Attributes:
        streams (list of int): Stack of the current stream; 0 is the default stream.
        clocks (dict): Stream -> its vector clock, {stream: number of accesses}.
    """

    def __init__(self):
        self.streams = [0]
        self.clocks = {0: {0: 0}}
        self._all = []  # (first byte, byte after the last, writes, stream, time, what)

    def add(self, what, reads, writes):
        """Records a launch: what it is, and the arrays (or ranges) it accesses.

        Raises:
            Race: If another stream accesses the same memory at the same time.
        """
        stream = self.streams[-1]
        clock = self.clocks[stream]
        clock[stream] += 1
        for arrays, here in (reads, False), (writes, True):
            for first, end in map(_bytes, arrays):
                for other_first, other_end, there, other, time, who in self._all:
                    if (other != stream and (here or there) and first < other_end
                            and other_first < end and clock.get(other, 0) < time):
                        raise Race(f'{what} on stream {stream} does not wait for {who} '
                                   f'on stream {other}')
                self._all.append((first, end, here, stream, clock[stream], what))


def _bytes(x):
    if isinstance(x, tuple):
        return x
    last = sum((size - 1) * step for size, step in zip(x.shape, x.strides))
    return x.ctypes.data, x.ctypes.data + last + x.itemsize


class Cuda(cuda_on_host.Cuda):
    """The GPU of `cuda_on_host`, with streams whose accesses are recorded."""

    def __init__(self, **more):
        super().__init__(**more)
        self.accesses = Accesses()
        self._own = None  # None means the current stream

    def lane(self, urgent=False):
        lane = Cuda(multiprocessors=self.multiprocessors,
                    shared_per_block=self.shared_per_block)
        lane.order, lane.launched, lane.accesses = (
            self.order, self.launched, self.accesses)
        lane._root = self
        lane._own = max(self.accesses.clocks) + 1
        self.accesses.clocks[lane._own] = {lane._own: 0}
        return lane

    def _do(self, work):
        getattr(self, '_root', super())._do(work)

    @contextlib.contextmanager
    def queue(self):
        self.accesses.streams.append(
            self.accesses.streams[-1] if self._own is None else self._own)
        yield
        self.accesses.streams.pop()

    def _clock(self):
        own = self.accesses.streams[-1] if self._own is None else self._own
        return self.accesses.clocks[own]

    def mark(self):
        return dict(self._clock())

    def wait(self, mark):
        clock = self._clock()
        for stream, time in mark.items():
            clock[stream] = max(clock.get(stream, 0), time)

    def dot(self, a, b, out, more=False, scale=1.0):
        # Products by one handle of cuBLAS share its workspace.
        workspace = (-id(self) - 1, -id(self))
        self.accesses.add('a product', [a, b], [out, workspace])
        super().dot(a, b, out, more, scale)

    def zero(self, x):
        self.accesses.add('zero', [], [x])
        super().zero(x)

    def copy(self, x, to):
        self.accesses.add('a copy', [x], [to])
        super().copy(x, to)

    def upload(self, x, to):
        self.accesses.add('an upload', [], [to])
        super().upload(x, to)

    def module(self, dtype, names, defines=(), cooperative=False):
        return _Module(super().module(dtype, names, defines, cooperative), self,
                       launch.source(*launch.HEADERS, *names))


class _Module:
    """A module whose launches are recorded, by what its source says is constant."""

    def __init__(self, module, cuda, text):
        self._module, self._cuda = module, cuda
        self._constant = {
            name: ['const' in parameter.split() for parameter in declared.split(',')]
            for name, declared in launch._KERNEL.findall(text)}

    def __getattr__(self, name):
        return getattr(self._module, name)

    def launch(self, name, grid, block, args, shared=0):
        reads, writes = [], []
        for arg, constant in zip(args, self._constant[name]):
            if isinstance(arg, numpy.ndarray):
                (reads if constant else writes).append(arg)
        if name in ('sum_of_squares', 'sgd'):  # `parts` has the addresses of more
            parts, = (arg for arg in args if isinstance(arg, numpy.ndarray)
                      and arg.dtype == numpy.int64)
            for p, g, size in parts.tolist():
                ranges = [(at, at + 4 * size) for at in (p, g)]
                (writes if name == 'sgd' else reads).extend(ranges)
        self._cuda.accesses.add(name, reads, writes)
        self._module.launch(name, grid, block, args, shared)
