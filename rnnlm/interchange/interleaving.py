"""Conversion between gates interleaved per unit, as in Chainer, and blocks.

An order of gates is a tuple of the names in `rnnlm.functions.gates.GATES`.  For
example, ('i', 'f', 'a', 'o') is a system that stores the n rows of all input gates
first.  The order of each system is `ORDER` in its module, such as keras.py.
"""
import numpy

from rnnlm.functions.gates import GATES


def split(x, order):
    """Splits interleaved rows into one array for each gate.

    Args:
        x: (4n, ...), rows 4j to 4j + 3 belong to unit j.
        order (tuple of str): The gates to return.

    Returns:
        list of arrays (n, ...): One for each gate of `order`, copies.
    """
    units = x.reshape(-1, len(GATES), *x.shape[1:])
    return [units[:, GATES.index(gate)].copy() for gate in order]


def join(parts, order):
    """Interleaves arrays of gates: the inverse of `split`.

    Args:
        parts: list of arrays (n, ...), one for each gate of `order`.
        order (tuple of str): The gates of the parts.

    Returns:
        array (4n, ...): Interleaved.
    """
    units = numpy.stack([parts[order.index(gate)] for gate in GATES], axis=1)
    return units.reshape(-1, *units.shape[2:])


def to_blocks(x, order):
    """Converts (4n, ...) from interleaved to blocks of n rows per gate, in `order`."""
    return numpy.concatenate(split(x, order))


def from_blocks(x, order):
    """Converts (4n, ...) from blocks of n rows per gate, in `order`, to interleaved."""
    return join(numpy.split(x, len(order)), order)


def added(b, second):
    """Adds two biases, without warnings if they are not finite."""
    with numpy.errstate(all='ignore'):
        return b + second


def second_bias(b):
    """Returns the second bias for which the sum of both is `b`, bit by bit.

    This is -0.0: if b is -0.0, adding 0.0 would make it 0.0.
    """
    return numpy.full_like(b, -0.0)
