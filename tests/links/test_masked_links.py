"""Dropout with one mask a window, locked or of weights: by window and by step."""
import copy
import doctest
import importlib

import chainer
from chainer import functions as F
from chainer import links as L
from helpers import ROOT  # noqa: F401  (the package of this checkout)
import numpy
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import rnnlm
from rnnlm.links import (
    HardSigmoidLSTM, LockedDropout, OutputBias, WeightDropLSTM)

V, B = 9, 3
SIZES = 4, 7, 5


def make(kinds=(WeightDropLSTM, L.LSTM), locked=(.4, .3, .5), tied=False, dtype='d',
         seed=0):
    """A model whose layers are of different sizes."""
    numpy.random.seed(seed)
    sizes = SIZES[:-1] + (SIZES[0],) if tied else SIZES
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        layers = [kind(m, n) for kind, m, n in zip(kinds, sizes, sizes[1:])]
        model = rnnlm.LanguageModel(
            L.EmbedID(V, sizes[0]), layers,
            OutputBias(V) if tied else L.Linear(sizes[-1], V),
            [LockedDropout(ratio) for ratio in locked] if locked else 0.5)
    for param in model.params():
        param.array[...] = numpy.random.uniform(-1, 1, param.shape)
    return model


def window(seed=0, T=6, streams=B):
    return numpy.random.RandomState(seed).randint(0, V, (T + 1, streams)).astype('i')


def by_window(model, ids):
    return model.loss(ids[:-1], ids[1:])


def by_user(model, ids):
    """As a loop of one's own calls the model, a step at a time."""
    return sum(F.softmax_cross_entropy(model(x), t) for x, t in zip(ids, ids[1:]))


def run(model, loss_of, windows=3, cut=True):
    """Losses and gradients of some windows, the states going on; a number after it."""
    numpy.random.seed(5)
    found = []
    for k in range(windows):
        ids = model.xp.asarray(window(k))
        model.cleargrads()
        loss = loss_of(model, ids)
        loss.backward()
        if cut:
            loss.unchain_backward()
        found += [loss.array, *(param.grad for _, param in sorted(model.namedparams()))]
    return [chainer.backends.cuda.to_cpu(array) for array in found] + [
        numpy.random.rand()]


def assert_same(*runs, **tolerance):
    for some in zip(*runs):
        for other in some[1:]:
            assert_allclose(other, some[0], **(tolerance or {
                'rtol': 1e-9, 'atol': 1e-12}))


KINDS = [(WeightDropLSTM, WeightDropLSTM), (L.LSTM, L.LSTM),
         (HardSigmoidLSTM, WeightDropLSTM), (WeightDropLSTM, L.LSTM)]


@pytest.mark.parametrize('tied', [False, True])
@pytest.mark.parametrize('locked', [(.4, .3, .5), (0, .3, 0), None])
@pytest.mark.parametrize('kinds', KINDS)
def test_a_window_is_its_steps(kinds, locked, tied):
    assert make(kinds, locked, tied).why_steps() == ''
    loops = [by_window] * 2 + [by_user] * (locked is not None)
    runs = []
    for loop, per_step in zip(loops, (False, True, False)):
        model = make(kinds, locked, tied)
        model.per_step = per_step
        runs.append(run(model, loop))
    assert_same(*runs)


def test_the_same_where_nothing_is_cut():
    """Each call of a window has masks of its own, though the graph goes on."""
    fused, steps = make(), make()
    steps.per_step = True
    assert_same(run(fused, by_window, cut=False), run(steps, by_window, cut=False))


def test_a_step_after_a_window_begins_another():
    runs = []
    for per_step in False, True:
        model = make()
        model.per_step = per_step
        numpy.random.seed(3)
        runs.append([model.logits(window()).array, model(window(1)[0]).array,
                     model(window(1)[1]).array, model.logits(window(2)).array])
    assert_same(*runs)


