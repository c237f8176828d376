"""NaN and infinity end a run before anything is changed or saved."""
import json
import types

import chainer
from helpers import TINY, make_trainer, poisoned_above, small, text, tiny_corpus
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment
from rnnlm.kernels.cuda import transfer
from rnnlm.serializers.snapshot_files import newest_snapshot


@pytest.mark.parametrize('per_step', [False, True])
@pytest.mark.parametrize('bad', [numpy.nan, numpy.inf])
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, per_step, bad):
    model = small(dropout=0.0)
    trainer = make_trainer(model, text(), tmp_path, stop=(9, 'iteration'), lr=0.5,
                           per_step=per_step)
    trainer.extend(rnnlm.Snapshot(), trigger=(1, 'iteration'))

    def poison(trainer):
        if trainer.updater.iteration == 4:
            model.predictor.l2.upward.W.array[3, 2] = bad

    trainer.extend(poison, name='poison')
    with pytest.raises(rnnlm.NotFinite) as e, numpy.errstate(invalid='ignore'):
        rnnlm.run(trainer)
    # The snapshot of the 4th window is refused already; without it, the 5th window.
    assert 'window 4' in str(e.value) and '/predictor/l2/upward/W' in str(e.value)
    assert newest_snapshot(str(tmp_path)).endswith('snapshot_iter_3')


@pytest.mark.parametrize('make, rate', [
    (chainer.optimizers.SGD, '0.01'), (chainer.optimizers.Adam, '0.001')])
@pytest.mark.parametrize('clip', [False, True])
@pytest.mark.parametrize('bad', [numpy.nan, numpy.inf])
def test_a_refused_window_changes_nothing(make, rate, clip, bad):
    model = small(dropout=0.0)
    optimizer = make().setup(model)
    if clip:
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, 5)
    updater.update()
    model.predictor.l3.b.array[0] = bad
    before = [param.array.copy() for param in model.params()]
    with pytest.raises(rnnlm.NotFinite) as e, numpy.errstate(invalid='ignore'):
        updater.update()
    assert str(e.value).startswith('window 2: ')
    assert f'at the learning rate {rate}; first affected: /predictor/l3/b' in (
        str(e.value))
    for param, array in zip(model.params(), before):
        numpy.testing.assert_array_equal(param.array, array)


class InfiniteSlope(chainer.Chain):
    """Chain with a finite loss whose gradient of one parameter is infinite."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.w = chainer.Parameter(numpy.zeros(20, 'f'))

    def forward(self, x):
        ones = numpy.ones((len(x), 1), 'f')
        return ones * chainer.functions.broadcast_to(
            chainer.functions.sqrt(self.w), (len(x), 20))


def test_a_gradient_that_is_not_finite_ends_the_run():
    optimizer = chainer.optimizers.SGD().setup(
        chainer.links.Classifier(InfiniteSlope()))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(text(), 4), optimizer, 5)
    with pytest.raises(rnnlm.NotFinite, match='loss 14.9.* first affected: the '
                       'gradient of /predictor/w'), numpy.errstate(all='ignore'):
        updater.update()
    assert not optimizer.target.predictor.w.array.any()


def test_the_check_can_be_left_out(tmp_path):
    model = small(dropout=0.0)
    trainer = make_trainer(model, text(), tmp_path, stop=(3, 'iteration'),
                           check_finite=False)
    model.predictor.embed.W.array[...] = numpy.nan
    with numpy.errstate(invalid='ignore'):
        trainer.run()
    assert trainer.updater.iteration == 3


def test_on_a_gpu_the_loss_is_checked_one_window_later(monkeypatch):
    monkeypatch.setattr(rnnlm.training.nan_check.backend, 'get_array_module',
                        lambda x: 'cupy' if isinstance(x, float) else numpy)
    monkeypatch.setattr(transfer, 'Later', lambda xp, x: types.SimpleNamespace(
        read=lambda: [x]))

    class Updater:
        iteration = 0

        def get_optimizer(self, name):
            return chainer.optimizers.SGD(lr=2).setup(small())

    check, updater = rnnlm.training.nan_check.FiniteCheck(), Updater()
    for loss in 3.0, numpy.nan:
        check(updater, loss)
        updater.iteration += 1
    with pytest.raises(rnnlm.NotFinite, match='window 2: .*learning rate 2'):
        check(updater, 1.0)


@pytest.mark.parametrize('window, where', [(7, 'the start'), (25, 'iter_15')])
def test_rollback(tmp_path, monkeypatch, capsys, window, where):
    poisoned_above(0.3, monkeypatch, window)
    result = experiment.train(
        tiny_corpus(), TINY, out=str(tmp_path), seed=0, on_nan='rollback')
    assert result['signal'] == 0
    out = capsys.readouterr().out
    assert f'window {window + 1}: ' in out and 'affected: /predictor/l1/upward/W' in out
    backs = [line for line in out.splitlines() if line.startswith('rollback ')]
    assert [where in line for line in backs] == [True, True]
    assert [line.split()[-1] for line in backs] == ['0.5', '0.25']
    log = json.loads((tmp_path / 'log').read_text())
    assert [entry['lr'] for entry in log][-1] == 0.25
    assert [entry['epoch'] for entry in log if 'val_perplexity' in entry] == [1, 2, 3]


def test_rollback_gives_up(tmp_path, monkeypatch):
    poisoned_above(0.0, monkeypatch, 25)
    with pytest.raises(rnnlm.NotFinite, match='window 26'):
        experiment.train(
            tiny_corpus(), TINY, out=str(tmp_path), seed=0, on_nan='rollback')
    assert newest_snapshot(str(tmp_path)).endswith('snapshot_iter_15')


def test_the_command_names_the_window(tmp_path, monkeypatch, capsys):
    poisoned_above(0.0, monkeypatch, 3)
    assert cli.main(['train', '-u', '4', '--out', str(tmp_path / 'out')]) == 1
    err = capsys.readouterr().err
    assert err.startswith('rnnlm train: error: window 4: ') and err.count('\n') == 1
    assert '--on-nan rollback' in err


def test_later_waits_on_the_device_of_its_array():
    """CUDA streams and events belong to the current device."""
    done = []

    class Device:
        def __enter__(self):
            done.append('device')

        def __exit__(self, *_):
            done.append('back')

    class Memory(bytearray):
        ptr = 0

    memory = Memory(16)

    def number(value, dtype):
        def copy(address, size):
            memory[address:address + size] = numpy.array(value, dtype).tobytes()
            done.append('copy')

        dtype = numpy.dtype(dtype)
        return types.SimpleNamespace(
            device=Device(), dtype=dtype, nbytes=dtype.itemsize,
            data=types.SimpleNamespace(copy_to_host_async=copy))

    event = types.SimpleNamespace(record=lambda: done.append('record'),
                                  synchronize=lambda: done.append('wait'))
    xp = types.SimpleNamespace(cuda=types.SimpleNamespace(
        alloc_pinned_memory=lambda size: memory, Event=lambda disable_timing: event))
    numbers = number(3.5, 'f'), number(0.1, 'd')
    assert transfer.Later(xp, *numbers).read() == [3.5, 0.1]
    assert done == ['device', 'copy', 'copy', 'record', 'back', 'wait']
