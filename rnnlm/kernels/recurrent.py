"""The recurrent part of an LSTM window, compiled for this processor; float32.

What `rnnlm.functions.lstm_window` does in its two loops over the steps, with the
lateral weights packed once a window, the gates computed where their products leave
the registers, and all threads at work on each step, every one on its own units.

The units are taken in blocks as wide as a vector; the last block ends at the last
unit and overlaps the one before, so that no size needs a rest loop.  Nothing is
written that another block reads in the same step: computing some units twice does
no harm.
"""
import ctypes
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels import buffers, threads
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import Kernel

# What each thread adds to the wait for all, once a step, in the time of one
# multiplication of vectors.
BARRIER = 1000

# More than any barrier waits for.
ALL_IN = 2 ** 62

# Elements of a panel that are asked for before they are loaded: weights that no cache
# holds come from memory while others are multiplied.
# Fewer rows are multiplied as fast as a cache gives the weights, and asking for more
# would hold it up.
AHEAD, FEW = 512, 4

# Additions that a core has under way at once.
INDEPENDENT_SUMS = 8

# The arguments of the kernels, as of `rnnlm.kernels.vector`; b is the counter of the
# barrier.
FORWARD = (
    ('i', 'thread'), ('i', 'threads'), ('i', 'T'), ('i', 'B'), ('i', 'n'), ('p', 'z'),
    ('p', 'bias'), ('p', 'weights'), ('p', 'panels'), ('p', 'columns'), ('p', 'hs'),
    ('p', 'cs'), ('p', 'tanh_cs'), ('p', 'gate'), ('p', 'scratch'), ('b', 'counter'))
BACKWARD = (
    ('i', 'thread'), ('i', 'threads'), ('i', 'T'), ('i', 'B'), ('i', 'n'),
    ('p', 'ghs'), ('p', 'weights'), ('p', 'panels'), ('p', 'columns'), ('p', 'cs'),
    ('p', 'tanh_cs'), ('p', 'gate'), ('p', 'gz'), ('p', 'gc'), ('p', 'gh'),
    ('p', 'scratch'), ('b', 'counter'))


def forward(z, b, lateral_W, hs, cs, tanh_cs, gate):
    """The steps of a window: `_forward` of `rnnlm.functions.lstm_window`."""
    T, B, n = tanh_cs.shape
    lanes = machine().lanes
    b, lateral_W = map(numpy.ascontiguousarray, (b, lateral_W))
    panels = _panels(n)
    columns = buffers.empty(numpy, (2, n, B), 'f')  # h of a step, transposed
    columns[0] = hs[0].T
    run, _ = _compiled(rows_of_group(B))
    _run(run, T, B, n, z, b, lateral_W, panels, columns, hs, cs, tanh_cs, gate,
         scratch=4 * B * lanes)


def backward(ghs, lateral_W, cs, tanh_cs, gate, gz, gc, gh):
    """Their gradients: `_backward` of `rnnlm.functions.lstm_window`."""
    T, B, n = tanh_cs.shape
    ghs, lateral_W = map(numpy.ascontiguousarray, (ghs, lateral_W))
    lanes = machine().lanes
    panels = _panels(n)
    columns = buffers.empty(numpy, (2, 4 * n, B), 'f')  # gz of a step, transposed
    gcs, ghs_out = buffers.empty(numpy, (2, 2, B, n), 'f')
    gcs[T % 2], ghs_out[T % 2] = gc, gh
    _, run = _compiled(rows_of_group(B))
    _run(run, T, B, n, ghs, lateral_W, panels, columns, cs, tanh_cs, gate, gz, gcs,
         ghs_out, scratch=B * lanes)
    gc[...], gh[...] = gcs[0], ghs_out[0]


def fits(T, B, n):
    """Whether the kernels take a window of this size."""
    return n >= machine().lanes


