"""Trainer, updater, extensions, triggers, snapshots, iterators, converters."""

import io
import json
import os

import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
from chainer import iterators, serializers, training  # noqa: E402
from chainer.dataset import concat_examples  # noqa: E402
from chainer.training import extensions, triggers  # noqa: E402


def dataset(n=24):
    rng = np.random.RandomState(0)
    x = rng.uniform(-1, 1, (n, 4)).astype(np.float32)
    return chainer.datasets.TupleDataset(x, (x.sum(axis=1) > 0).astype(np.int32))


def trainer(out, epochs=3, optimizer=None, seed=1, shuffle=True):
    np.random.seed(seed)
    model = L.Classifier(L.Linear(4, 2))
    optimizer = (optimizer or chainer.optimizers.MomentumSGD(0.5)).setup(model)
    iterator = iterators.SerialIterator(dataset(), 6, shuffle=shuffle)
    updater = training.updaters.StandardUpdater(iterator, optimizer, device=-1)
    return training.Trainer(updater, (epochs, 'epoch'), out=str(out))


def log_of(out):
    with open(os.path.join(str(out), 'log')) as file:
        return json.load(file)


# A run ----------------------------------------------------------------------

def test_a_run_with_the_usual_extensions(tmp_path):
    printed = io.StringIO()
    run = trainer(tmp_path)
    model = run.updater.get_optimizer('main').target
    run.extend(extensions.Evaluator(
        iterators.SerialIterator(dataset(12), 5, repeat=False, shuffle=False), model))
    run.extend(extensions.LogReport())
    run.extend(extensions.PrintReport(
        ['epoch', 'main/loss', 'validation/main/accuracy', 'elapsed_time'],
        out=printed))
    run.extend(extensions.observe_lr())
    run.extend(extensions.ExponentialShift('lr', 0.5), trigger=(1, 'epoch'))
    run.extend(extensions.snapshot(filename='snapshot-{.updater.epoch}'),
               trigger=(1, 'epoch'))
    run.extend(extensions.snapshot_object(model, 'model'), trigger=(3, 'epoch'))
    run.extend(extensions.FailOnNonNumber())
    run.extend(extensions.ParameterStatistics(model))
    run.extend(extensions.DumpGraph('main/loss', filename='graph.dot'))
    run.run()

    log = log_of(tmp_path)
    assert [entry['iteration'] for entry in log] == [4, 8, 12]
    assert log[-1]['main/loss'] < log[0]['main/loss']
    assert [entry['lr'] for entry in log] == [0.5, 0.25, 0.125]
    assert set(log[0]) >= {'main/loss', 'main/accuracy', 'validation/main/loss',
                           'validation/main/accuracy', 'epoch', 'elapsed_time'}
    assert {'snapshot-1', 'snapshot-2', 'snapshot-3', 'model', 'graph.dot'} <= set(
        os.listdir(str(tmp_path)))
    assert 'validation/main/accuracy' in printed.getvalue()


def test_evaluator_weighs_nothing_and_averages_batches(tmp_path):
    np.random.seed(0)
    model = L.Classifier(L.Linear(4, 2))
    data = dataset(12)
    evaluator = extensions.Evaluator(
        iterators.SerialIterator(data, 5, repeat=False, shuffle=False), model)
    result = evaluator()
    losses = [float(model(*concat_examples(data[i:j])).array)
              for i, j in ((0, 5), (5, 10), (10, 12))]
    assert result['main/loss'] == sum(np.float64(x) for x in losses) / 3


def test_resume_is_the_same_run(tmp_path):
    def prepared(out, epochs):
        # Not shuffled: a snapshot does not hold NumPy's random state.
        run = trainer(out, epochs, shuffle=False)
        run.extend(extensions.LogReport(trigger=(1, 'iteration')))
        run.extend(extensions.LinearShift('lr', (0.5, 0.1), (2, 10)),
                   trigger=(1, 'iteration'))
        run.extend(extensions.snapshot(filename='snapshot'), trigger=(2, 'epoch'))
        return run

    whole = prepared(tmp_path / 'whole', 4)
    whole.run()
    prepared(tmp_path / 'part', 2).run()
    resumed = prepared(tmp_path / 'part', 4)
    serializers.load_npz(str(tmp_path / 'part' / 'snapshot'), resumed)
    resumed.run()
    a, b = log_of(tmp_path / 'whole'), log_of(tmp_path / 'part')
    assert len(a) == len(b) == 16
    assert [e['main/loss'] for e in a] == [e['main/loss'] for e in b]


