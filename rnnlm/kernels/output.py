"""Softmax and cross entropy of rows of logits, compiled for the CPU; float32.

These kernels replace the passes of NumPy between the two matrix products of
`rnnlm.functions.softmax_loss`.  For a row z (V,) with target y and weight w:

    z += b,  m = max(z),  e = exp(z - m),  s = sum(e)     log-sum-exp: m + log(s)
    log p = z_y - m - log(s)                              log probability of the target
    g = w (e / s - one-hot(y)),  gb += g                  gradients of z and b

All passes over a row follow each other, so that the row (40 KB for V = 10,000) stays
in the L2 cache; NumPy would read it from memory in each pass.  Each thread has its own
rows and its own sum gb; these are added in a fixed order.  The sum of exponentials is
compensated (Kahan 1965), because float32 sums of many small terms lose digits.
"""
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels import buffers, threads
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import Kernel

# Arguments of the kernels: rows `first` to `last` of y (M, V), the logits without bias;
# targets and weights (M,); found and total (M,), written: z_y - m and s.
LOSSES = (('i', 'first'), ('i', 'last'), ('i', 'V'), ('p', 'y'), ('p', 'bias'),
          ('b', 'targets'), ('p', 'found'), ('p', 'total'))
GRADIENTS = LOSSES + (('p', 'weights'), ('p', 'gb'))

# Minimum number of logits for a thread.
GRAIN = 2 ** 17


def fits(V):
    """Returns whether the kernels support rows of V logits."""
    return V >= machine().lanes


def log_probabilities(y, b, targets):
    """Computes log softmax(y + b) of each row at its target.

    Args:
        y: float32 (M, V), contiguous: the logits without bias.
        b: (V,), the bias.
        targets: int64 (M,).

    Returns:
        array: float64 (M,).

    Raises:
        IndexError: If a target is not in [0, V).
    """
    losses, _ = _compiled()
    M, V = y.shape
    _require_targets(targets, V)
    b = numpy.ascontiguousarray(b)
    found, total = numpy.empty((2, M), 'f')
    pointers = [array.ctypes.data for array in (y, b, targets, found, total)]
    threads.split(lambda first, last: losses(first, last, V, *pointers), M,
                  grain=1 + GRAIN // V)
    return _difference(found, total)


def gradients(y, b, targets, weights):
    """Computes log probabilities, and replaces the logits by their gradients.

    The loss is the sum of ``-weights * log_probabilities(y, b, targets)``.

    Args:
        y, b, targets: As for `log_probabilities`; y is overwritten with the gradient of
            the logits.
        weights: float32 (M,).

    Returns:
        tuple: The log probabilities, float64 (M,), and the gradient of b, (V,).

    Raises:
        IndexError: If a target is not in [0, V).
    """
    _, kernel = _compiled()
    M, V = y.shape
    _require_targets(targets, V)
    b = numpy.ascontiguousarray(b)
    found, total = numpy.empty((2, M), 'f')
    pointers = [array.ctypes.data for array in (y, b, targets, found, total, weights)]
    sums = []

    def work(first, last):
        gb = buffers.empty(numpy, (V,), 'f')
        gb[...] = 0
        kernel(first, last, V, *pointers, gb.ctypes.data)
        sums.append((first, gb))

    threads.split(work, M, grain=1 + GRAIN // V)
    sums.sort(key=lambda pair: pair[0])  # a fixed order, so rounding is reproducible
    total_gb = sums[0][1]
    for _, gb in sums[1:]:
        total_gb += gb
    return _difference(found, total), total_gb


def _require_targets(targets, V):
    """Raises IndexError, as NumPy does, instead of accessing other memory."""
    if len(targets) and not 0 <= targets.min() <= targets.max() < V:
        raise IndexError(f'targets: expected 0 to {V - 1}, found {targets.min()} to '
                         f'{targets.max()}')


def _difference(found, total):
    """Returns log p = (z_y - m) - log(s)."""
    # Infinite logits give NaN without a warning, as in the other implementations.
    with numpy.errstate(invalid='ignore', divide='ignore'):
        return found - numpy.log(total, dtype=numpy.float64)


@functools.lru_cache(maxsize=None)
def _compiled():
    return machine().functions(
        module(machine()), {'losses': LOSSES, 'gradients': GRADIENTS})


def module(machine):
    """Builds the LLVM module of both kernels."""
    written = ir.Module('output')
    _write(written, 'losses', LOSSES, machine.lanes)
    _write(written, 'gradients', GRADIENTS, machine.lanes)
    return written


def _write(module, name, arguments, lanes):
    """Builds a kernel: maximum, exponentials and their sum, and the gradient."""
    k = Kernel(module, name, arguments, lanes)
    a, V = k.arguments, k.arguments['V']
    last, is_rest = k.last_vector(V)
    zero = k.constant(0)
    with k.loop(a['first'], a['last']) as row:
        r = row.index
        y = k.at(a['y'], (r, V))

        def logits(j):
            return k.fadd(k.load(k.at(y, j)), k.load(k.at(a['bias'], j)))

        with k.vectors(V, logits(last)) as loop:
            loop.again(k.maximum(loop.values[0], logits(loop.index)))
        top = k.splat(k.reduce(k.maximum, loop.values[0]))

        target = k.builder.load(k.at(a['targets'], r))
        logit = k.builder.fadd(k.builder.load(k.at(y, target)),
                               k.builder.load(k.at(a['bias'], target)))
        k.builder.store(k.builder.fsub(logit, k.first(top)), k.at(a['found'], r))

        def exponentials(j):
            return k.exp(k.fsub(logits(j), top))

        # The last vector overlaps the previous one, which overwrites logits by their
        # exponentials.  So it is computed first.
        rest = exponentials(last)
        # Kahan summation: `error` is the rounding error of the last addition.
        with k.vectors(V, k.builder.select(is_rest, rest, zero), zero) as loop:
            e = exponentials(loop.index)
            if name == 'gradients':
                k.store(e, k.at(y, loop.index))
            before, error = loop.values
            part = k.fsub(e, error)
            total = k.fadd(before, part)
            loop.again(total, k.fsub(k.fsub(total, before), part))
        total = k.reduce(k.fadd, loop.values[0])
        k.builder.store(total, k.at(a['total'], r))
        if name == 'gradients':
            _write_gradient(k, r, y, target, total, rest, last)
    k.builder.ret_void()


def _write_gradient(k, r, y, target, total, rest, last):
    """Builds g = w (e / s - one-hot(target)) and gb += g for a row.

    Args:
        k (Kernel): The kernel.
        r: Index of the row.
        y: Address of its exponentials e, which g overwrites.
        target: Index of its target.
        total: s, the sum of the exponentials.
        rest, last: The last vector of e, and the index of its first element.
    """
    a = k.arguments
    weight = k.builder.load(k.at(a['weights'], r))
    scale = k.splat(k.builder.fdiv(weight, total))
    rest = k.fmul(rest, scale)
    rest_gb = k.fadd(k.load(k.at(a['gb'], last)), rest)
    with k.vectors(a['V']) as loop:
        j = loop.index
        g = k.fmul(k.load(k.at(y, j)), scale)
        k.store(g, k.at(y, j))
        k.store(k.fadd(k.load(k.at(a['gb'], j)), g), k.at(a['gb'], j))
    k.store(rest, k.at(y, last))
    k.store(rest_gb, k.at(a['gb'], last))
    for place in k.at(y, target), k.at(a['gb'], target):
        k.builder.store(k.builder.fsub(k.builder.load(place), weight), place)
