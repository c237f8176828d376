"""Arrays of float32 and float64 in one function: Chainer 1.0 and 1.1 did not mind."""
import chainer
import numpy
from chainer.utils import type_check


def apply(original):
    """Every function: inputs that differ in their types are brought together.

    A later release refuses them, so that no script for it hands such to a function.
    """
    def apply(self, inputs):
        try:
            return original(self, inputs)
        except type_check.InvalidType:
            same = brought_together(inputs)
            if same is None:
                raise
        return original(self, same)
    return apply


def brought_together(inputs):
    """The inputs with one floating type, that which NumPy 1 gave their sum.

    An array without axes counts for less than one with axes.

    Args:
        inputs (sequence): Variables and arrays.

    Returns:
        list: None if they have one type already.
    """
    inputs = [chainer.as_variable(x) for x in inputs]
    floats = [x for x in inputs if x.dtype.kind == 'f']
    strong = [x for x in floats if x.ndim] or floats
    if len({x.dtype for x in floats}) < 2:
        return None
    dtype = numpy.result_type(*(x.dtype for x in strong))
    return [chainer.functions.cast(x, dtype) if x.dtype.kind == 'f' else x
            for x in inputs]