def test_autoload_takes_the_newest_snapshot(tmp_path):
    run = trainer(tmp_path, 2)
    run.extend(extensions.snapshot(n_retains=1), trigger=(1, 'epoch'))
    run.run()
    assert [n for n in os.listdir(str(tmp_path)) if n.startswith('snapshot')] == [
        'snapshot_iter_8']
    again = trainer(tmp_path, 3)
    again.extend(extensions.snapshot(autoload=True), trigger=(1, 'epoch'))
    again.run()
    assert again.updater.iteration == 12


def test_hdf5_snapshot_of_a_model_and_strings(tmp_path):
    h5py = pytest.importorskip('h5py')
    path = str(tmp_path / 'strings')
    with h5py.File(path, 'w') as file:
        file.create_dataset('text', data='perplexité', dtype=h5py.string_dtype())
        file.create_dataset('none', data=h5py.Empty('f'))
        file.create_dataset('number', data=3.5)
        file.create_dataset('array', data=np.arange(3))
    with h5py.File(path, 'r') as file:
        read = serializers.HDF5Deserializer(file)
        assert read('text', '') == 'perplexité'
        assert read('none', 1) is None
        assert read('number', 1.0) == 3.5 and type(read('number', 1.0)) is float
        np.testing.assert_array_equal(read('array', None), [0, 1, 2])
        with pytest.raises(KeyError):
            read('missing', '')
        loose = serializers.HDF5Deserializer(file, strict=False)
        assert loose('missing', 'kept') == 'kept'


def test_micro_average_of_float32(tmp_path):
    run = trainer(tmp_path)
    run.extend(lambda t: chainer.report(
        {'a': np.float32(0.1), 'b': np.float32(1)}), name='values',
        trigger=(1, 'iteration'), priority=300)
    run.extend(extensions.MicroAverage('a', 'b', 'ratio', trigger=(3, 'epoch')))
    run.extend(extensions.LogReport(['ratio'], trigger=(3, 'epoch')))
    run.run()
    assert log_of(tmp_path)[0]['ratio'] == sum([np.float64(np.float32(0.1))] * 12) / 12


SHIFTS = [
    (extensions.ExponentialShift, ('lr', 0.5, 8.0), [8, 4, 2, 1]),
    (extensions.LinearShift, ('lr', (8, 2), (1, 3)), [8, 8, 5, 2]),
    (extensions.InverseShift, ('lr', 1.0, 1.0, 8.0), [8, 4, 8 / 3, 2]),
    (extensions.PolynomialShift, ('lr', 1.0, 4, 8.0), [8, 6, 4, 2]),
    (extensions.StepShift, ('lr', 0.5, 2, 8.0), [8, 8, 4, 4]),
    (extensions.MultistepShift, ('lr', 0.5, [1, 3], 8.0), [8, 4, 4, 2]),
    (extensions.WarmupShift, ('lr', 2.0, 3, 8.0), [2, 4, 6, 8]),
]


@pytest.mark.parametrize('make, arguments, expected', SHIFTS)
def test_shift(make, arguments, expected, tmp_path):
    optimizer = chainer.optimizers.SGD(8.0)
    run = trainer(tmp_path, optimizer=optimizer)
    shift = make(*arguments, optimizer=optimizer)
    shift.initialize(run)
    values = [optimizer.lr]
    for _ in expected[1:]:
        shift(run)
        values.append(optimizer.lr)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    target = {}
    serializers.DictionarySerializer(target).save(shift)
    other = make(*arguments, optimizer=optimizer)
    serializers.NpzDeserializer(target).load(other)
    if make not in (extensions.MultistepShift, extensions.WarmupShift):
        other.initialize(run)  # those two start again from the first value
    assert optimizer.lr == values[-1] and isinstance(optimizer.lr, (float, int))


TRIGGERS = [
    (lambda: triggers.IntervalTrigger(2, 'epoch'), [8]),
    (lambda: triggers.IntervalTrigger(5, 'iteration'), [5, 10]),
    (lambda: triggers.ManualScheduleTrigger([1, 3], 'epoch'), [4, 12]),
    (lambda: triggers.OnceTrigger(), [1]),
    (lambda: triggers.TimeTrigger(1e9), []),
]


@pytest.mark.parametrize('make, expected', TRIGGERS)
def test_trigger(make, expected, tmp_path):
    run = trainer(tmp_path)
    fired = []
    run.extend(lambda t: fired.append(t.updater.iteration), name='probe',
               trigger=make(), call_before_training=False)
    run.run()
    assert fired == expected


def test_value_triggers(tmp_path):
    run = trainer(tmp_path)
    values = iter([3.0, 2.0, 2.5])
    run.extend(lambda t: chainer.report({'x': next(values)}), name='values',
               trigger=(1, 'epoch'), priority=300)
    fired = []
    run.extend(lambda t: fired.append(t.updater.epoch), name='probe',
               trigger=triggers.MinValueTrigger('x'), priority=100)
    run.run()
    assert fired == [1, 2]


