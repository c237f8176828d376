"""Customisations: links of rnnlm's own, and functions of Chainer that they call."""
from chainer import functions as F
import numpy

from rnnlm.links import AdaptiveSoftmax, HardSigmoidLSTM
from tests.customisations.cases_layers import replace
from tests.customisations.world import N_UNITS, V, custom


def _adaptive(w):
    counts = numpy.random.RandomState(0).permutation(V)
    replace(w.model, 'l3', AdaptiveSoftmax(N_UNITS, V, [3, 7], counts))


@custom('model')
def l3_adaptive(w):
    _adaptive(w)


@custom('model')
def l1_hard_sigmoid(w):
    replace(w.model, 'l1', HardSigmoidLSTM(N_UNITS, N_UNITS))


def _register(name, change):
    real = getattr(F, name)

    def apply(w):
        _adaptive(w)
        replace(w.model, 'l1', HardSigmoidLSTM(N_UNITS, N_UNITS))
        w.patch(F, name, lambda *args, **kwargs: change(real(*args, **kwargs)))
    apply.__name__ = f'patch_{name}_of_a_part'
    custom('model')(apply)


for name, change in {
        'log_softmax': lambda y: y * .5, 'concat': lambda y: y + 1,
        'permutate': lambda y: y[:, ::-1], 'broadcast_to': lambda y: y * .5,
        'tanh': lambda y: y * .5, 'clip': lambda y: y * .5}.items():
    _register(name, change)
