"""Gates that are saturated, against the equations in float64: they pass no gradient on.

An error of 1e-7 instead of 0, times a weight or a cell of 1e8, is a wrong gradient.
"""
from chainer import functions as F
from helpers import lstm_case, variables
import numpy
import oracle
import pytest

from rnnlm import kernels
from rnnlm.functions import lstm_window

NAMES = 'hs c_T h_T gx gc gh gWu gb gWl'.split()
PLACES = ['x', 'c', 'h', 'upward_W', 'upward_b', 'lateral_W', 'one lateral weight']
TOLERANCE = {'f': 2e-5, 'd': 1e-12}


def case(place, magnitude, dtype):
    inputs, grads = lstm_case(6, 3, 5, 20, dtype)
    for k in 3, 5:
        inputs[k] *= 0.3
    if place in PLACES[:6]:
        inputs[PLACES.index(place)] *= magnitude
    else:
        inputs[5][5, 3] = magnitude
    return inputs, grads


def actual(inputs, grads):
    inputs = variables(numpy, *inputs)
    outputs = lstm_window(*inputs)
    sum(F.sum(y * gy) for y, gy in zip(outputs, grads)).backward()
    return [y.array for y in outputs] + [x.grad for x in inputs]


def errors(inputs, grads):
    """By name: the largest error, relative to the largest element unless all are 0."""
    expected = [*oracle.lstm_layer_forward(*[x.astype('d') for x in inputs]),
                *oracle.lstm_layer_backward(*[x.astype('d') for x in inputs + grads])]
    return {name: abs(a - e).max() / (abs(e).max() or 1) for name, a, e in zip(
        NAMES, actual(inputs, grads), expected)}


@pytest.mark.parametrize('sign', [1, -1])
@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('dtype', ['f', 'd'])
def test_sweep_of_magnitudes(dtype, place, sign, monkeypatch):
    for exponent in [0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 20, 25, 30]:
        inputs, grads = case(place, sign * 10.0 ** exponent, dtype)
        # In between, where many gates are almost saturated and the gradient is a sum of
        # what is left of 1 - s, no arithmetic in this dtype is exact.
        is_clear = exponent <= 1 and place != 'lateral_W' or exponent >= 6
        for is_compiled in True, False:
            monkeypatch.setattr(kernels, 'enabled', is_compiled)
            for name, error in errors(inputs, grads).items():
                assert error < (TOLERANCE[dtype] if is_clear else 2), (exponent, name)


def test_saturated_gates_are_exact():
    """tanh is 1 and sigmoid 0 or 1, not almost, and never beyond."""
    pytest.importorskip('llvmlite')
    from rnnlm.kernels import recurrent
    n = 1600
    near = numpy.float32(7.99) + numpy.arange(20 * n, dtype='f') * numpy.float32(5e-7)
    far = numpy.r_[numpy.linspace(8, 30, n), numpy.geomspace(30, 3e38, n)].astype('f')
    for z_of_all in [*near.reshape(20, n), *far.reshape(2, n)]:
        for sign in 1, -1:
            z = numpy.repeat(sign * z_of_all, 4).reshape(1, 1, 4 * n)
            hs, cs = numpy.zeros((2, 2, 1, n), 'f')
            tanh_cs = numpy.empty((1, 1, n), 'f')
            gate = numpy.empty((1, 4, 1, n), 'f')
            recurrent.forward(z, numpy.zeros(4 * n, 'f'), numpy.zeros((4 * n, n), 'f'),
                              hs, cs, tanh_cs, gate)
            assert abs(gate[0, 0]).max() <= 1
            assert 0 <= gate[0, 1:].min() and gate[0, 1:].max() <= 1
            if abs(z).min() >= 8:
                assert (gate[0, 0] == sign).all()
            if abs(z).min() >= 16:
                assert (gate[0, 1:] == (sign > 0)).all()
