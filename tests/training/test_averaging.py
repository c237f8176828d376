"""The average of the weights: its values, snapshots, and the model that is kept."""
import json
import math
import os

import chainer
from chainer import training
from helpers import TINY, assert_same_parameters, classifier, text
import numpy
import pytest

import rnnlm
from rnnlm.app import experiment
from rnnlm.app.recipes import Recipe
from rnnlm.data import corpus
from rnnlm.data.vocabulary import Vocabulary

WINDOWS = 6  # before and after the snapshot


def make(out, windows=8.0, average=True):
    numpy.random.seed(0)
    with chainer.using_config('dtype', numpy.dtype('d')):
        model = classifier(rnnlm.RNNForLM(20, 8))
    optimizer = chainer.optimizers.SGD().setup(model)
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(103), 4), optimizer, 5)
    trainer = training.Trainer(updater, (2 * WINDOWS, 'iteration'), out=str(out))
    if average:
        trainer.extend(rnnlm.WeightAverage(model, windows))
    trainer.extend(rnnlm.Snapshot(None), trigger=(WINDOWS, 'iteration'))
    return trainer


def average_of(trainer):
    return trainer.get_extension('WeightAverage')


def arrays_of(link):
    return {name: param.array.copy() for name, param in link.namedparams()}


def recorded(trainer):
    """Runs a trainer; returns the parameters after each window."""
    found = []
    target = trainer.updater.get_optimizer('main').target
    trainer.extend(lambda _: found.append(arrays_of(target)), name='record',
                   trigger=(1, 'iteration'), priority=1000)
    trainer.run()
    return found


@pytest.mark.parametrize('windows', [2.0, 8.0, 30.0])
def test_the_values(tmp_path, windows):
    """Against the weights of all windows, computed from the end backwards."""
    trainer = make(tmp_path, windows)
    after = recorded(trainer)
    assert average_of(trainer).trigger == (1, 'iteration')
    weights, left = [], 1.0
    for k in reversed(range(len(after))):
        rate = max(8 / (k + 8), 1 - math.exp(-1 / windows))
        weights.insert(0, left * rate)
        left *= 1 - rate
    assert sum(weights) == pytest.approx(1)
    for name, mean in arrays_of(average_of(trainer).averaged).items():
        expected = sum(w * arrays[name] for w, arrays in zip(weights, after))
        numpy.testing.assert_allclose(mean, expected, rtol=1e-12, atol=1e-14)


def test_a_long_average_is_updated_every_ten_windows(tmp_path):
    trainer = make(tmp_path, 1000.0)
    after = recorded(trainer)
    average = average_of(trainer)
    assert average.trigger == (10, 'iteration') and average.count == 1
    for name, mean in arrays_of(average.averaged).items():
        numpy.testing.assert_array_equal(mean, after[9][name])


def test_training_is_not_changed(tmp_path):
    trainers = []
    for average in True, False:
        trainers.append(make(tmp_path / str(average), average=average))
        trainers[-1].run()
    assert_same_parameters(*trainers)


def test_resumed_to_the_bit(tmp_path):
    whole, resumed = make(tmp_path), make(tmp_path / 'resumed')
    whole.run()
    rnnlm.resume(str(tmp_path / f'snapshot_iter_{WINDOWS}'), resumed)
    resumed.run()
    one, other = (arrays_of(average_of(trainer).averaged)
                  for trainer in (whole, resumed))
    for name in one:
        numpy.testing.assert_array_equal(one[name], other[name])
    assert average_of(resumed).count == average_of(whole).count == 2 * WINDOWS


def test_a_snapshot_without_average_begins_one(tmp_path):
    make(tmp_path, average=False).run()
    trainer = make(tmp_path / 'resumed')
    rnnlm.resume(str(tmp_path / f'snapshot_iter_{WINDOWS}'), trainer)
    assert average_of(trainer).count == 0
    average_of(trainer).initialize(trainer)  # by run: the loaded parameters
    target, averaged = average_of(trainer).target, average_of(trainer).averaged
    for name, param in arrays_of(target).items():
        numpy.testing.assert_array_equal(arrays_of(averaged)[name], param)
    after = recorded(trainer)
    assert average_of(trainer).count == WINDOWS == len(after)