def test_a_window_of_one_stream():
    models = [make(), make()]
    models[1].per_step = True
    ids = window(streams=1)[:-1]
    logits = []
    for model in models:
        numpy.random.seed(3)
        logits.append(model.logits(ids).array)
    assert_allclose(*logits, rtol=1e-9)


@pytest.mark.parametrize('dtype', ['f', 'd'])
def test_on_any_device(device, dtype):
    """On a GPU the masks are others, and the same in windows and steps."""
    runs = []
    for loop, per_step in (by_window, False), (by_window, True), (by_user, False):
        model = make((WeightDropLSTM, WeightDropLSTM), dtype=dtype)
        model.to_device(device)
        model.per_step = per_step
        runs.append(run(model, loop))
    assert_same(*runs, **({'rtol': 2e-3, 'atol': 2e-4} if dtype == 'f' else {}))


@pytest.mark.parametrize('per_step', [False, True])
def test_each_mask_is_drawn_once_a_window(per_step):
    """First those of the weights, then those of the features as they are used."""
    model = make((WeightDropLSTM, WeightDropLSTM))
    model.per_step = per_step
    numpy.random.seed(2)
    by_window(model, window())
    after = numpy.random.rand()
    numpy.random.seed(2)
    for layer, ratio in zip(model.layers, (.5, .5)):
        mask = numpy.random.rand(*layer.lateral.W.shape) >= ratio
        assert_array_equal(layer.lateral.mask, mask / ratio)
    for drop, n in zip(model.dropouts, SIZES):
        mask = numpy.random.rand(B, n) >= drop.ratio
        assert_array_equal(drop.mask, mask / (1 - drop.ratio))
    assert numpy.random.rand() == after


def test_moving_a_model_forgets_its_masks(device):
    model = make()
    model(window()[0])
    model.to_device(device)
    assert {link.mask is None for link in model.dropouts} == {True}
    model(device.send(window()[1]))


def test_one_mask_for_all_steps():
    drop = LockedDropout(0.25)
    steps = [drop(numpy.ones((40, 50), 'f')).array for _ in range(3)]
    assert_array_equal(steps[0], steps[2])
    assert set(numpy.unique(steps[0])) == {0, numpy.float32(1 / .75)}
    assert abs((steps[0] == 0).mean() - .25) < .05
    assert len(numpy.unique(steps[0], axis=0)) == 40  # one for each stream
    assert_array_equal(drop(numpy.ones((7, 50), 'f')).array, steps[0][:7])
    drop.begin_window()
    assert (drop(numpy.ones((40, 50), 'f')).array != steps[0]).any()


def test_weights_are_dropped_and_scaled():
    layer = WeightDropLSTM(3, 20, 0.5)
    W = layer.lateral.W.array
    dropped = layer.lateral.dropped().array
    assert abs((dropped == 0).mean() - .5) < .1
    assert_allclose(dropped[dropped != 0], 2 * W[dropped != 0])
    with chainer.using_config('train', False):
        assert layer.lateral.dropped() is layer.lateral.W


def test_a_layer_alone_knows_where_a_window_begins():
    layer = WeightDropLSTM(3, 4)
    masks = []

    def step():
        h = layer(numpy.ones((2, 3), 'f'))
        masks.append(layer.lateral.mask)
        return F.sum(h)

    loss = step() + step() + step()
    loss.unchain_backward()
    with chainer.no_backprop_mode():
        step(), step()
        layer.reset_state()
        step()
    same = [a is b for a, b in zip(masks, masks[1:])]
    assert same == [True, True, False, True, False]


def test_a_step_without_a_graph_goes_on_with_its_mask():
    model = make()
    with chainer.no_backprop_mode():
        masks = []
        for k in range(3):
            model(window()[k])
            masks.append([link.mask for link in model.dropouts])
        model.reset_state()
        model(window()[3])
    assert all(a is b for a, b in zip(masks[0], masks[2]))
    assert model.dropouts[0].mask is not masks[0][0]


