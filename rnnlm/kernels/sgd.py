"""Norm of the gradient, and SGD with clipping, compiled for the CPU; float32.

For parameters p, gradients g, a maximum norm c and a learning rate lr:

    squares          |g|^2                            one pass over g
    step             p -= lr g                        one pass over g and p
    clipping_step    g *= c / |g|,  p -= lr g         the same

These passes are bound by memory bandwidth, so each reads and writes every array once.
Squares are summed in float64: a float32 sum over millions of elements would be 1e-4 too
small.  Arguments select rows, for embeddings of which a window uses few rows.
"""
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import DOUBLE, Kernel

# Arguments of the kernels: `rows` rows of n elements, whose indices are `ids`.
SQUARES = (('i', 'rows'), ('b', 'ids'), ('i', 'n'), ('p', 'g'), ('d', 'sum'))
STEP = (('i', 'rows'), ('b', 'ids'), ('i', 'n'), ('p', 'g'), ('p', 'p'),
        ('f', 'rate'), ('f', 'lr'))


def fits(n):
    """Returns whether the kernels support rows of n elements."""
    return n >= machine().lanes


def sum_of_squares(ids, n, g):
    """Computes the sum of squares (float) of some rows of g, in float64.

    Args:
        ids: int64 (K,), the rows.
        n (int): Number of elements in a row.
        g (int): Address of the float32 elements.
    """
    squares, _, _ = _compiled()
    found = numpy.zeros(1)
    squares(len(ids), ids.ctypes.data, n, g, found.ctypes.data)
    return float(found[0])


def step(ids, n, g, p, rate, lr):
    """Clips some rows of g, and subtracts lr g from those of p, in place.

    Args:
        ids, n, g: As for `sum_of_squares`.
        p (int): Address of the parameters.
        rate (float): Clipping factor of g; None for no clipping.
        lr (float): The learning rate.
    """
    _, kernel, clipping = _compiled()
    kernel = kernel if rate is None else clipping
    kernel(len(ids), ids.ctypes.data, n, g, p, 1.0 if rate is None else rate, lr)


@functools.lru_cache(maxsize=None)
def _compiled():
    return machine().functions(module(machine()), {
        'squares': SQUARES, 'step': STEP, 'clipping_step': STEP})


def module(machine):
    """Builds the LLVM module of the kernels."""
    written = ir.Module('sgd')
    _write_squares(written, machine.lanes)
    _write_step(written, 'step', machine.lanes)
    _write_step(written, 'clipping_step', machine.lanes)
    return written


def _write_squares(module, lanes):
    """Builds the kernel for |g|^2."""
    k = Kernel(module, 'squares', SQUARES, lanes)
    a, n, b = k.arguments, k.arguments['n'], k.builder
    wide = ir.VectorType(DOUBLE, lanes)
    fma = k.intrinsic('fma', 3, wide)
    last, is_rest = k.last_vector(n)
    with k.loop(0, a['rows'], ir.Constant(wide, [0.0] * lanes)) as row:
        g = k.at(a['g'], (b.load(k.at(a['ids'], row.index)), n))

        def add(part, total):
            part = b.fpext(part, wide)
            return b.call(fma, [part, part, total])

        rest = b.select(is_rest, k.load(k.at(g, last)), k.constant(0))
        with k.vectors(n, add(rest, row.values[0])) as loop:
            loop.again(add(k.load(k.at(g, loop.index)), loop.values[0]))
        row.again(loop.values[0])
    b.store(k.reduce(k.fadd, row.values[0]), a['sum'])
    b.ret_void()


def _write_step(module, name, lanes):
    """Builds the kernel for p -= lr g, with or without clipping."""
    k = Kernel(module, name, STEP, lanes)
    a, n = k.arguments, k.arguments['n']
    last, _ = k.last_vector(n)
    rate, lr = k.splat(a['rate']), k.splat(a['lr'])
    with k.loop(0, a['rows']) as row:
        start = (k.builder.load(k.at(a['ids'], row.index)), n)

        def stepped(j):
            """Returns (address, new value) for the vectors of g and p at j."""
            at_g, at_p = k.at(a['g'], start, j), k.at(a['p'], start, j)
            g = k.load(at_g)
            clipped = []
            if name == 'clipping_step':
                g = k.fmul(g, rate)
                clipped = [(at_g, g)]
            return clipped + [(at_p, k.fsub(k.load(at_p), k.fmul(g, lr)))]

        # The last vector overlaps the previous one, which is updated in place.  So it
        # is computed first.
        rest = stepped(last)
        with k.vectors(n) as loop:
            for place, value in stepped(loop.index):
                k.store(value, place)
        for place, value in rest:
            k.store(value, place)
    k.builder.ret_void()
