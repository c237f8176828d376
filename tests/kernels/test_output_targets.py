"""Targets that are not in the vocabulary are refused, not read from other memory."""
import numpy
import pytest

from rnnlm import functions, kernels

V = 40


@pytest.mark.parametrize('enabled', [True, False])
@pytest.mark.parametrize('target', [V, 2 ** 30])
def test_targets(enabled, target, monkeypatch):
    monkeypatch.setattr(kernels, 'enabled', enabled)
    random = numpy.random.RandomState(0)
    h = random.randn(3, 2, 8).astype('f')
    W, b = random.randn(V, 8).astype('f'), random.randn(V).astype('f')
    t = random.randint(0, V, (3, 2)).astype('i')
    t[2, 1] = target
    with pytest.raises(IndexError):
        functions.linear_softmax_cross_entropy(h, W, b, t)
    with pytest.raises(IndexError):
        functions.linear_log_probabilities(h.reshape(6, 8), W, b, t.ravel())