def _panels(n):
    """Room for the packed weights: (blocks of units, 4n, lanes)."""
    lanes = machine().lanes
    return buffers.empty(numpy, (-(-n // lanes), 4 * n, lanes), numpy.float32)


def _run(function, T, B, n, *arrays, scratch):
    """Calls a kernel on all threads, each with a scratch array of its own."""
    n_threads = best_threads(threads.count(), B, n, machine().lanes)
    counter = ctypes.c_int64(0)
    pointers = [array.ctypes.data for array in arrays]

    def work(thread):
        own = buffers.empty(numpy, (scratch,), 'f')
        function(thread, n_threads, T, B, n, *pointers, own.ctypes.data,
                 ctypes.addressof(counter))

    def give_up():
        counter.value = ALL_IN

    threads.run(work, n_threads, give_up)


def rows_of_group(B, most=None):
    """How many of B rows are added up at once, so that their sums fit into registers.

    Args:
        B (int): Rows of a batch.
        most (int): Sums that fit; those of this processor if None.

    Returns:
        int: for groups of about the same size, the last of which ends at the last row.
        There are as many kinds of kernels as there are such numbers, whatever the
        batches are.
    """
    groups = -(-B // (most or machine().rows))
    return -(-B // groups)


def best_threads(most, B, n, lanes):
    """How many threads take least time for a step, by this model.

    The thread with most blocks of units makes 4 B n multiplications of vectors for each
    of them, and then all wait for one another, which takes the longer the more they
    are.  So small layers get few threads on a machine with many cores, and no number
    that would leave all but a few of them without a block more.

    Args:
        most (int): Threads that there may be.
        B, n (int): Rows and units.
        lanes (int): Units of a block.
    """
    blocks = -(-n // lanes)

    def time(count):
        return -(-blocks // count) * 4 * B * n + (BARRIER * count if count > 1 else 0)

    return min(range(1, max(1, min(most, blocks)) + 1), key=time)


@functools.lru_cache(maxsize=None)
def _compiled(count):
    """The two kernels for groups of `count` rows."""
    return machine().functions(
        module(machine(), count), {'forward': FORWARD, 'backward': BACKWARD})


def module(machine, count):
    """Both kernels, for a processor and groups of `count` rows."""
    written = ir.Module('lstm')
    _write_forward(written, machine.lanes, count)
    _write_backward(written, machine.lanes, count)
    return written


def _product(k, count, inner, columns, panel, target, pitch):
    """target[r * pitch + lane] = sum over j of columns[j, r] * panel[j, lane]."""
    B = k.arguments['B']
    # Each sum waits for its last addition: few rows take several sums a row.
    chains = -(-INDEPENDENT_SUMS // count)
    whole = k.builder.sdiv(inner, k.int(chains))
    groups = k.builder.sdiv(k.add(B, k.int(count - 1)), k.int(count))
    with k.loop(0, groups) as group:
        first = k.smaller(k.mul(group.index, k.int(count)), k.sub(B, k.int(count)))

        def add_up(j, sums):
            weights = k.load(k.at(panel, (j, k.lanes)))
            if count >= FEW:
                k.prefetch(k.at(panel, (j, k.lanes), AHEAD))
            row = k.at(columns, (j, B), first)
            return [k.fma(k.broadcast(k.at(row, r)), weights, total)
                    for r, total in enumerate(sums)]

        with k.loop(0, whole, *[k.constant(0)] * (count * chains)) as loop:
            sums = [loop.values[c::chains] for c in range(chains)]
            sums = [add_up(k.add(k.mul(loop.index, k.int(chains)), k.int(c)), part)
                    for c, part in enumerate(sums)]
            loop.again(*(total for row in zip(*sums) for total in row))
        totals = [_sum(k, loop.values[r * chains:(r + 1) * chains])
                  for r in range(count)]
        if chains > 1:
            with k.loop(k.mul(whole, k.int(chains)), inner, *totals) as loop:
                loop.again(*add_up(loop.index, loop.values))
            totals = loop.values
        for r, total in enumerate(totals):
            k.store(total, k.at(target, (k.add(first, k.int(r)), pitch)))


def _sum(k, vectors):
    while len(vectors) > 1:
        vectors = [k.fadd(x, y) for x, y in zip(vectors[::2], vectors[1::2])] + (
            vectors[-1:] if len(vectors) % 2 else [])
    return vectors[0]


def _begin(module, name, arguments, lanes):
    """A kernel, its arguments, B, n, 4n, the size B n of a step, this thread's blocks.
    """
    k = Kernel(module, name, arguments, lanes)
    B, n = k.arguments['B'], k.arguments['n']
    return (k, k.arguments, B, n, k.mul(n, k.int(4)), k.mul(n, B), *_my_blocks(k))


def _my_blocks(k):
    """(first, last + 1) of this thread's blocks of units."""
    a = k.arguments
    blocks = k.blocks(a['n'])
    edge = [k.builder.sdiv(k.mul(blocks, thread), a['threads'])
            for thread in (a['thread'], k.add(a['thread'], k.int(1)))]
    return edge


def _first_unit(k, block):
    """Where a block begins; the last one ends at the last unit."""
    return k.smaller(k.mul(block, k.int(k.lanes)),
                     k.sub(k.arguments['n'], k.int(k.lanes)))


def _write_forward(module, lanes, count):
    k, a, B, n, four_n, step, first, last = _begin(module, 'forward', FORWARD, lanes)

    # Panel (block, q): n rows of `lanes` pre-activations, the weights transposed.
    with k.loop(first, last) as block, k.loop(0, 4 * lanes) as row, \
            k.loop(0, k.blocks(n)) as part:
        j = _first_unit(k, part.index)
        q = k.builder.sdiv(row.index, k.int(lanes))
        lane = k.builder.srem(row.index, k.int(lanes))
        weights = k.load(k.at(
            a['weights'], (_first_unit(k, block.index), four_n), (row.index, n), j))
        k.store_lanes(weights, k.at(
            a['panels'], (block.index, four_n, lanes), (q, n, lanes), (j, lanes), lane),
            lanes)
    with k.loop(0, a['T']) as time:
        t = time.index
        before = k.builder.and_(t, k.int(1))
        after = k.sub(k.int(1), before)
        columns = k.at(a['columns'], (before, step))
        with k.loop(first, last) as block:
            u = _first_unit(k, block.index)
            for q in range(4):
                panel = k.at(a['panels'], (block.index, four_n, lanes), (n, q * lanes))
                _product(k, count, n, columns, panel, k.at(a['scratch'], q * lanes),
                         4 * lanes)
            bias = [k.load(k.at(a['bias'], (u, 4), q * lanes)) for q in range(4)]
            with k.loop(0, B) as row:
                r = row.index
                at_row = k.at(a['z'], (t, step, 4), (r, four_n), (u, 4))
                z = [k.fadd(k.fadd(k.load(k.at(at_row, q * lanes)), k.load(
                    k.at(a['scratch'], (r, 4 * lanes), q * lanes))), bias[q])
                    for q in range(4)]
                z = k.shuffle(z, [[4 * lane + g for lane in range(lanes)]
                                  for g in range(4)])
                gates = [k.tanh(z[0])] + [k.sigmoid(x) for x in z[1:]]
                cell, in_, forget, out = gates
                place = k.add(k.mul(t, step), k.add(k.mul(r, n), u))
                c = k.fma(forget, k.load(k.at(a['cs'], place)), k.fmul(cell, in_))
                tanh_c = k.tanh(c)
                h = k.fmul(out, tanh_c)
                for g, gate in enumerate(gates):
                    k.store(gate, k.at(
                        a['gate'], (t, step, 4), (step, g), (r, n), u))
                k.store(c, k.at(a['cs'], place, step))
                k.store(tanh_c, k.at(a['tanh_cs'], place))
                k.store(h, k.at(a['hs'], place, step))
                k.store_lanes(h, k.at(a['columns'], (after, step), (u, B), r), B)
        k.wait_for_all(a['counter'], k.mul(a['threads'], k.add(t, k.int(1))))
    k.builder.ret_void()


def _write_backward(module, lanes, count):
    k, a, B, n, four_n, step, first, last = _begin(module, 'backward', BACKWARD, lanes)
    one = k.constant(1)

    def product(block, now):
        """This block's part of gz W, of the step that was done last."""
        panel = k.at(a['panels'], (block, four_n, lanes))
        _product(k, count, four_n, k.at(a['columns'], (now, step, 4)), panel,
                 a['scratch'], lanes)

    # Panel of a block: 4n rows of `lanes` units.
    with k.loop(first, last) as block, k.loop(0, four_n) as row:
        k.store(k.load(k.at(a['weights'], (row.index, n), _first_unit(k, block.index))),
                k.at(a['panels'], (block.index, four_n, lanes), (row.index, lanes)))
    with k.loop(0, a['T']) as time:
        t = k.sub(k.sub(a['T'], k.int(1)), time.index)
        now = k.builder.and_(t, k.int(1))
        later = k.sub(k.int(1), now)
        is_last = k.builder.icmp_signed('==', time.index, k.int(0))
        with k.loop(first, last) as block:
            u = _first_unit(k, block.index)
            # Of the last step, what comes from later is given; of the others it
            # is a product.
            with k.builder.if_else(is_last) as (then, otherwise):
                with then:
                    with k.loop(0, B) as row:
                        k.store(k.load(k.at(a['gh'], (later, step), (row.index, n), u)),
                                k.at(a['scratch'], (row.index, lanes)))
                with otherwise:
                    product(block.index, later)
            with k.loop(0, B) as row:
                r = row.index
                here = k.add(k.mul(r, n), u)
                place = k.add(k.mul(t, step), here)
                gh = k.fadd(k.load(k.at(a['ghs'], place)),
                            k.load(k.at(a['scratch'], (r, lanes))))
                cell, in_, forget, out = (
                    k.load(k.at(a['gate'], (t, step, 4), (step, g), here))
                    for g in range(4))
                c_before = k.load(k.at(a['cs'], place))
                tanh_c = k.load(k.at(a['tanh_cs'], place))
                gh_out = k.fmul(gh, out)
                gc = k.fma(gh_out, k.fsub(one, k.fmul(tanh_c, tanh_c)),
                           k.load(k.at(a['gc'], (later, step), here)))
                gz = (
                    k.fmul(k.fmul(gc, in_), k.fsub(one, k.fmul(cell, cell))),
                    k.fmul(k.fmul(k.fmul(gc, cell), in_), k.fsub(one, in_)),
                    k.fmul(k.fmul(k.fmul(gc, c_before), forget),
                           k.fsub(one, forget)),
                    k.fmul(k.fmul(gh_out, tanh_c), k.fsub(one, out)))
                k.store(k.fmul(gc, forget), k.at(a['gc'], (now, step), here))
                interleaved = k.shuffle(gz, [
                    [lane % 4 * lanes + lane // 4 for lane in
                     range(q * lanes, (q + 1) * lanes)] for q in range(4)])
                for q, part in enumerate(interleaved):
                    k.store(part, k.at(a['gz'], (t, step, 4), (r, four_n), (u, 4),
                                       q * lanes))
                    k.store_lanes(part, k.at(
                        a['columns'], (now, step, 4), (u, 4, B), (q * lanes, B), r), B)
        k.wait_for_all(
            a['counter'], k.mul(a['threads'], k.add(time.index, k.int(1))))
    with k.loop(first, last) as block:
        u = _first_unit(k, block.index)
        product(block.index, k.int(0))
        with k.loop(0, B) as row:
            k.store(k.load(k.at(a['scratch'], (row.index, lanes))),
                    k.at(a['gh'], (row.index, n), u))
    k.builder.ret_void()
