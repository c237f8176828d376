"""The norm of a gradient and the step of SGD, compiled for this processor; float32."""
import functools

import numpy
from llvmlite import ir

from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import DOUBLE, Kernel

# Of some rows of n elements, by their numbers.
SQUARES = (('i', 'rows'), ('b', 'ids'), ('i', 'n'), ('p', 'g'), ('d', 'sum'))
STEP = (('i', 'rows'), ('b', 'ids'), ('i', 'n'), ('p', 'g'), ('p', 'p'),
        ('f', 'rate'), ('f', 'lr'))


def fits(n):
    """bool: Whether the kernels take rows of n elements."""
    return n >= machine().lanes


def sum_of_squares(ids, n, g):
    """float: Of the rows `ids` of g, each of n elements, summed in float64.

    Args:
        ids: int64 (K,).
        n (int): Elements of a row.
        g (int): Address of float32 elements.
    """
    squares, _, _ = _compiled()
    found = numpy.zeros(1)
    squares(len(ids), ids.ctypes.data, n, g, found.ctypes.data)
    return float(found[0])


def step(ids, n, g, p, rate, lr):
    """Clips rows of g and subtracts lr g from those of p, in place.

    Args:
        ids, n, g: As of `sum_of_squares`.
        p (int): Address of the parameters.
        rate (float): What g is multiplied by; None leaves it as it is.
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
    """The kernels, for a processor."""
    written = ir.Module('sgd')
    _write_squares(written, machine.lanes)
    _write_step(written, 'step', machine.lanes)
    _write_step(written, 'clipping_step', machine.lanes)
    return written


def _write_squares(module, lanes):
    k = Kernel(module, 'squares', SQUARES, lanes)
    a, n, b = k.arguments, k.arguments['n'], k.builder
    wide = ir.VectorType(DOUBLE, lanes)
    fma = k.intrinsic('fma', 3, wide)
    last, is_rest = k.rest(n)
    with k.loop(0, a['rows'], ir.Constant(wide, [0.0] * lanes)) as row:
        g = k.at(a['g'], (b.load(k.at(a['ids'], row.index)), n))

        def add(part, total):
            part = b.fpext(part, wide)
            return b.call(fma, [part, part, total])

        rest = b.select(is_rest, k.load(k.at(g, last)), k.constant(0))
        with k.vectors(n, add(rest, row.values[0])) as loop:
            loop.again(add(k.load(k.at(g, loop.index)), loop.values[0]))
        row.again(loop.values[0])
    b.store(k.across(k.fadd, row.values[0]), a['sum'])
    b.ret_void()


def _write_step(module, name, lanes):
    k = Kernel(module, name, STEP, lanes)
    a, n = k.arguments, k.arguments['n']
    last, _ = k.rest(n)
    rate, lr = k.spread(a['rate']), k.spread(a['lr'])
    with k.loop(0, a['rows']) as row:
        start = (k.builder.load(k.at(a['ids'], row.index)), n)

        def stepped(j):
            """(place, value) of what becomes of the elements from j on."""
            at_g, at_p = k.at(a['g'], start, j), k.at(a['p'], start, j)
            g = k.load(at_g)
            clipped = []
            if name == 'clipping_step':
                g = k.fmul(g, rate)
                clipped = [(at_g, g)]
            return clipped + [(at_p, k.fsub(k.load(at_p), k.fmul(g, lr)))]

        # The last vector overlaps the one before: it is computed first.
        rest = stepped(last)
        with k.vectors(n) as loop:
            for place, value in stepped(loop.index):
                k.store(value, place)
        for place, value in rest:
            k.store(value, place)
    k.builder.ret_void()
