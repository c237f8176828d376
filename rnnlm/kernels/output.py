"""Rows of logits to losses and gradients, compiled for this processor; float32.

What `rnnlm.functions.softmax_loss` does with the logits between two products, a row at
a time while it is in the cache: bias, maximum, exponentials, their sum, the gradient,
and the sum of the gradients of the rows.
"""
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels import buffers, threads
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import Kernel

# y (rows, V), logits without bias; for each row its target and its weight, and, to be
# written, the logarithm of its target's probability in two parts: the logit of the
# target, less that of the likeliest word, and the sum of all exponentials.
LOSSES = (('i', 'first'), ('i', 'last'), ('i', 'V'), ('p', 'y'), ('p', 'bias'),
          ('b', 'targets'), ('p', 'found'), ('p', 'total'))
GRADIENTS = LOSSES + (('p', 'weights'), ('p', 'gb'))

# Logits that are worth a thread.
GRAIN = 2 ** 17


def fits(V):
    """bool: Whether the kernels take rows of V logits."""
    return V >= machine().lanes


def log_probabilities(y, b, targets):
    """float64 (M,): log softmax(y + b) of each row, at its target.

    Args:
        y: float32 (M, V), contiguous.
        b: (V,).
        targets: int64 (M,).
    """
    losses, _ = _compiled()
    M, V = y.shape
    b = numpy.ascontiguousarray(b)
    found, total = numpy.empty((2, M), 'f')
    pointers = [array.ctypes.data for array in (y, b, targets, found, total)]
    threads.split(lambda first, last: losses(first, last, V, *pointers), M,
                  grain=1 + GRAIN // V)
    return _difference(found, total)


def gradients(y, b, targets, weights):
    """Turns logits y (M, V) without bias into the gradients of a loss.

    The loss is the sum of ``-weights * log_probabilities(y, b, targets)``.

    Args:
        y, b, targets: As of `log_probabilities`; y becomes the gradient of the logits.
        weights: float32 (M,).

    Returns:
        tuple: the logarithms, (M,), and the gradient of b, (V,).
    """
    _, kernel = _compiled()
    M, V = y.shape
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
    sums.sort(key=lambda pair: pair[0])  # the same sum whichever thread is first
    total_gb = sums[0][1]
    for _, gb in sums[1:]:
        total_gb += gb
    return _difference(found, total), total_gb


def _difference(found, total):
    # Infinite logits give NaN, as they do elsewhere.
    with numpy.errstate(invalid='ignore', divide='ignore'):
        return found - numpy.log(total, dtype=numpy.float64)


@functools.lru_cache(maxsize=None)
def _compiled():
    return machine().functions(
        module(machine()), {'losses': LOSSES, 'gradients': GRADIENTS})


def module(machine):
    """Both kernels, for a processor."""
    written = ir.Module('output')
    _write(written, 'losses', LOSSES, machine.lanes)
    _write(written, 'gradients', GRADIENTS, machine.lanes)
    return written


def _write(module, name, arguments, lanes):
    k = Kernel(module, name, arguments, lanes)
    a, V = k.arguments, k.arguments['V']
    last, is_rest = k.rest(V)
    zero = k.constant(0)
    with k.loop(a['first'], a['last']) as row:
        r = row.index
        y = k.at(a['y'], (r, V))

        def logits(j):
            return k.fadd(k.load(k.at(y, j)), k.load(k.at(a['bias'], j)))

        with k.vectors(V, logits(last)) as loop:
            loop.again(k.maximum(loop.values[0], logits(loop.index)))
        top = k.spread(k.across(k.maximum, loop.values[0]))

        target = k.builder.load(k.at(a['targets'], r))
        logit = k.builder.fadd(k.builder.load(k.at(y, target)),
                               k.builder.load(k.at(a['bias'], target)))
        k.builder.store(k.builder.fsub(logit, k.first(top)), k.at(a['found'], r))

        def exponentials(j):
            return k.exp(k.fsub(logits(j), top))

        # The last vector overlaps the one before: it is computed first, from logits.
        rest = exponentials(last)
        # Each addition's rounding error goes into the next, as Kahan found.
        with k.vectors(V, k.builder.select(is_rest, rest, zero), zero) as loop:
            e = exponentials(loop.index)
            if name == 'gradients':
                k.store(e, k.at(y, loop.index))
            before, error = loop.values
            part = k.fsub(e, error)
            total = k.fadd(before, part)
            loop.again(total, k.fsub(k.fsub(total, before), part))
        total = k.across(k.fadd, loop.values[0])
        k.builder.store(total, k.at(a['total'], r))
        if name == 'gradients':
            _write_gradient(k, r, y, target, total, rest, last)
    k.builder.ret_void()


def _write_gradient(k, r, y, target, total, rest, last):
    """From the exponentials of a row to the gradient of its logits.

    Args:
        r: The row.
        y: Where its exponentials are.
        target: Its word.
        total: The sum of the exponentials.
        rest, last: The last vector of them, and where it begins.
    """
    a = k.arguments
    weight = k.builder.load(k.at(a['weights'], r))
    scale = k.spread(k.builder.fdiv(weight, total))
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
