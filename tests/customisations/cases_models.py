"""Customisations: models whose links Chainer does not have, which it calls by steps."""
from chainer import links as L
import numpy

from rnnlm import LanguageModel
from rnnlm.links import (
    AdaptiveSoftmax, HardSigmoidLSTM, LockedDropout, OutputBias, WeightDropLSTM)

from tests.customisations.world import custom


def _model(name, make):
    """Registers a class of models made of ``make(n_vocab, n_units)``'s arguments."""
    class Parts(LanguageModel):
        def __init__(self, n_vocab, n_units):
            super().__init__(*make(n_vocab, n_units))
            for param in self.params():  # as in Chainer's example
                param.array[...] = numpy.random.uniform(-.1, .1, param.shape)

    def apply(w):
        w.Model = Parts
    apply.__name__ = f'model_with_{name}'
    custom('classes')(apply)


def _locked():
    return [LockedDropout(ratio) for ratio in (.3, .2, .5)]


_model('locked_dropout', lambda V, n: (
    L.EmbedID(V, n), [L.LSTM(n, n), L.LSTM(n, n)], L.Linear(n, V), _locked()))
_model('weight_drop', lambda V, n: (
    L.EmbedID(V, n), [WeightDropLSTM(n, n, .4), WeightDropLSTM(n, n, .3)],
    L.Linear(n, V)))
_model('one_weight_drop', lambda V, n: (
    L.EmbedID(V, n), [L.LSTM(n, n), WeightDropLSTM(n, n, .3)], L.Linear(n, V)))
_model('all_masks', lambda V, n: (
    L.EmbedID(V, n), [WeightDropLSTM(n, n), HardSigmoidLSTM(n, n)], OutputBias(V),
    _locked()))
_model('adaptive_softmax', lambda V, n: (
    L.EmbedID(V, n), [L.LSTM(n, n), L.LSTM(n, n)], AdaptiveSoftmax(
        n, V, [3, V // 2], counts=numpy.arange(V) % 7)))
_model('adaptive_softmax_and_masks', lambda V, n: (
    L.EmbedID(V, n), [WeightDropLSTM(n, n), L.LSTM(n, n)], AdaptiveSoftmax(
        n, V, [2], head_bias=False), _locked()))
