"""Mixed float32 and float64 inputs of a function, which Chainer 1.0 and 1.1 allowed."""
import chainer
import numpy
from chainer.utils import type_check


def apply(original):
    """Wraps the call of every function: casts inputs of different types to one type.

    Later releases refuse such inputs, so scripts for those never pass them.
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
    """Casts the inputs to one floating type, the type that NumPy 1 gave their sum.

    Scalars (arrays without axes) do not widen arrays.

    Args:
        inputs (sequence): Variables and arrays.

    Returns:
        list: The inputs; None if they already have one type.
    """
    inputs = [chainer.as_variable(x) for x in inputs]
    floats = [x for x in inputs if x.dtype.kind == 'f']
    strong = [x for x in floats if x.ndim] or floats
    if len({x.dtype for x in floats}) < 2:
        return None
    dtype = numpy.result_type(*(x.dtype for x in strong))
    return [chainer.functions.cast(x, dtype) if x.dtype.kind == 'f' else x
            for x in inputs]
