"""Files of a run are complete, the newest is found, and signals are handled."""
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap

import chainer
from chainer import functions as F
from chainer import links as L
from chainer import training
from chainer.training import extensions, triggers
from helpers import assert_same_parameters, make_trainer, small, text
import numpy
import pytest

import rnnlm
from rnnlm.serializers.npz import Npz
from rnnlm.serializers.snapshot_files import newest_snapshot
from rnnlm.training.mixed_precision import set_up_mixed
from rnnlm.training.triggers import EpochsTrigger, ReportTrigger


SCRIPT = '''
    import os, signal, sys
    import rnnlm
    from helpers import make_trainer, small, text

    def kill(trainer):
        if trainer.updater.iteration == 3 and len(sys.argv) > 3:
            for _ in range(int(sys.argv[3])):
                os.kill(os.getpid(), int(sys.argv[2]))

    trainer = make_trainer(small(), text(), sys.argv[1], stop=(8, 'iteration'))
    trainer.extend(kill, name='kill')
    if os.path.exists(sys.argv[1] + '/snapshot_iter_3'):
        rnnlm.resume(sys.argv[1] + '/snapshot_iter_3', trainer)
    number, snapshot = rnnlm.run(trainer)
    if number:
        sys.exit(128 + number)
    model = trainer.updater.get_optimizer('main').target
    rnnlm.save_npz(sys.argv[1] + '/final.npz', model)
'''


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_snapshot_to_go_on_from(tmp_path, path_of, number):
    def run(out, *args):
        return subprocess.run(
            [sys.executable, '-c', textwrap.dedent(SCRIPT), str(tmp_path / out), *args],
            env=dict(os.environ, PYTHONPATH=path_of()), capture_output=True, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))

    assert run('whole').returncode == 0
    stopped = run('out', str(int(number)), '1')
    assert stopped.returncode == 128 + number
    assert signal.Signals(number).name + ': finishing the window' in stopped.stderr
    assert run('out').returncode == 0
    with Npz(str(tmp_path / 'whole' / 'final.npz')) as whole, \
            Npz(str(tmp_path / 'out' / 'final.npz')) as resumed:
        assert set(whole) == set(resumed)
        for name in whole:
            numpy.testing.assert_array_equal(whole[name], resumed[name])

    # The second signal does not wait.
    at_once = run('at_once', str(int(number)), '2')
    assert at_once.returncode in (-number, 1, 130)
    assert not (tmp_path / 'at_once' / 'snapshot_iter_3').exists()


class Reports(chainer.training.Extension):
    """Reports given validation losses."""
    priority = chainer.training.PRIORITY_WRITER
    trigger = 1, 'epoch'

    def __init__(self, losses):
        self.losses = list(losses)

    def __call__(self, trainer):
        chainer.report({'validation/main/loss': self.losses.pop(0)})


def test_best_model(tmp_path):
    path = str(tmp_path / 'best.npz')
    model = small()
    trainer = make_trainer(model, text(), tmp_path, 5, 4, (6, 'epoch'))
    trainer.extend(Reports([3, numpy.nan, 1, 2, 1, 5]))
    best = rnnlm.BestModel(model, path)
    trainer.extend(best)
    seen = []
    trainer.extend(lambda _: seen.append(model.predictor.embed.W.array.copy()),
                   name='seen', trigger=(1, 'epoch'))
    trainer.run()
    assert best.loss == 1
    with Npz(path) as npz:
        numpy.testing.assert_array_equal(npz['predictor/embed/W'], seen[2])
    best.load()
    numpy.testing.assert_array_equal(model.predictor.embed.W.array, seen[2])