def test_early_stopping(tmp_path):
    run = trainer(tmp_path)
    run.stop_trigger = triggers.EarlyStoppingTrigger(
        monitor='x', patience=2, max_trigger=(9, 'epoch'))
    values = iter([1.0, 2.0, 3.0, 4.0, 5.0])
    run.extend(lambda t: chainer.report({'x': next(values)}), name='values',
               trigger=(1, 'epoch'), priority=300)
    run.run()
    assert run.updater.epoch == 3


# Iterators and converters -----------------------------------------------------

ITERATORS = {
    'serial': iterators.SerialIterator,
    'threads': lambda *a, **k: iterators.MultithreadIterator(*a, n_threads=2, **k),
    'processes': lambda *a, **k: iterators.MultiprocessIterator(
        *a, n_processes=2, shared_mem=1000, **k),
}
fork = pytest.mark.filterwarnings(
    'ignore:This process .* is multi-threaded:DeprecationWarning')


@fork  # Python 3.12 on a process with BLAS threads
@pytest.mark.parametrize('kind', sorted(ITERATORS))
def test_iterator(kind, tmp_path):
    data = [np.full(2, i, np.float32) for i in range(7)]
    iterator = ITERATORS[kind](data, 3, repeat=False, shuffle=False)
    assert [[int(x[0]) for x in batch] for batch in iterator] == [
        [0, 1, 2], [3, 4, 5], [6]]
    iterator.reset()
    assert int(iterator.next()[0][0]) == 0
    iterator.finalize()

    np.random.seed(0)
    iterator = ITERATORS[kind](data, 3)
    first = [[int(x[0]) for x in iterator.next()] for _ in range(3)]
    assert sorted(sum(first, [])[:7]) == list(range(7))
    assert iterator.epoch == 1 and iterator.is_new_epoch
    target = {}
    serializers.DictionarySerializer(target).save(iterator)
    expected = [int(x[0]) for x in iterator.next()]
    other = ITERATORS[kind](data, 3)
    serializers.NpzDeserializer(target).load(other)
    assert other.epoch == 1 and other.epoch_detail == pytest.approx(9 / 7)
    assert [int(x[0]) for x in other.next()] == expected
    iterator.finalize()
    other.finalize()


def test_concat_examples():
    x, t = concat_examples([(np.ones(2, np.float32), 1), (np.zeros(2, np.float32), 2)])
    assert x.dtype == np.float32 and x.shape == (2, 2)
    np.testing.assert_array_equal(t, [1, 2])
    d = concat_examples([{'a': np.arange(2)}, {'a': np.arange(2)}])
    assert d['a'].shape == (2, 2)


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.int32])
def test_concat_examples_with_padding(dtype):
    """Sequences of several lengths; Chainer finds the longest with numpy.maximum."""
    batch = [np.arange(n * 2, dtype=dtype).reshape(n, 2) for n in (2, 3, 1)]
    y = concat_examples(batch, padding=-1)
    assert y.shape == (3, 3, 2) and y.dtype == dtype
    np.testing.assert_array_equal(y[0, 2], [-1, -1])
    np.testing.assert_array_equal(y[1], batch[1])
    x, t = concat_examples([(b, b[0]) for b in batch], padding=(0, -1))
    assert x.shape == (3, 3, 2) and t.shape == (3, 2)


def test_datasets():
    whole = chainer.datasets.TransformDataset(dataset(10), lambda pair: pair[0] * 2)
    first, second = chainer.datasets.split_dataset_random(whole, 7, seed=0)
    assert (len(first), len(second)) == (7, 3)
    a, b = chainer.datasets.get_cross_validation_datasets(whole, 2)[0]
    assert (len(a), len(b)) == (5, 5)
    both = chainer.datasets.ConcatenatedDataset(a, b)
    np.testing.assert_array_equal(both[7], b[2])
    named = chainer.datasets.DictDataset(x=np.arange(4), y=np.arange(4))
    assert named[2] == {'x': 2, 'y': 2}


def test_updater_with_a_loss_function(tmp_path):
    model = L.Linear(4, 2)
    optimizer = chainer.optimizers.SGD().setup(model)
    updater = training.updaters.StandardUpdater(
        iterators.SerialIterator(dataset(), 6), optimizer,
        loss_func=lambda x, t: F.softmax_cross_entropy(model(x), t))
    before = model.W.array.copy()
    updater.update()
    assert updater.iteration == 1 and (model.W.array != before).any()