def test_evaluation_neither_drops_nor_draws_nor_disturbs():
    model, plain = make(), make((L.LSTM, L.LSTM), None)
    loss = sum(F.sum(model(ids)) for ids in window()[:2])
    state, kept = model.get_state(), [link.mask for link in model.dropouts]
    states = [(layer.c, layer.h) for layer in model.layers]
    stream = numpy.random.get_state()[1].tolist(), numpy.random.get_state()[2]
    with chainer.using_config('train', False):
        y = model.logits(window(4)).array
        model.set_state(state)
        assert_allclose(model.logits(window(4)).array, y)
        for a, b in zip(plain.params(), model.params()):
            a.array[...] = b.array
        plain.set_state(state)
        assert_allclose(plain.logits(window(4)).array, y)
    assert stream == (
        numpy.random.get_state()[1].tolist(), numpy.random.get_state()[2])
    for layer, (c, h) in zip(model.layers, states):
        layer.c, layer.h = c, h
    loss += F.sum(model(window()[2]))
    assert all(a is b.mask for a, b in zip(kept, model.dropouts))


def test_a_copy_has_masks_of_its_own():
    model = make()
    model(window()[0])
    for other in model.copy(), copy.deepcopy(model):
        before = model.dropouts[0].mask
        other.reset_state()
        other(window()[0])
        assert model.dropouts[0].mask is before is not other.dropouts[0].mask


def test_a_file_has_the_weights_alone(tmp_path):
    model = make((WeightDropLSTM, WeightDropLSTM), tied=True)
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, model)
    loaded = rnnlm.load(path).model
    assert [type(layer) for layer in loaded.layers] == [L.LSTM, L.LSTM]
    assert loaded.dropouts == []
    with chainer.using_config('train', False):
        assert_allclose(loaded.logits(window()).array, model.logits(window()).array,
                        rtol=1e-4, atol=1e-6)
    rnnlm.load_model(path, make((WeightDropLSTM, WeightDropLSTM), tied=True))


def trainer_of(out, n_windows, per_step=False):
    optimizer = chainer.optimizers.SGD(0.2).setup(
        L.Classifier(make((WeightDropLSTM, WeightDropLSTM), dtype='f')))
    text = numpy.random.RandomState(3).randint(0, V, 200).astype('i')
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text, 4), optimizer, 5, -1, per_step=per_step)
    numpy.random.seed(8)
    return chainer.training.Trainer(updater, (n_windows, 'iteration'), out=str(out))


def weights(trainer):
    target = trainer.updater.get_optimizer('main').target
    return [param.array for param in target.params()]


@pytest.mark.parametrize('per_step', [False, True])
def test_resuming_is_exact(tmp_path, per_step):
    whole, half, rest = (trainer_of(tmp_path, n, per_step) for n in (12, 6, 12))
    for trainer in whole, half:
        numpy.random.seed(8)
        trainer.run()
    assert half.updater.why_per_step == ('per_step is set' if per_step else '')
    rnnlm.save_npz(str(tmp_path / 'half'), half)
    numpy.random.rand(77)
    rnnlm.resume(str(tmp_path / 'half'), rest)
    rest.run()
    for a, b in zip(weights(whole), weights(rest)):
        assert_array_equal(a, b)


def test_training_by_windows_and_by_steps_is_the_same(tmp_path):
    runs = [trainer_of(tmp_path, 8, per_step) for per_step in (False, True)]
    for trainer in runs:
        numpy.random.seed(8)
        trainer.run()
    for a, b in zip(*map(weights, runs)):
        assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_an_update_begins_a_window_after_steps_of_the_user(tmp_path):
    """Whether the model was called in training before, by windows and by steps."""
    runs = []
    for per_step in False, True:
        trainer = trainer_of(tmp_path, 6, per_step)
        model = trainer.updater.get_optimizer('main').target.predictor
        trainer.extend(lambda _, model=model: model(numpy.zeros(4, 'i')),
                       name='call', trigger=(2, 'iteration'))
        numpy.random.seed(8)
        trainer.run()
        runs.append([*weights(trainer), numpy.random.rand(3)])
    for a, b in zip(*runs):
        assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('per_step', [False, True])