def test_best_model_survives_a_resume(tmp_path):
    path = tmp_path / 'best.npz'

    def trainer_until(epochs, losses):
        model = small()
        trainer = make_trainer(model, text(), tmp_path, 5, 4, (epochs, 'epoch'))
        trainer.extend(Reports(losses))
        trainer.extend(rnnlm.BestModel(model, str(path)))
        return trainer

    first = trainer_until(2, [1, 2])
    first.run()
    rnnlm.save_npz(str(tmp_path / 'snapshot'), first)
    kept = path.read_bytes()
    for is_there in True, False:
        second = trainer_until(3, [1.5])
        rnnlm.resume(str(tmp_path / 'snapshot'), second)
        second.run()
        assert (path.read_bytes() == kept) == is_there
        path.unlink()  # then the next one is the best of the remaining


@pytest.mark.parametrize('n_retains, kept', [(1, [9]), (2, [8, 9]), (None, range(10))])
def test_the_newest_snapshots_are_kept(tmp_path, n_retains, kept):
    trainer = make_trainer(small(), text(), tmp_path, stop=(9, 'iteration'))
    (tmp_path / 'snapshot_iter_0').touch()
    trainer.extend(rnnlm.Snapshot(n_retains), trigger=(1, 'iteration'))
    trainer.run()
    assert sorted(os.listdir(tmp_path)) == [f'snapshot_iter_{n}' for n in kept]


def test_snapshots_by_the_clock():
    class Trainer:
        class updater:
            is_new_epoch = False

    times = iter([0, 4, 5, 6, 10.5, 11, 16])
    trigger = rnnlm.SnapshotTrigger(5, clock=lambda: next(times))
    fired = [trigger(Trainer) for _ in range(3)]
    Trainer.updater.is_new_epoch = True
    fired.append(trigger(Trainer))
    Trainer.updater.is_new_epoch = False
    assert fired + [trigger(Trainer), trigger(Trainer)] == [
        False, True, False, True, False, True]


@pytest.mark.parametrize('make, name', [
    (lambda: rnnlm.SnapshotTrigger(-1), 'seconds'),
    (lambda: rnnlm.SnapshotTrigger(numpy.nan), 'seconds'),
    (lambda: rnnlm.Snapshot(0), 'n_retains'),
    (lambda: rnnlm.LearningRateDecay(0, 6), 'decay'),
    (lambda: rnnlm.LearningRateDecay(1.2, -1), 'after_epoch'),
    (lambda: ReportTrigger(0), 'interval'),
    (lambda: EpochsTrigger(0), 'epochs')])
def test_wrong_arguments_are_refused(make, name):
    with pytest.raises(rnnlm.InputError, match=name + ': expected'):
        make()


def test_the_log_is_there_after_the_first_entry(tmp_path):
    trainer = make_trainer(small(), text(), tmp_path, stop=(3, 'iteration'))
    trainer.extend(rnnlm.Log((2, 'iteration'), rnnlm.add_perplexity))
    trainer.run()
    with open(tmp_path / 'log') as f:
        entry, = json.load(f)
    assert entry['iteration'] == 2
    assert entry['perplexity'] == pytest.approx(numpy.exp(entry['main/loss']))


def run_of(out, windows, model=None, **kwargs):
    trainer = make_trainer(model or small(), text(), out, stop=(windows, 'iteration'),
                           **kwargs)
    trainer.extend(rnnlm.Snapshot(n_retains=None), trigger=(2, 'iteration'))
    return trainer


