"""Weights for the tests of layouts, and what it means that they are the same."""
import numpy

from rnnlm.structure import Layer, Structure


def model_shapes(n_vocab, n_embed, n_units, n_layers):
    """{name: shape} of a model of LSTM layers of one size."""
    return Structure(n_vocab, n_embed, (Layer('LSTM', n_units),) * n_layers).shapes()


def draw(shapes, dtype, seed=0, bound=0.7):
    """dict: random arrays of the given shapes by name."""
    random = numpy.random.RandomState(seed)
    return {name: random.uniform(-bound, bound, shape).astype(dtype)
            for name, shape in shapes.items()}


def assert_same_bits(found, expected):
    """The same names, dtypes, shapes and bits."""
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def assert_same(found, expected):
    """To the bit, and without views of something larger."""
    assert_same_bits(found, expected)
    for name in expected:
        assert found[name].flags.c_contiguous
