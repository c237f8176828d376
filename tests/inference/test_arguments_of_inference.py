"""Arguments of scoring, generation and dynamic evaluation: checked before any work."""
from chainer import links as L
from helpers import refused
import numpy
import pytest

import rnnlm

V = 20


@pytest.fixture(params=[False, True], ids=['untied', 'tied'])
def model(request):
    numpy.random.seed(0)
    return rnnlm.RNNForLM(V, 32, tied=request.param)


@pytest.mark.parametrize('bad', [V, 1000, 2 ** 31 - 1, -1, -500])
@pytest.mark.parametrize('place', [0, 1, 2])
def test_ids_that_are_not_in_the_vocabulary(model, bad, place):
    """The compiled kernels would read other memory."""
    ids = [1, 2, 3]
    ids[place] = bad
    for call in (lambda: rnnlm.score_text(model, ids),
                 lambda: rnnlm.score_sentences(model, [[1], ids], between=0),
                 lambda: rnnlm.TrainedModel(model).perplexity(ids),
                 lambda: rnnlm.DynamicEvaluation(model).perplexity(ids),
                 lambda: rnnlm.DynamicEvaluation(model, rule='rms').gather(ids),
                 lambda: rnnlm.generate(model, ids, 3),
                 lambda: rnnlm.beam_search(model, ids, 3, 2)):
        with refused('expected token ids from 0 to 19 .n_vocab - 1., found'):
            call()
    for name in 'stop', 'fresh_after':
        for call in (lambda: rnnlm.generate(model, [1], 3, **{name: bad}),
                     lambda: rnnlm.beam_search(model, [1], 3, 2, **{name: bad})):
            with refused(f'{name}: expected an integer'):
                call()
    with refused('between: expected an integer'):
        rnnlm.score_sentences(model, [[1]], between=bad)


@pytest.mark.parametrize('random', [0, 1, 'x'])
def test_no_generator(model, random):
    with refused('random: expected a random generator'):
        rnnlm.generate(model, [1], 3, random=random)


def test_rms_needs_gather(model):
    dynamic = rnnlm.DynamicEvaluation(model, rule='rms')
    with refused('rule: expected a call of gather'):
        dynamic.perplexity([1, 2, 3])
    dynamic.gather([1, 2, 3, 4] * 5)
    assert dynamic.perplexity([1, 2, 3]) > 1


def test_any_iterable_of_sentences():
    vocabulary = rnnlm.Vocabulary(['<eos>', 'a', 'b'])
    trained = rnnlm.TrainedModel(rnnlm.RNNForLM(3, 4), vocabulary)
    expected = trained.score(['a b', 'b'])
    for given in iter(['a b', 'b']), map(str.strip, ['a b ', 'b\n']), ('a b', 'b'):
        found = trained.score(given)
        assert [one.tokens for one in found] == [one.tokens for one in expected]
    for bad in 'a b', [1], 5, [b'a']:
        with refused('sentences: expected a list of str'):
            trained.score(bad)


class Inner(L.LSTM):
    """A layer whose link has the state."""


@pytest.mark.parametrize('make', [
    lambda: L.StatefulGRU(8, 8), lambda: L.StatefulZoneoutLSTM(8, 8),
    lambda: L.StatefulPeepholeLSTM(8, 8), lambda: L.StatefulMGU(8, 8),
    lambda: Inner(8, 8)])
def test_a_beam_keeps_its_states_for_any_layer(make):
    """A beam as wide as all continuations finds the best of them."""
    numpy.random.seed(1)
    model = rnnlm.LanguageModel(L.EmbedID(4, 8), [make()], L.Linear(8, 4), 0.0)
    for param in model.params():
        param.array[...] = numpy.random.uniform(-1.5, 1.5, param.shape)
    ids, log_prob = rnnlm.beam_search(model, [1], length=3, width=64)
    best = max(
        (rnnlm.score_text(model, [1, a, b, c]).sum(), [a, b, c])
        for a in range(4) for b in range(4) for c in range(4))
    assert ids == best[1]
    numpy.testing.assert_allclose(log_prob, best[0], rtol=1e-4)
    assert len(list(rnnlm.generate(model, [1], 5, fresh_after=2))) == 5
