"""`LanguageModel` of other links than `RNNForLM` has, and its files."""
import chainer
from chainer import functions as F
from chainer import links as L
from helpers import assert_shapes_refused
import numpy
import pytest

import rnnlm
from rnnlm import structure
from rnnlm.links import HardSigmoidLSTM, OutputBias
from rnnlm.structure import Layer, Structure

V = 7
STRUCTURES = [
    Structure(V, 3, (Layer('LSTM', 5), Layer('LSTM', 4))),
    Structure(V, 4, (Layer('HardSigmoidLSTM', 4),), tied=True),
    Structure(V, 3, (Layer('LSTM', 4), Layer('HardSigmoidLSTM', 3)), tied=True),
    Structure(V, 3, (Layer('HardSigmoidLSTM', 5), Layer('LSTM', 2))),
    Structure(V, 4, (Layer('LSTM', 4),) * 3)]


def built(found, seed=0, dropout=0.5):
    """A model of a structure, whose gates of either kind are shut now and then."""
    numpy.random.seed(seed)
    model = found.build(dropout)
    for param in model.params():
        param.array[...] = numpy.random.uniform(-2, 2, param.shape)
    return model


def window(seed=0, T=6, B=3):
    return numpy.random.RandomState(seed).randint(0, V, (T + 1, B)).astype('i')


def run(model, per_step, windows=3):
    """Losses and gradients over some windows, the states going on."""
    model.per_step = per_step
    numpy.random.seed(5)
    found = []
    for k in range(windows):
        ids = window(k)
        model.cleargrads()
        loss = model.loss(ids[:-1], ids[1:])
        loss.backward()
        found += [loss.array, *(param.grad for _, param in sorted(model.namedparams()))]
        for layer in model.layers:
            layer.c.unchain(), layer.h.unchain()
    return found + [numpy.random.rand(), model.logits(window(9)).array]


@pytest.mark.parametrize('dropout', [0.0, 0.5])
@pytest.mark.parametrize('found', STRUCTURES, ids=str)
def test_a_window_is_its_steps(found, dropout):
    actual, expected = (run(built(found, dropout=dropout), per_step)
                        for per_step in (False, True))
    assert built(found).why_steps() == ''
    for a, b in zip(actual, expected):
        numpy.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize('slope', [0.2, 1 / 6])
def test_hard_gates_are_what_they_are_said_to_be(slope):
    numpy.random.seed(0)
    layer = HardSigmoidLSTM(3, 4, slope)
    for param in layer.params():
        param.array[...] = numpy.random.uniform(-3, 3, param.shape)
    c = h = numpy.zeros((2, 4))
    for x in numpy.random.uniform(-2, 2, (5, 2, 3)).astype('f'):
        y = layer(x)
        z = (x @ layer.upward.W.array.T + layer.upward.b.array
             + h @ layer.lateral.W.array.T)
        a, i, f, o = (z[:, k::4] for k in range(4))
        i, f, o = (numpy.clip(slope * gate + 0.5, 0, 1) for gate in (i, f, o))
        c = numpy.tanh(a) * i + f * c
        h = o * numpy.tanh(c)
        numpy.testing.assert_allclose(y.array, h, rtol=1e-5, atol=1e-6)


def test_no_such_slope():
    with pytest.raises(rnnlm.InputError, match='slope: expected 0.2 or 1/6'):
        HardSigmoidLSTM(3, 4, 0.25)


@pytest.mark.parametrize('found', STRUCTURES, ids=str)
def test_a_file_says_what_the_model_is_made_of(tmp_path, found):
    model = built(found)
    for layer in model.layers:
        if hasattr(layer, 'slope'):
            layer.slope = 1 / 6
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, model)
    loaded = rnnlm.load(path).model
    assert type(loaded) is type(model)
    assert structure.of_model(loaded) == structure.of_model(model) == found
    with chainer.using_config('train', False):
        numpy.testing.assert_array_equal(
            loaded.logits(window()).array, model.logits(window()).array)


def test_trains_resumes_and_evaluates(tmp_path):
    found = STRUCTURES[2]

    def trainer(n_windows):
        model = built(found, dropout=0.3)
        optimizer = chainer.optimizers.SGD(0.1).setup(L.Classifier(model))
        text = numpy.random.RandomState(3).randint(0, V, 200).astype('i')
        updater = rnnlm.BPTTUpdater(
            rnnlm.ParallelSequentialIterator(text, 4), optimizer, 5, -1)
        numpy.random.seed(8)
        return chainer.training.Trainer(
            updater, (n_windows, 'iteration'), out=str(tmp_path))

    whole = trainer(12)
    whole.run()
    half = trainer(6)
    half.run()
    assert half.updater.why_per_step == ''
    chainer.serializers.save_npz(str(tmp_path / 'half'), half)
    rest = trainer(12)
    rnnlm.resume(str(tmp_path / 'half'), rest)
    rest.run()
    targets = [t.updater.get_optimizer('main').target for t in (whole, rest)]
    for a, b in zip(*(target.params() for target in targets)):
        numpy.testing.assert_array_equal(a.array, b.array)


def test_a_chain_of_other_links_goes_step_by_step():
    model = rnnlm.LanguageModel(
        L.EmbedID(V, 3), [L.StatefulGRU(3, 4)], L.Linear(4, V), dropout=0.0)
    assert model.why_steps() == 'StatefulGRU has no window function'
    ids = window()
    together = model.logits(ids).array
    model.reset_state()
    for y, step in zip(together, ids):
        numpy.testing.assert_allclose(y, model(step).array, rtol=1e-5, atol=1e-6)


def test_sizes_that_do_not_fit_are_named():
    model = rnnlm.LanguageModel(
        L.EmbedID(V, 3), [L.LSTM(4, 4)], L.Linear(4, V))
    assert model.why_steps() == 'embed has 3 outputs, and l1 has 4 inputs'
    model = rnnlm.LanguageModel(L.EmbedID(V, 4), [L.LSTM(4, 3)], OutputBias(V))
    assert model.why_steps() == 'l1 has 3 outputs, and l2 has 4 inputs'


@pytest.mark.parametrize('arguments, match', [
    ((L.EmbedID(V, 3), [], L.Linear(4, V)), 'layers: expected at least one link'),
    ((L.EmbedID(V, 3), [L.LSTM(3, 4)], L.Linear(4, V), 1.0), 'dropout'),
    ((F.relu, [L.LSTM(3, 4)], L.Linear(4, V)), 'n_vocab')])
def test_bad_arguments(arguments, match):
    with pytest.raises(rnnlm.InputError, match=match):
        rnnlm.LanguageModel(*arguments)


def test_the_states_of_layers_of_any_size():
    model = built(STRUCTURES[0], dropout=0.0)
    model.logits(window())
    state = model.get_state()
    assert [[a.shape for a in arrays] for arrays in state] == [
        [(3, 5)] * 2, [(3, 4)] * 2]
    after = model.logits(window(1)).array
    model.set_state(state)
    numpy.testing.assert_array_equal(model.logits(window(1)).array, after)
    with pytest.raises(rnnlm.InputError, match='expected for 2 layers'):
        model.set_state(state[:1])


@pytest.mark.parametrize('name, shape, match', [
    ('l1/upward/W', (5, 5), "expected 'l1/upward/W' of shape"),
    ('embed/W', (V,), 'two dimensions'),
    ('l3/b', None, "expected 'l3/W'|found nothing"),
    ('l2/lateral/W', None, 'found')])
def test_shapes_of_no_model_are_refused(name, shape, match):
    assert_shapes_refused(STRUCTURES[0], name, shape, match)