def test_a_layer_called_after_a_window_begins_another(per_step):
    model = make()
    model.per_step = per_step
    by_window(model, window()).unchain_backward()
    mask = model.l1.lateral.mask
    model.l1(numpy.ones((B, SIZES[0])))
    assert model.l1.lateral.mask is not mask


@pytest.mark.parametrize('kinds', [
    (lambda m, n: chainer.Sequential(L.LSTM(m, n)), L.LSTM),
    (lambda m, n: chainer.Sequential(L.StatefulGRU(m, n)), WeightDropLSTM),
    (L.Linear, L.LSTM), (L.Linear, WeightDropLSTM)])
def test_masks_stay_for_a_window_whatever_the_first_layer_is(kinds):
    model = make(kinds)
    masks, loss = [], 0
    for k, ids in enumerate(window()):
        loss += F.sum(model(ids))
        masks.append([link.mask for link in model.dropouts])
        if k == 2:
            loss.unchain_backward()
    for place in zip(*masks):
        same = [a is b for a, b in zip(place, place[1:])]
        assert same == [True, True, False, True, True, True]


def test_the_random_numbers_of_a_model_without_masks_are_chainers():
    """A ratio draws as before, step by step and by window."""
    for per_step in False, True:
        model = make((L.LSTM, L.LSTM), None)
        model.per_step = per_step
        numpy.random.seed(2)
        by_window(model, window())
        after = numpy.random.rand()
        numpy.random.seed(2)
        numpy.random.rand(6, B * sum(SIZES))
        assert numpy.random.rand() == after


@pytest.mark.parametrize('arguments, match', [
    ([LockedDropout()] * 2, 'dropout: expected 3 links'),
    ([LockedDropout(), .5, LockedDropout()], 'dropout'), (1.0, 'dropout')])
def test_dropouts_that_do_not_fit(arguments, match):
    with pytest.raises(rnnlm.InputError, match=match):
        rnnlm.LanguageModel(L.EmbedID(V, 3), [L.LSTM(3, 3), L.LSTM(3, 3)],
                            L.Linear(3, V), dropout=arguments)


def test_one_dropout_in_places_of_other_sizes():
    twice = LockedDropout()
    model = rnnlm.LanguageModel(L.EmbedID(V, 3), [L.LSTM(3, 4)], L.Linear(4, V),
                                dropout=[twice, twice])
    with pytest.raises(rnnlm.InputError, match='expected 3 features.* found 4'):
        model(numpy.zeros((2, 3), 'i'))


@pytest.mark.parametrize('link', [LockedDropout, lambda r: WeightDropLSTM(3, 3, r)])
@pytest.mark.parametrize('ratio', [1.0, -.1, float('nan'), 'x'])
def test_ratios_out_of_range(link, ratio):
    with pytest.raises(rnnlm.InputError, match='ratio'):
        link(ratio)


def test_what_is_no_window_is_said():
    model = make()
    model.dropout1 = None
    del model.dropout1
    with model.init_scope():
        model.dropout1 = L.Linear(SIZES[1], SIZES[1])
    assert model.why_steps() == 'a link is used in another role than its own'
    twice = LockedDropout()
    model = rnnlm.LanguageModel(L.EmbedID(V, 3), [L.LSTM(3, 3)], L.Linear(3, V),
                                dropout=[twice, twice])
    assert 'twice' in model.why_steps()
    model = make((WeightDropLSTM, WeightDropLSTM))
    model.l1.lateral.forward = lambda x: x
    assert model.why_steps() == 'an instance attribute hides DroppedLinear.forward'


@pytest.mark.parametrize('name', ['locked_dropout', 'weight_drop_lstm', 'masks'])
def test_examples(name):
    module = importlib.import_module(f'rnnlm.links.{name}')
    assert doctest.testmod(module, extraglobs={'numpy': numpy}).failed == 0
