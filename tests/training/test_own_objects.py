"""Objects of the user in a trainer: triggers, extensions, iterators, epochs by step."""
import logging
import os
import signal

import chainer
from chainer import links as L
from chainer import training
from chainer.training import extensions
from helpers import (
    assert_same_parameters, make_trainer, refused, small, text)
import numpy
import pytest

import rnnlm


class Trigger:
    """Saves values that Chainer's triggers could not have."""
    best, count, period = None, -1, (20, 'iteration')

    def __call__(self, trainer):
        return trainer.updater.iteration >= 20

    def serialize(self, serializer):
        self.best = serializer('best', self.best)
        self.count = serializer('count', self.count)


class BestModelOfMine(training.Extension):
    loss = 'none'

    def __call__(self, trainer):
        self.period = trainer.stop_trigger.period  # as with trainer.run()

    def serialize(self, serializer):
        self.loss = serializer('loss', self.loss)
        self._log = serializer('_log', numpy.arange(3))
        self._last_value = serializer('_last_value', numpy.ones(2))


class Iterator(rnnlm.ParallelSequentialIterator):
    def serialize(self, serializer):
        super().serialize(serializer)
        self.batch = serializer('batch', numpy.ones(3))


def of_the_user(out):
    updater = rnnlm.BPTTUpdater(
        Iterator(text(), 4),
        chainer.optimizers.SGD(1.0).setup(small()), 5)
    trainer = training.Trainer(updater, Trigger(), out=str(out))
    trainer.extend(rnnlm.Snapshot(None), trigger=(7, 'iteration'))
    trainer.extend(BestModelOfMine(), trigger=(7, 'iteration'))
    return trainer


def test_snapshots_of_own_objects_can_be_resumed(tmp_path):
    whole = of_the_user(tmp_path)
    rnnlm.run(whole)
    assert whole.get_extension('BestModelOfMine').period == (20, 'iteration')
    resumed = of_the_user(tmp_path)
    rnnlm.resume(tmp_path / 'snapshot_iter_7', resumed)
    rnnlm.run(resumed)
    assert_same_parameters(whole, resumed)


@pytest.mark.parametrize('per_step', [False, True])
def test_epochs_that_end_within_a_window(tmp_path, per_step):
    """Triggers fire after the same windows, fused or step by step."""
    trainer = make_trainer(small(), text(197), tmp_path, stop=(3, 'epoch'))
    trainer.updater.per_step = per_step
    fired = []
    trigger, report = rnnlm.SnapshotTrigger(1e9), rnnlm.ReportTrigger()
    trainer.extend(lambda t: fired.append((
        trigger(t), report(t), t.updater.is_new_epoch, t.updater.iteration)),
        trigger=(1, 'iteration'), name='fired')
    trainer.run()
    assert [entry[3] for entry in fired if entry[0]] == [10, 20, 30]
    assert all(len(set(entry[:3])) == 1 for entry in fired)


SHIFTS = {
    'ExponentialShift': lambda: extensions.ExponentialShift('lr', 0.5),
    'MultistepShift': lambda: extensions.MultistepShift('lr', 0.5, [2, 3], 1.0),
    'StepShift': lambda: extensions.StepShift('lr', 0.5, 2),
    'LearningRateDecay': lambda: rnnlm.LearningRateDecay(2.0, 0)}


@pytest.mark.parametrize('name', SHIFTS)
def test_autoload_of_chainers_snapshot(tmp_path, name):
    """The rate continues: the snapshot is loaded before the extension begins."""
    def make(out, stop):
        trainer = make_trainer(small(), text(83), out, stop=(stop, 'iteration'))
        trainer.extend(SHIFTS[name](), trigger=(3, 'iteration'))
        trainer.extend(extensions.snapshot(autoload=True), trigger=(1, 'iteration'))
        rates = []
        trainer.extend(lambda t: rates.append(t.updater.get_optimizer('main').lr),
                       trigger=(1, 'iteration'), name='rates', priority=-1000)
        return trainer, rates

    whole, expected = make(tmp_path / 'whole', 20)
    whole.run()
    first, before = make(tmp_path / 'parts', 8)
    first.run()
    second, after = make(tmp_path / 'parts', 20)
    second.run()
    assert before + after == expected
    assert_same_parameters(whole, second)


def test_a_snapshot_of_a_model_with_more_parameters(tmp_path):
    trainer = make_trainer(small(), text(), tmp_path, stop=(1, 'iteration'))
    trainer.extend(rnnlm.Snapshot(None), trigger=(1, 'iteration'))
    trainer.run()
    tied = make_trainer(small(tied=True), text(), tmp_path)
    before = [param.array.copy() for param in tied.updater.get_optimizer(
        'main').target.params()]
    with refused('parameters of the model and no others', 'l3/W'):
        rnnlm.resume(tmp_path / 'snapshot_iter_1', tied)
    for param, array in zip(
            tied.updater.get_optimizer('main').target.params(), before):
        numpy.testing.assert_array_equal(param.array, array)


