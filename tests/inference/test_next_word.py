"""The compiled step of generation: the same as the model's own, or not used."""
import chainer
from chainer import links as L
import numpy
import pytest

import rnnlm
from rnnlm import kernels
from rnnlm.inference.next_word import logits_of_next_word
from rnnlm.links import HardSigmoidLSTM, LockedDropout, OutputBias

pytest.importorskip('llvmlite')
V = 40


def plain(**kwargs):
    return rnnlm.RNNForLM(V, 24, init_scale=0.5, **kwargs)


def of_sizes(output=None, embed=24, layers=(24, 50, 24), **kwargs):
    return rnnlm.LanguageModel(
        L.EmbedID(V, embed), [L.LSTM(m, n) for m, n in zip(layers, layers[1:])],
        output or L.Linear(layers[-1], V), **kwargs)


MODELS = {
    'plain': plain, 'three layers': lambda: plain(n_layers=3), 'sizes': of_sizes,
    'tied': lambda: of_sizes(OutputBias(V)),
    'masks': lambda: of_sizes(dropout=[LockedDropout(0.5) for _ in range(3)])}


@pytest.mark.parametrize('name', MODELS)
def test_same_as_the_model(name):
    """Logits and states, word after word, from no state on."""
    numpy.random.seed(0)
    model = MODELS[name]()
    model.output.b.array[...] = numpy.random.randn(V)
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        for word in 3, 0, V - 1, 7:
            before = model.get_state()
            expected, after = model(numpy.array([word], 'i')).array, model.get_state()
            model.set_state(before)
            found = logits_of_next_word(model, word)
            assert found is not None and found.dtype == expected.dtype
            numpy.testing.assert_allclose(found, expected[0], rtol=0, atol=2e-6)
            numpy.testing.assert_allclose(
                numpy.concatenate([a.ravel() for s in model.get_state() for a in s]),
                numpy.concatenate([a.ravel() for s in after for a in s]),
                rtol=0, atol=1e-6)


def test_the_same_words_are_generated():
    numpy.random.seed(0)
    model, found = plain(), []
    for enabled in True, False:
        kernels.enabled, before = enabled, kernels.enabled
        try:
            found.append(list(rnnlm.generate(
                model, [1, 2], 50, random=numpy.random.RandomState(1))))
        finally:
            kernels.enabled = before
    assert found[0] == found[1]


class Own(rnnlm.RNNForLM):
    def features(self, x):
        return super().features(x)


class OwnLSTM(L.LSTM):
    def forward(self, x):
        return super().forward(x)


class OwnEmbedding(chainer.Chain):
    def __init__(self, n_vocab, n):
        super().__init__()
        with self.init_scope():
            self.inner = L.EmbedID(n_vocab, n)

    def forward(self, x):
        return self.inner(x)


def stepwise():
    model = plain()
    model.per_step = True
    return model


def hooked():
    model = plain()
    model.l1.add_hook(chainer.LinkHook(), 'own')
    return model


def double():
    with chainer.using_config('dtype', numpy.float64):
        return plain()


def transposed():
    model = plain()
    model.l3.W.array = numpy.asfortranarray(model.l3.W.array)
    return model


UNSUPPORTED = {
    'per_step': stepwise, 'a hook': hooked, 'float64': double,
    'the order in memory': transposed,
    'few units': lambda: rnnlm.RNNForLM(V, 3),
    'a subclass': lambda: Own(V, 24),
    'a layer of its own': lambda: rnnlm.LanguageModel(
        L.EmbedID(V, 24), [OwnLSTM(24, 24)], L.Linear(24, V)),
    'hard gates': lambda: rnnlm.LanguageModel(
        L.EmbedID(V, 24), [HardSigmoidLSTM(24, 24)], L.Linear(24, V)),
    'an embedding of its own': lambda: rnnlm.LanguageModel(
        OwnEmbedding(V, 24), [L.LSTM(24, 24)], L.Linear(24, V), n_vocab=V),
    'adaptive softmax': lambda: rnnlm.adaptive_model(V, 24, cutoffs=(10, 20)),
}


@pytest.mark.parametrize('name', UNSUPPORTED)
def test_not_used_for_other_models(name):
    model = UNSUPPORTED[name]()
    model.reset_state()
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        assert logits_of_next_word(model, 3) is None
    assert model.get_state() is None
    assert len(list(rnnlm.generate(model, [1], 3))) == 3


@pytest.mark.parametrize('word', [-1, V])
def test_not_used_for_ids_that_the_model_counts_or_refuses(word):
    model = plain()
    assert logits_of_next_word(model, word) is None


def test_not_used_without_kernels_or_with_other_streams(monkeypatch):
    model = plain()
    model(numpy.array([1, 2], 'i'))
    assert logits_of_next_word(model, 3) is None
    model.reset_state()
    monkeypatch.setattr(kernels, 'enabled', False)
    assert logits_of_next_word(model, 3) is None
