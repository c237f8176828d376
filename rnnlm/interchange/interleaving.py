"""From gates interleaved per unit, as Chainer stores them, to blocks, and back.

An order of gates is a tuple of the names in `rnnlm.functions.gates.GATES`, as in
('i', 'f', 'a', 'o') for a system that stores the n rows of all input gates first.
The order of each system is `ORDER` in its module, keras.py for example.
"""
import numpy

from rnnlm.functions.gates import GATES


def split(x, order):
    """Interleaved rows as one array a gate.

    Args:
        x: (4n, ...), rows 4j to 4j + 3 belong to unit j.
        order (tuple of str): the gates wanted.

    Returns:
        list of arrays (n, ...): one for each gate of `order`, copies.
    """
    units = x.reshape(-1, len(GATES), *x.shape[1:])
    return [units[:, GATES.index(gate)].copy() for gate in order]


def join(parts, order):
    """The inverse of `split`.

    Args:
        parts: list of arrays (n, ...), one for each gate of `order`.
        order (tuple of str): the gates of the parts.

    Returns:
        array (4n, ...): interleaved.
    """
    units = numpy.stack([parts[order.index(gate)] for gate in GATES], axis=1)
    return units.reshape(-1, *units.shape[2:])


def to_blocks(x, order):
    """(4n, ...) interleaved -> (4n, ...), n rows a gate, in `order`."""
    return numpy.concatenate(split(x, order))


def from_blocks(x, order):
    """(4n, ...), n rows a gate, in `order` -> (4n, ...) interleaved."""
    return join(numpy.split(x, len(order)), order)


def added(b, second):
    """The sum of two biases; of numbers that are none, without a word."""
    with numpy.errstate(all='ignore'):
        return b + second


def second_bias(b):
    """What a second bias must be for the sum of both to be `b`, to the bit.

    That is -0.0: where b is -0.0, adding 0.0 would make it 0.0.
    """
    return numpy.full_like(b, -0.0)