@pytest.mark.parametrize('saved', ['Adam', 'MomentumSGD', 'RMSprop', 'AdaGrad'])
def test_a_snapshot_of_another_optimizer(tmp_path, saved):
    def make(optimizer):
        trainer = make_trainer(small(), text(), tmp_path, stop=(1, 'iteration'))
        target = trainer.updater.get_optimizer('main').target
        trainer.updater._optimizers['main'] = optimizer.setup(target)
        return trainer

    first = make(getattr(chainer.optimizers, saved)())
    first.extend(rnnlm.Snapshot(None), trigger=(1, 'iteration'))
    first.run()
    with refused('the same optimizer, SGD', 'which it does not have'):
        rnnlm.resume(tmp_path / 'snapshot_iter_1', make(chainer.optimizers.SGD()))
    rnnlm.resume(tmp_path / 'snapshot_iter_1', make(
        getattr(chainer.optimizers, saved)()))


def test_an_optimizer_without_a_target():
    with refused('optimizer: expected one with a target; call its setup'):
        rnnlm.BPTTUpdater(rnnlm.ParallelSequentialIterator(text(), 4),
                          chainer.optimizers.SGD(), 5)


def test_an_evaluation_text_with_other_ids_is_refused_before_training(tmp_path):
    model = small()
    trainer = make_trainer(model, text(), tmp_path)
    target = trainer.updater.get_optimizer('main').target
    trainer.extend(rnnlm.PerplexityEvaluator(rnnlm.ParallelSequentialIterator(
        numpy.array([1, 2, 500, 3], 'i'), 1, repeat=False), target))
    with refused('found 1 to 500'):
        trainer.run()
    assert trainer.updater.iteration == 0
    for unknown in '<unk>', -1, 1.5:
        with refused('unknown: expected an integer of at least 0'):
            rnnlm.PerplexityEvaluator(
                rnnlm.ParallelSequentialIterator(text(), 1, repeat=False), target,
                unknown=unknown)


def test_best_model_arguments(tmp_path, caplog):
    model = small()
    with refused('target: expected a link'):
        rnnlm.BestModel(str(tmp_path / 'best.npz'), model)
    with refused('path: expected the name of a file'):
        rnnlm.BestModel(model, 3)
    for path in tmp_path / 'no' / 'best.npz', tmp_path:
        trainer = make_trainer(model, text(), tmp_path, stop=(1, 'epoch'))
        trainer.extend(rnnlm.BestModel(model, str(path)))
        with refused('path: expected a file in a folder that exists'):
            rnnlm.run(trainer)
        assert trainer.updater.iteration == 0
    trainer = make_trainer(small(), text(), tmp_path / 'new', stop=(1, 'epoch'))
    trainer.extend(rnnlm.BestModel(
        model, str(tmp_path / 'new' / 'best.npz'), key='validation/loss'))
    with caplog.at_level(logging.WARNING):
        rnnlm.run(trainer)
    assert 'validation/loss was not reported' in caplog.text


@pytest.mark.parametrize('name', [None, 'ema'])
def test_the_best_of_two_averages_is_restored_by_its_own_name(tmp_path, name):
    def make(stop):
        model = small()
        trainer = make_trainer(model, text(), tmp_path, stop=(stop, 'epoch'))
        target = trainer.updater.get_optimizer('main').target
        averages = [rnnlm.WeightAverage(target, windows) for windows in (2, 200)]
        trainer.extend(averages[0])
        trainer.extend(averages[1], name=name)
        trainer.extend(rnnlm.PerplexityEvaluator(rnnlm.ParallelSequentialIterator(
            text(31), 1, repeat=False), averages[1].averaged))
        best = rnnlm.BestModel(averages[1].averaged, str(tmp_path / 'best.npz'),
                               saved_as=averages[1])
        trainer.extend(best)
        trainer.extend(rnnlm.Snapshot(None), trigger=(1, 'epoch'))
        return trainer, best, averages[1]

    trainer, best, average = make(1)
    rnnlm.run(trainer)
    expected = [param.array.copy() for param in average.averaged.params()]
    os.unlink(tmp_path / 'best.npz')
    trainer, best, average = make(1)
    rnnlm.resume(tmp_path, trainer)
    for param in average.averaged.params():  # so that only the snapshot has them
        param.array[...] = 0
    trainer.updater.iteration += 1
    best.initialize(trainer)
    best.load()
    for param, array in zip(average.averaged.params(), expected):
        numpy.testing.assert_array_equal(param.array, array)


def test_an_average_copies_persistent_values():
    class Model(chainer.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.norm = L.BatchNormalization(3)

    model = Model()
    average = rnnlm.WeightAverage(model, 5)
    model.norm(numpy.random.RandomState(0).randn(50, 3).astype('f') + 4)
    average()
    found = average.averaged.norm
    numpy.testing.assert_array_equal(found.avg_mean, model.norm.avg_mean)
    assert found.avg_mean.any() and found.avg_mean is not model.norm.avg_mean


def test_two_logs(tmp_path):
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'epoch'))
    trainer.extend(rnnlm.Log())
    trainer.extend(rnnlm.Log((1, 'iteration'), filename='windows'))
    trainer.run()
    entries = {}
    for name in 'log', 'windows':
        with open(tmp_path / name) as f:
            entries[name] = f.read().count('"iteration"')
    assert entries == {'log': 2, 'windows': trainer.updater.iteration}


def test_a_signal_handler_that_python_does_not_know(tmp_path, monkeypatch):
    """As of a program that Python is embedded in."""
    get = signal.getsignal
    monkeypatch.setattr(signal, 'getsignal', lambda n: (
        None if n == signal.SIGHUP else get(n)))
    trainer = make_trainer(small(), text(), tmp_path, stop=(2, 'iteration'))
    assert rnnlm.run(trainer) == (0, None)
