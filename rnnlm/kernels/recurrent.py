"""Recurrent part of an LSTM layer over a window, compiled for the CPU; float32.

These kernels replace `_forward` and `_backward` of `rnnlm.functions.lstm_window`, which
has the equations.  One call runs all T steps.  For B streams, n units, and blocks of
`lanes` units (a vector register), step t computes for each block

    forward     z = W_u x + b + W_l h_{t-1}    (B, 4 lanes)    then gates, c_t and h_t
    backward    gh = ghs[t] + gz_{t+1} W_l     (B, lanes)      then gz_t and gc_{t-1}

Why it is faster than a matrix product of BLAS and a pass of NumPy per step:

- Packing once per window.  A product of few rows is bound by reading W_l.  The weights
  of a block are copied to a panel, in the order in which the inner loop reads them, so
  that it reads sequentially (Goto and van de Geijn 2008).  BLAS packs in each step.
- Register blocking.  A row group (up to `Machine.rows` rows of the batch) has its sums
  in registers, and each vector of weights that is loaded serves all its rows.
- Fusion.  Gates are computed while the sums of a block are in the L1 cache.
- Threads.  Each thread has its own blocks of units, hence its own panels, which can
  stay in the cache of its core.  There is one spin barrier per step, because the next
  step needs h (or gz) of all units.

`columns` holds h_{t-1} or gz_{t+1} transposed, (units, B), so that the inner loop reads
the factors of a row group from adjacent addresses.  It has two halves, for even and odd
steps: threads write one half while others still read the other.

The last block ends at the last unit and overlaps the previous one, so no remainder loop
is needed.  Units in both are computed twice, with equal results, since nothing that a
step writes is read in the same step.

References:
    Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008)
    Diamos et al., "Persistent RNNs: Stashing Recurrent Weights On-Chip" (2016), for one
    kernel that runs all steps, each processor with its own units
"""
import ctypes
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels import buffers, threads
from rnnlm.kernels.cell import first_unit, lstm_cell, part_of_thread
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import ALL_IN, Kernel

# Cost of the barrier of a step per thread, in vector multiplications.
BARRIER = 1000

# Prefetch distance in elements of a panel, so that weights come from memory while
# others are multiplied.  Products of fewer than FEW rows are bound by cache bandwidth,
# and are faster without prefetching.
AHEAD, FEW = 512, 4

# Number of independent FMA chains that a core needs to hide the latency of additions.
INDEPENDENT_SUMS = 8

# Arguments of the kernels, of the kinds in `rnnlm.kernels.vector`; `counter` is that of
# the barrier.
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
    """Computes the steps of a window, as `_forward` of `rnnlm.functions.lstm_window`.

    Args:
        z: (T, B, 4n) interleaved, W_u x of all steps.
        b: (4n,), the bias.
        lateral_W: (4n, n).
        hs, cs: (T + 1, B, n); row 0 is the initial state, the others are written.
        tanh_cs: (T, B, n), written.
        gate: (T, 4, B, n), written.
    """
    T, B, n = tanh_cs.shape
    lanes = machine().lanes
    b, lateral_W = map(numpy.ascontiguousarray, (b, lateral_W))
    panels = _panels(n)
    columns = buffers.empty(numpy, (2, n, B), 'f')  # h of two steps, transposed
    columns[0] = hs[0].T
    run, _ = _compiled(rows_of_group(B))
    _run(run, T, B, n, z, b, lateral_W, panels, columns, hs, cs, tanh_cs, gate,
         scratch=4 * B * lanes)


def backward(ghs, lateral_W, cs, tanh_cs, gate, gz, gc, gh):
    """Computes the gradients, as `_backward` of `rnnlm.functions.lstm_window`.

    Args:
        ghs: (T, B, n), the gradients of the outputs.
        lateral_W: (4n, n).
        cs, tanh_cs, gate: Results of `forward`.
        gz: (T, B, 4n) interleaved, written.
        gc, gh: (B, n), the gradients of the final state; overwritten with those of the
            initial state.
    """
    T, B, n = tanh_cs.shape
    ghs, lateral_W = map(numpy.ascontiguousarray, (ghs, lateral_W))
    lanes = machine().lanes
    panels = _panels(n)
    columns = buffers.empty(numpy, (2, 4 * n, B), 'f')  # gz of two steps, transposed
    gcs, ghs_out = buffers.empty(numpy, (2, 2, B, n), 'f')
    gcs[T % 2], ghs_out[T % 2] = gc, gh
    _, run = _compiled(rows_of_group(B))
    _run(run, T, B, n, ghs, lateral_W, panels, columns, cs, tanh_cs, gate, gz, gcs,
         ghs_out, scratch=B * lanes)
    gc[...], gh[...] = gcs[0], ghs_out[0]