@pytest.mark.parametrize('damage, message', [
    (lambda array: array * numpy.nan, 'finite'),
    (lambda array: array[:-1], 'shape'), (None, 'found nothing')])
def test_a_damaged_average_is_refused_before_anything_changes(
        tmp_path, damage, message):
    make(tmp_path).run()
    path = str(tmp_path / f'snapshot_iter_{WINDOWS}')
    with numpy.load(path, allow_pickle=True) as npz:
        arrays = dict(npz)
    key = 'extensions/WeightAverage/averaged/predictor/l1/lateral/W'
    if damage:
        arrays[key] = damage(arrays[key])
    else:
        del arrays[key]
    with open(path, 'wb') as f:
        numpy.savez(f, **arrays)
    trainer = make(tmp_path / 'resumed')
    before = arrays_of(trainer.updater.get_optimizer('main').target)
    with pytest.raises(rnnlm.InputError, match=message) as caught:
        rnnlm.resume(path, trainer)
    assert key in str(caught.value)
    for name, array in arrays_of(trainer.updater.get_optimizer('main').target).items():
        numpy.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize('windows', [0, -1.0, math.nan, 'x'])
def test_bad_windows(windows):
    with pytest.raises(rnnlm.InputError, match='windows'):
        rnnlm.WeightAverage(classifier(rnnlm.RNNForLM(20, 8)), windows)


def test_float16_is_refused():
    with chainer.using_config('dtype', numpy.dtype('e')):
        model = classifier(rnnlm.RNNForLM(20, 8))
    with pytest.raises(rnnlm.InputError, match='float16'):
        rnnlm.WeightAverage(model, 10)
    with pytest.raises(rnnlm.InputError, match='average.*mixed16'):
        Recipe(average=0.5, precision='mixed16')
    with pytest.raises(rnnlm.InputError, match='average.*at least 0'):
        Recipe(average=-1.0)


def test_the_average_is_evaluated_and_kept(tmp_path):
    """Perplexities and model.npz are those of the average, the snapshot has both."""
    words = numpy.arange(803, dtype='i') % 20
    vocabulary = Vocabulary(['<eos>', *'abcdefghijklmnopqrs'])
    parts = corpus.Corpus('x', words, words[:203], words[:153], vocabulary)
    recipe = Recipe(**{**vars(TINY), 'average': 0.5, 'epochs': 2})
    out = str(tmp_path / 'run')
    result = experiment.train(parts, recipe, out=out, seed=0)
    loaded = rnnlm.load(out)
    assert loaded.perplexity(parts.test) == pytest.approx(result['test'], rel=1e-5)
    with open(os.path.join(out, 'log'), encoding='utf-8') as f:
        best = min(json.load(f), key=lambda entry: entry['val_perplexity'])
    with numpy.load(os.path.join(out, f'snapshot_iter_{best["iteration"]}'),
                    allow_pickle=True) as npz:
        snapshot = dict(npz)
    for name, param in loaded.model.namedparams():
        mean = snapshot[f'extensions/WeightAverage/averaged/predictor{name}']
        numpy.testing.assert_array_equal(param.array, mean)
        assert (snapshot[f'updater/model:main/predictor{name}'] != mean).any()


def test_a_missing_best_model_is_that_of_its_snapshot(tmp_path):
    trainer = make(tmp_path)
    trainer.run()
    average = average_of(trainer)
    best = rnnlm.BestModel(average.averaged, str(tmp_path / 'model.npz'),
                           saved_as=average.saved_as)
    best.loss, best.window = 1.0, WINDOWS
    best.finish(trainer)
    with numpy.load(str(tmp_path / f'snapshot_iter_{WINDOWS}'),
                    allow_pickle=True) as npz:
        snapshot = dict(npz)
    with numpy.load(str(tmp_path / 'model.npz')) as npz:
        found = dict(npz)
    for name in arrays_of(average.averaged):
        name = name.lstrip('/')
        numpy.testing.assert_array_equal(
            found[name], snapshot[f'extensions/WeightAverage/averaged/{name}'])
