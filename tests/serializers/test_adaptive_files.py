"""Files and snapshots of models with an adaptive softmax."""
from adaptive_case import V, make, window, words
import chainer
from chainer import links as L
from helpers import assert_shapes_refused, classifier, make_trainer
import numpy
import pytest

import rnnlm
from rnnlm import structure
from rnnlm.structure import Adaptive, Layer, Structure

FOUND = [
    Structure(V, 3, (Layer('LSTM', 5),), adaptive=Adaptive((4, 9), (2, 1))),
    Structure(V, 3, (Layer('LSTM', 5), Layer('HardSigmoidLSTM', 4)),
              adaptive=Adaptive((19,), (7,), False)),
    Structure(V, 4, (Layer('LSTM', 4),) * 2, adaptive=Adaptive((1, 2, 3), (1, 1, 1)))]


@pytest.mark.parametrize('ending', ['.npz', '.h5'])
@pytest.mark.parametrize('found', FOUND, ids=str)
def test_a_file_says_what_the_model_is_made_of(tmp_path, found, ending):
    model = found.build(0.0)
    numpy.random.seed(0)
    for param in model.params():
        param.array[...] = numpy.random.uniform(-1, 1, param.shape)
    model.output.ranks = numpy.random.permutation(V).astype('i')
    path = str(tmp_path / f'model{ending}')
    if ending == '.npz':
        rnnlm.save_npz(path, model)
    else:
        chainer.serializers.save_hdf5(path, model)
    loaded = rnnlm.load(path).model
    assert structure.of_model(loaded) == structure.of_model(model) == found
    assert 'adaptive softmax with cutoffs' in str(found)
    with chainer.using_config('train', False):
        numpy.testing.assert_array_equal(
            loaded.logits(window()).array, model.logits(window()).array)
    other = found.build()
    if ending == '.npz':
        chainer.serializers.load_npz(path, other)
    else:
        chainer.serializers.load_hdf5(path, other)
    numpy.testing.assert_array_equal(other.output.ranks, model.output.ranks)


def test_a_file_in_the_style_of_version_1(tmp_path):
    """Below predictor/, as a whole Classifier is saved there."""
    model = make()
    path = str(tmp_path / 'model.npz')
    chainer.serializers.save_npz(path, L.Classifier(model))
    other = make(seed=4, counts=None)
    rnnlm.load_model(path, L.Classifier(other))
    numpy.testing.assert_array_equal(
        other.logits(window()).array, model.logits(window()).array)
    loaded = rnnlm.load(path).model
    numpy.testing.assert_array_equal(loaded.output.ranks, model.output.ranks)


def test_a_full_softmax_is_not_loaded_into_it(tmp_path):
    path = str(tmp_path / 'model.npz')
    rnnlm.save_npz(path, rnnlm.RNNForLM(V, 6))
    with pytest.raises(rnnlm.InputError, match="'l3/W'"):
        rnnlm.load_model(path, make())
    rnnlm.save_npz(path, make())
    with pytest.raises(rnnlm.InputError, match="'l3/head/W'"):
        rnnlm.load_model(path, rnnlm.RNNForLM(V, 6))


@pytest.mark.parametrize('name, shape, match', [
    ('l2/tail1/W', (30, 2), 'fewer than 20 words'), ('l2/tail1/W', None, 'expected'),
    ('l2/tail1/W', (5,), 'two dimensions'), ('l2/project1/W', None, 'project1'),
    ('l2/project1/W', (3, 5), 'project1'), ('l2/head/W', (6, 4), 'head/W'),
    ('l2/head/b', (5,), 'head/b'), ('l2/ranks', None, 'ranks'),
    ('l2/ranks', (3,), 'ranks')])
def test_shapes_of_no_model_are_refused(name, shape, match):
    assert_shapes_refused(FOUND[0], name, shape, match)


def test_resuming_is_exact(tmp_path):
    def trainer(stop):
        model = classifier(make(dropout=0.4))
        numpy.random.seed(8)
        return make_trainer(model, words(), str(tmp_path), stop=(stop, 'iteration'))

    whole = trainer(12)
    whole.run()
    half = trainer(6)
    half.run()
    rnnlm.save_npz(str(tmp_path / 'half'), half)
    rest = trainer(12)
    # The ranks come from the snapshot, and nothing else would be right.
    output = rest.updater.get_optimizer('main').target.predictor.output
    output.ranks = output.ranks[::-1].copy()
    rnnlm.resume(str(tmp_path / 'half'), rest)
    rest.run()
    targets = [t.updater.get_optimizer('main').target for t in (whole, rest)]
    numpy.testing.assert_array_equal(*(t.predictor.output.ranks for t in targets))
    for a, b in zip(*(target.params() for target in targets)):
        numpy.testing.assert_array_equal(a.array, b.array)


@pytest.mark.parametrize('name, value, match', [
    ('ranks', numpy.zeros(V, 'i'), 'each number from 0 to 19 once'),
    ('ranks', numpy.arange(V, dtype='f'), 'each number from 0 to 19 once'),
    ('ranks', numpy.arange(V - 1), 'of shape'), ('ranks', None, 'found nothing'),
    ('tail1/W', None, 'found nothing|fewer than 20'),
    ('head/W', numpy.zeros((5, 6), 'f'), 'shape')])
@pytest.mark.parametrize('what', ['model', 'loaded', 'snapshot'])
def test_damaged_files_are_refused(tmp_path, name, value, match, what):
    path, trainer = str(tmp_path / 'file'), None
    if what == 'snapshot':
        trainer = make_trainer(classifier(make()), words(), str(tmp_path),
                               stop=(1, 'iteration'))
        trainer.run()
        rnnlm.save_npz(path, trainer)
    else:
        rnnlm.save_npz(path, make())
    with numpy.load(path, allow_pickle=True) as npz:
        arrays = dict(npz)
    key, = (key for key in arrays if key.endswith(f'l3/{name}') and 'optim' not in key)
    del arrays[key]
    if value is not None:
        arrays[key] = value
    with open(path, 'wb') as f:
        numpy.savez(f, **arrays)
    model = make(seed=3)
    before = [param.array.copy() for param in model.params()]
    with pytest.raises(rnnlm.InputError, match=match):
        if what == 'model':
            rnnlm.load_model(path, model)
        elif what == 'loaded':
            rnnlm.load(path)
        else:
            rnnlm.resume(path, make_trainer(
                classifier(model), words(), str(tmp_path), stop=(2, 'iteration')))
    for param, array in zip(model.params(), before):
        numpy.testing.assert_array_equal(param.array, array)


@pytest.mark.parametrize('ending', ['npz', 'hdf5'])
def test_chainer_loads_no_other_ranks(tmp_path, ending):
    """Its own functions ask for no value, and windows could not tell."""
    path, model = str(tmp_path / 'file'), make()
    model.output.ranks[0] = model.output.ranks[1]
    getattr(chainer.serializers, f'save_{ending}')(path, model)
    with pytest.raises(rnnlm.InputError, match='ranks: .*each number from 0 to 19'):
        getattr(chainer.serializers, f'load_{ending}')(path, make())