def test_autoload_takes_the_newest_whole_one(tmp_path, caplog):
    whole = run_of(tmp_path / 'whole', 12)
    rnnlm.run(whole)
    out = tmp_path / 'out'
    rnnlm.run(run_of(out, 9))
    for n, damage in ((8, lambda data: data[:-100]), (6, lambda data: b'')):
        path = out / f'snapshot_iter_{n}'
        path.write_bytes(damage(path.read_bytes()))
    # A bit in the middle of the parameters, not part of a header.
    path = out / 'snapshot_iter_4'
    data = bytearray(path.read_bytes())
    with Npz(str(path)) as npz:
        weights = npz['updater/model:main/predictor/l3/W'].tobytes()
    data[data.index(weights) + 100] ^= 4
    path.write_bytes(bytes(data))
    (out / 'snapshot_iter_100').mkdir()

    trainer = run_of(out, 12)
    began = []
    trainer.extend(lambda t: began.append(t.updater.iteration), name='began')
    with caplog.at_level(logging.WARNING):
        assert rnnlm.run(trainer, autoload=True) == (0, None)
    assert began[0] == 3
    assert [record.getMessage().split(': ')[1] for record in caplog.records] == [
        str(out / f'snapshot_iter_{n}') for n in (100, 8, 6, 4)]
    assert_same_parameters(trainer, whole)
    with pytest.raises(rnnlm.InputError, match='found none'):
        newest_snapshot(str(tmp_path))


def test_autoload_without_a_snapshot_begins(tmp_path):
    trainer = run_of(tmp_path / 'new', 3)
    assert rnnlm.run(trainer, autoload=True) == (0, None)
    assert trainer.updater.iteration == 3


def test_no_byte_of_a_snapshot_goes_wrong_unseen(tmp_path):
    trainer = run_of(tmp_path / 'out', 2, small(n_vocab=20))
    rnnlm.run(trainer)
    data = (tmp_path / 'out' / 'snapshot_iter_2').read_bytes()
    path = tmp_path / 'damaged'

    def content():
        with Npz(str(path)) as npz:
            npz.verify()
            return {name: npz[name].tolist() for name in npz}

    path.write_bytes(data)
    whole = content()
    refused = 0
    positions = range(0, len(data), 13)
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(bytes(damaged))
        try:
            assert content() == whole, position  # padding, a date
        except rnnlm.InputError:
            refused += 1
    assert refused > 0.7 * len(positions)


