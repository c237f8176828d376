"""One step of one stream, for generation; compiled for the CPU, float32.

    z = b + W_u x + W_l h         (4n,)    then the gates, c and h, for each layer
    y = b + W x                   (V,)     the logits

Every weight is used once per step, so the time is that of reading all weights from
memory, 53 MB for 650 units and 10,000 words.  These kernels read each matrix from
beginning to end, and prefetch further ahead than the processor does by itself.  All
layers are one call of `rnnlm.kernels.threads.run`, with a barrier after each layer.
"""
import ctypes
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels import threads
from rnnlm.kernels.cell import first_unit, lstm_cell, part_of_thread
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import ALL_IN, Kernel

# Prefetch distance in elements of a matrix.
AHEAD = 2048

# Number of independent sums of a product, which hide the latency of additions.
CHAINS = 4

# Minimum number of weights for a thread: it takes longer to start one than to read
# fewer.  More threads than MOST_THREADS hardly read memory any faster.
GRAIN, MOST_THREADS = 2 ** 19, 8

# Arguments of the kernels, of the kinds in `rnnlm.kernels.vector`; a thread waits in
# the barrier until `counter` is at `target`.
LAYER = (('i', 'thread'), ('i', 'threads'), ('i', 'm'), ('i', 'n'), ('p', 'x'),
         ('p', 'h'), ('p', 'c'), ('p', 'upward'), ('p', 'bias'), ('p', 'lateral'),
         ('p', 'z'), ('p', 'c_out'), ('p', 'h_out'), ('b', 'counter'), ('i', 'target'))
OUTPUT = (('i', 'thread'), ('i', 'threads'), ('i', 'm'), ('i', 'n'), ('p', 'x'),
          ('p', 'W'), ('p', 'bias'), ('p', 'y'))


def fits(*sizes):
    """Returns whether the kernels support layers with these numbers of units."""
    return min(sizes) >= machine().lanes


class Step:
    """The layers of one step, in order; `run` computes them.

    All arrays are float32 and contiguous.
    """

    def __init__(self):
        self._calls = []  # (kernel, arguments after thread and threads) of each layer
        self._arrays = []  # which must live until `run`
        self._weights = 0

    def layer(self, x, c, h, upward_W, upward_b, lateral_W):
        """Adds an LSTM layer, as `rnnlm.functions.lstm_window` computes it.

        Args:
            x: (m,), the input, which may be an output of a layer before.
            c, h: (n,), the state.
            upward_W, upward_b, lateral_W: (4n, m), (4n,) and (4n, n).

        Returns:
            tuple of arrays: c and h after the step, each (n,), written by `run`.
        """
        m, n = len(x), len(h)
        z = numpy.empty(4 * n, 'f')  # the pre-activations
        c_out, h_out = numpy.empty((2, n), 'f')
        self._add(0, m, n, x, h, c, upward_W, upward_b, lateral_W, z, c_out, h_out)
        self._weights += upward_W.size + lateral_W.size
        return c_out, h_out

    def output(self, x, W, b):
        """Adds the output layer.

        Args:
            x: (m,), the input.
            W, b: (V, m) and (V,).

        Returns:
            array: The logits (V,), written by `run`.
        """
        y = numpy.empty(len(b), 'f')
        self._add(1, len(x), len(b), x, W, b, y)
        self._weights += W.size
        return y

    def _add(self, which, m, n, *arrays):
        self._arrays += arrays
        pointers = [array.ctypes.data for array in arrays]
        self._calls.append((_compiled()[which], which, (m, n, *pointers)))

    def run(self):
        """Computes all layers."""
        n_threads = max(1, min(
            threads.count(), MOST_THREADS, self._weights // GRAIN))
        counter = ctypes.c_int64(0)

        def work(thread):
            layers = 0
            for function, is_output, arguments in self._calls:
                if not is_output:
                    layers += 1
                    arguments += ctypes.addressof(counter), layers * n_threads
                function(thread, n_threads, *arguments)

        def give_up():
            counter.value = ALL_IN

        threads.run(work, n_threads, give_up)


@functools.lru_cache(maxsize=None)
def _compiled():
    return machine().functions(module(machine()), {'layer': LAYER, 'output': OUTPUT})


def module(machine):
    """Builds the LLVM module of both kernels."""
    written = ir.Module('one_stream')
    _write_layer(written, machine.lanes)
    _write_output(written, machine.lanes)
    return written


def _product(k, row, x, n):
    """Builds the sum over j < n of row[j] * x[j], a scalar; n >= lanes."""
    whole = k.builder.sdiv(n, k.int(k.lanes))
    groups = k.builder.sdiv(whole, k.int(CHAINS))
    last, is_rest = k.last_vector(n)
    zero = k.constant(0)
    rest = k.builder.select(is_rest, k.load(k.at(x, last)), zero)
    begin = [k.fmul(rest, k.builder.select(is_rest, k.load(k.at(row, last)), zero))]

    def added(j, total):
        return k.fma(k.load(k.at(row, j)), k.load(k.at(x, j)), total)

    with k.loop(0, groups, *begin + [zero] * (CHAINS - 1)) as loop:
        start = k.mul(loop.index, k.int(CHAINS * k.lanes))
        places = [k.add(start, k.int(chain * k.lanes)) for chain in range(CHAINS)]
        for j in places:
            k.prefetch(k.at(row, j, AHEAD))
        loop.again(*map(added, places, loop.values))
    total = loop.values[0]
    for chain in loop.values[1:]:
        total = k.fadd(total, chain)
    with k.loop(k.mul(groups, k.int(CHAINS)), whole, total) as loop:
        loop.again(added(k.mul(loop.index, k.int(k.lanes)), loop.values[0]))
    return k.reduce(k.fadd, loop.values[0])


def _write_layer(module, lanes):
    """Builds a layer: each thread computes the units of its blocks."""
    k = Kernel(module, 'layer', LAYER, lanes)
    a, m, n = k.arguments, k.arguments['m'], k.arguments['n']
    with k.loop(*part_of_thread(k, k.blocks(n))) as block:
        u = first_unit(k, block.index)
        with k.loop(0, 4 * lanes) as gate:
            row = k.add(k.mul(u, k.int(4)), gate.index)
            found = k.builder.fadd(
                _product(k, k.at(a['upward'], (row, m)), a['x'], m),
                _product(k, k.at(a['lateral'], (row, n)), a['h'], n))
            k.builder.store(found, k.at(a['z'], row))
        z = [k.fadd(*(k.load(k.at(a[name], (u, 4), q * lanes))
                      for name in ('z', 'bias'))) for q in range(4)]
        _, c, _, h = lstm_cell(k, z, k.load(k.at(a['c'], u)))
        k.store(c, k.at(a['c_out'], u))
        k.store(h, k.at(a['h_out'], u))
    k.barrier(a['counter'], a['target'])
    k.builder.ret_void()


def _write_output(module, lanes):
    """Builds the output layer: each thread computes some of the rows."""
    k = Kernel(module, 'output', OUTPUT, lanes)
    a = k.arguments
    with k.loop(*part_of_thread(k, a['n'])) as row:
        found = _product(k, k.at(a['W'], (row.index, a['m'])), a['x'], a['m'])
        k.builder.store(
            k.builder.fadd(found, k.builder.load(k.at(a['bias'], row.index))),
            k.at(a['y'], row.index))
    k.builder.ret_void()