def fits(T, B, n):
    """Returns whether the kernels support a window of this size."""
    return n >= machine().lanes


def _panels(n):
    """Allocates the panels of packed weights, (blocks of units, 4n, lanes)."""
    lanes = machine().lanes
    return buffers.empty(numpy, (-(-n // lanes), 4 * n, lanes), numpy.float32)


def _run(function, T, B, n, *arrays, scratch):
    """Runs a kernel in all threads, each with its own scratch array."""
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
    """Returns the size of a row group, whose sums fit into registers.

    Groups have about the same size; the last one ends at the last row.  A kernel is
    compiled for each size.

    Args:
        B (int): Number of rows of the batch.
        most (int): Maximum number of rows; None for that of this processor.
    """
    groups = -(-B // (most or machine().rows))
    return -(-B // groups)


def best_threads(most, B, n, lanes):
    """Returns the number of threads that minimises the estimated time of a step.

    A step takes 4 B n vector multiplications for each block of the thread with the most
    blocks, plus a barrier whose cost grows with the number of threads.  So small layers
    use few threads.

    Args:
        most (int): Maximum number of threads.
        B, n (int): Number of rows and of units.
        lanes (int): Number of units in a block.
    """
    blocks = -(-n // lanes)

    def time(count):
        return -(-blocks // count) * 4 * B * n + (BARRIER * count if count > 1 else 0)

    return min(range(1, max(1, min(most, blocks)) + 1), key=time)


@functools.lru_cache(maxsize=None)
def _compiled(count):
    """Returns the forward and the backward kernel for row groups of `count` rows."""
    return machine().functions(
        module(machine(), count), {'forward': FORWARD, 'backward': BACKWARD})


def module(machine, count):
    """Builds the LLVM module of both kernels, for row groups of `count` rows."""
    written = ir.Module('lstm')
    _write_forward(written, machine.lanes, count)
    _write_backward(written, machine.lanes, count)
    return written


def _product(k, count, inner, columns, panel, target, pitch):
    """Builds target[r, lane] = sum over j < inner of columns[j, r] * panel[j, lane].

    This is the inner loop, a matrix product (B, inner) (inner, lanes).  For each j it
    loads one vector of weights, and multiplies it by columns[j, r] for all rows r of
    the row group, whose sums are in registers.

    Args:
        k (Kernel): The kernel.
        count (int): Rows in a row group.
        inner: Length of the sum.
        columns: (inner, B), the transposed factor.
        panel: (inner, lanes), packed weights.
        target: (B, lanes), rows `pitch` apart; written.
        pitch (int): Distance between rows of `target`.
    """
    B = k.arguments['B']
    # An FMA depends on the previous one of its sum.  So a small row group has several
    # partial sums per row, to have enough independent FMAs in flight.
    chains = -(-INDEPENDENT_SUMS // count)
    whole = k.builder.sdiv(inner, k.int(chains))
    groups = k.builder.sdiv(k.add(B, k.int(count - 1)), k.int(count))
    with k.loop(0, groups) as group:
        first = k.minimum_int(k.mul(group.index, k.int(count)), k.sub(B, k.int(count)))

        def add_up(j, sums):
            weights = k.load(k.at(panel, (j, k.lanes)))
            if count >= FEW:
                k.prefetch(k.at(panel, (j, k.lanes), AHEAD))
            row = k.at(columns, (j, B), first)
            return [k.fma(k.load_splat(k.at(row, r)), weights, total)
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
    """Adds vectors pairwise."""
    while len(vectors) > 1:
        vectors = [k.fadd(x, y) for x, y in zip(vectors[::2], vectors[1::2])] + (
            vectors[-1:] if len(vectors) % 2 else [])
    return vectors[0]


def _begin(module, name, arguments, lanes):
    """Starts a kernel.

    Returns:
        tuple: The `Kernel`, its arguments, B, n, 4n, the size B n of a step, and the
        range of the thread's blocks.
    """
    k = Kernel(module, name, arguments, lanes)
    B, n = k.arguments['B'], k.arguments['n']
    return (k, k.arguments, B, n, k.mul(n, k.int(4)), k.mul(n, B),
            *part_of_thread(k, k.blocks(n)))


def _write_forward(module, lanes, count):
    """Builds z = W_u x + b + W_l h, a, i, f, o, c = a i + f c and h = o tanh(c)."""
    k, a, B, n, four_n, step, first, last = _begin(module, 'forward', FORWARD, lanes)

    # Packing.  The 4 * lanes pre-activations of a block are 4 panels (n, lanes), the
    # transposed rows of W_l.
    with k.loop(first, last) as block, k.loop(0, 4 * lanes) as row, \
            k.loop(0, k.blocks(n)) as part:
        j = first_unit(k, part.index)
        q = k.builder.sdiv(row.index, k.int(lanes))
        lane = k.builder.srem(row.index, k.int(lanes))
        weights = k.load(k.at(
            a['weights'], (first_unit(k, block.index), four_n), (row.index, n), j))
        k.store_lanes(weights, k.at(
            a['panels'], (block.index, four_n, lanes), (q, n, lanes), (j, lanes), lane),
            lanes)
    with k.loop(0, a['T']) as time:
        t = time.index
        before = k.builder.and_(t, k.int(1))
        after = k.sub(k.int(1), before)
        columns = k.at(a['columns'], (before, step))
        with k.loop(first, last) as block:
            u = first_unit(k, block.index)
            for q in range(4):
                panel = k.at(a['panels'], (block.index, four_n, lanes), (n, q * lanes))
                _product(k, count, n, columns, panel, k.at(a['scratch'], q * lanes),
                         4 * lanes)
            bias = [k.load(k.at(a['bias'], (u, 4), q * lanes)) for q in range(4)]
            # z is interleaved; `shuffle` makes a vector for each gate.
            with k.loop(0, B) as row:
                r = row.index
                at_row = k.at(a['z'], (t, step, 4), (r, four_n), (u, 4))
                z = [k.fadd(k.fadd(k.load(k.at(at_row, q * lanes)), k.load(
                    k.at(a['scratch'], (r, 4 * lanes), q * lanes))), bias[q])
                    for q in range(4)]
                place = k.add(k.mul(t, step), k.add(k.mul(r, n), u))
                gates, c, tanh_c, h = lstm_cell(k, z, k.load(k.at(a['cs'], place)))
                for g, gate in enumerate(gates):
                    k.store(gate, k.at(
                        a['gate'], (t, step, 4), (step, g), (r, n), u))
                k.store(c, k.at(a['cs'], place, step))
                k.store(tanh_c, k.at(a['tanh_cs'], place))
                k.store(h, k.at(a['hs'], place, step))
                k.store_lanes(h, k.at(a['columns'], (after, step), (u, B), r), B)
        k.barrier(a['counter'], k.mul(a['threads'], k.add(t, k.int(1))))
    k.builder.ret_void()


def _write_backward(module, lanes, count):
    """Builds the gradients gz and gc of each step, from gh = ghs + gz W_l."""
    k, a, B, n, four_n, step, first, last = _begin(module, 'backward', BACKWARD, lanes)
    one = k.constant(1)

    def product(block, now):
        """Builds the columns of this block in gz W_l, gz being the last one computed.
        """
        panel = k.at(a['panels'], (block, four_n, lanes))
        _product(k, count, four_n, k.at(a['columns'], (now, step, 4)), panel,
                 a['scratch'], lanes)

    # Packing.  A panel is `lanes` columns of W_l, (4n, lanes).
    with k.loop(first, last) as block, k.loop(0, four_n) as row:
        k.store(k.load(k.at(a['weights'], (row.index, n), first_unit(k, block.index))),
                k.at(a['panels'], (block.index, four_n, lanes), (row.index, lanes)))
    with k.loop(0, a['T']) as time:
        t = k.sub(k.sub(a['T'], k.int(1)), time.index)
        now = k.builder.and_(t, k.int(1))
        later = k.sub(k.int(1), now)
        is_last = k.builder.icmp_signed('==', time.index, k.int(0))
        with k.loop(first, last) as block:
            u = first_unit(k, block.index)
            # scratch = gz_{t+1} W_l; in the last step, the given gradient of h_T.
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
        k.barrier(
            a['counter'], k.mul(a['threads'], k.add(time.index, k.int(1))))
    with k.loop(first, last) as block:
        u = first_unit(k, block.index)
        product(block.index, k.int(0))
        with k.loop(0, B) as row:
            k.store(k.load(k.at(a['scratch'], (row.index, lanes))),
                    k.at(a['gh'], (row.index, n), u))
    k.builder.ret_void()