class Plain(chainer.Chain):
    """A language model that is not ours."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(20, 6)
            self.lower = L.LSTM(6, 7)
            self.upper = L.StatefulGRU(7, 5)
            self.output = L.Linear(5, 20)

    def forward(self, x):
        h = F.dropout(self.lower(self.embed(x)), 0.3)
        return self.output(self.upper(h))


def another_model(out):
    numpy.random.seed(0)
    return make_trainer(L.Classifier(Plain()), text(), out)


def adam(out):
    model = small()
    optimizer = chainer.optimizers.Adam().setup(model)
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, 5)
    return training.Trainer(updater, (20, 'iteration'), out=str(out))


def early_stopping(out):
    model = small()
    trainer = make_trainer(model, text(), out)
    trainer.stop_trigger = rnnlm.EarlyStoppingTrigger(
        (3, 'iteration'), patience=2, max_trigger=(50, 'iteration'))
    return trainer


def falling_rate(out):
    trainer = make_trainer(small(), text(), out)
    trainer.extend(extensions.ExponentialShift('lr', 0.8), trigger=(2, 'iteration'))
    return trainer


def rate_by_best_value(out):
    trainer = make_trainer(small(), text(), out)
    trainer.extend(
        extensions.ExponentialShift('lr', 0.7), name='when it gets worse',
        trigger=triggers.MaxValueTrigger('main/loss', (2, 'iteration')))
    return trainer


def scaled_loss(out):
    trainer = make_trainer(small(), text(), out)
    trainer.updater.get_optimizer('main').loss_scaling(interval=4)
    return trainer


def mixed(out):
    with chainer.using_config('dtype', chainer.mixed16):
        trainer = make_trainer(small(), text(), out, lr=0.01)
    optimizer = trainer.updater.get_optimizer('main')
    optimizer.remove_hook('GradientClipping')
    set_up_mixed(optimizer, 5)
    return trainer


@pytest.mark.filterwarnings('ignore:Non finite number')  # the scale is too high yet
@pytest.mark.parametrize('make', [
    another_model, adam, early_stopping, falling_rate, rate_by_best_value, scaled_loss,
    mixed])
def test_everything_with_a_memory_resumes_exactly(tmp_path, make):
    def run(name, windows, snapshot=None):
        trainer = make(tmp_path / name)
        given = trainer.stop_trigger
        trainer.stop_trigger = Both(given, windows)
        if snapshot:
            numpy.random.rand(7)
            rnnlm.resume(snapshot, trainer)
        trainer.run()
        return trainer

    whole = run('whole', 23)
    first = run('first', 8)
    assert first.updater.iteration == 8
    path = rnnlm.Snapshot().write(first)
    second = run('second', 23, path)
    assert second.updater.iteration == whole.updater.iteration
    assert_same_parameters(second, whole)
    optimizers = [t.updater.get_optimizer('main') for t in (second, whole)]
    assert optimizers[0].hyperparam.get_dict() == optimizers[1].hyperparam.get_dict()
    assert optimizers[0]._loss_scale == optimizers[1]._loss_scale


def test_the_loss_scale_goes_on_as_it_would(tmp_path):
    """After a gradient that was not finite it grows slowly, before it doubles."""
    for was_nan in False, True:
        trainer = scaled_loss(tmp_path)
        trainer.stop_trigger = Both(trainer.stop_trigger, 1)
        trainer.run()
        optimizer = trainer.updater.get_optimizer('main')
        optimizer._loss_scale, optimizer._loss_scaling_isnan_ever = 64.0, was_nan
        path = rnnlm.Snapshot().write(trainer)
        resumed = scaled_loss(tmp_path)
        resumed.updater.get_optimizer('main')._loss_scaling_isnan_ever = not was_nan
        rnnlm.resume(path, resumed)
        scales = []
        for t in trainer, resumed:
            t.updater.update()
            scales.append(t.updater.get_optimizer('main')._loss_scale)
        assert scales[0] == scales[1] == 64 * (2 ** 0.25 if was_nan else 2)


@pytest.mark.parametrize('stop', [1, 2, 3, 4])
def test_early_stopping_goes_on_with_what_it_has_seen(tmp_path, stop):
    class Value(chainer.training.Extension):
        priority = chainer.training.PRIORITY_WRITER
        trigger = 1, 'iteration'

        def __call__(self, trainer):
            # In groups of three, the mean of the second is the lowest.
            value = [9, 0, 3, 6, 0, 0, 9, 9, 9][trainer.updater.iteration - 1]
            chainer.report({'value': value})

    def run(windows, snapshot=None):
        trainer = make_trainer(small(), text(), tmp_path)
        trigger = rnnlm.EarlyStoppingTrigger(
            (3, 'iteration'), monitor='value', max_trigger=(99, 'iteration'))
        trainer.stop_trigger = Both(trigger, windows)
        trainer.extend(Value())
        trainer.extend(rnnlm.Snapshot(n_retains=None), trigger=(1, 'iteration'))
        if snapshot:
            rnnlm.resume(snapshot, trainer)
        bests = []
        trainer.extend(lambda _: bests.append(trigger.best), name='bests',
                       trigger=(1, 'iteration'), priority=-200)
        trainer.run()
        return bests, trigger.best, trigger.count

    whole, best, count = run(9)
    assert (best, count) == (2, 1) and whole[3] == 4
    run(stop)
    resumed, *end = run(9, str(tmp_path / f'snapshot_iter_{stop}'))
    assert resumed == whole[stop:] and end == [best, count]


class Both:
    """A stop trigger that also ends after some windows."""

    def __init__(self, trigger, windows):
        self.trigger, self.windows = trigger, windows

    def __call__(self, trainer):
        return self.trigger(trainer) or trainer.updater.iteration >= self.windows

    def serialize(self, serializer):
        if hasattr(self.trigger, 'serialize'):
            self.trigger.serialize(serializer)

    def get_training_length(self):
        return self.trigger.get_training_length()
