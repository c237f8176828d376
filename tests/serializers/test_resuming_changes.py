"""Resuming with changes: the batch size, the extensions, the names of files."""
import logging
import os
import warnings

import chainer
from chainer import serializers
from chainer.training import extensions, triggers
from helpers import make_trainer, refused, small, text
import numpy
import pytest

import rnnlm
from rnnlm.serializers.archive import open_archive


def snapshot_of(tmp_path, B=4, windows=3, model=None, words=None, extend=()):
    trainer = make_trainer(model or small(), text() if words is None else words,
                           tmp_path, B=B, stop=(windows, 'iteration'))
    for extension in extend:
        trainer.extend(extension, trigger=(1, 'iteration'))
    trainer.run()
    path = str(tmp_path / 'snapshot')
    rnnlm.save_npz(path, trainer)
    return path


def messages(caplog):
    return [record.getMessage() for record in caplog.records
            if record.levelno >= logging.WARNING]


# Another batch size ----------------------------------------------------------

@pytest.mark.parametrize('B', [3, 5, 1, 19])
@pytest.mark.parametrize('load', [rnnlm.resume, serializers.load_npz])
@pytest.mark.parametrize('is_old', [False, True])
def test_another_batch_size(tmp_path, B, load, is_old, caplog):
    """States are reset, the text continues in windows, and a warning is logged."""
    path = snapshot_of(tmp_path, windows=12)
    if is_old:
        rewrite(path, lambda name: None if name.endswith('batch_size') else name)
    trainer = make_trainer(small(), text(), tmp_path, B=B, stop=(20, 'iteration'))
    load(path, trainer)
    message, = messages(caplog)
    assert f'the snapshot has batch size 4 and this run has {B}' in message
    iterator = trainer.updater.get_iterator('main')
    read = 12 * 5 * 4 / len(text())
    assert read <= iterator.epoch_detail < read + B / len(text())
    assert trainer.updater.get_optimizer('main').target.predictor.get_state() is None
    assert trainer.updater.why_per_step == ''
    epochs = []
    trainer.extend(lambda t: epochs.append(t.updater.epoch), name='epochs',
                   trigger=lambda t: t.updater.is_new_epoch)
    trainer.run()
    assert trainer.updater.iteration == 20
    assert epochs == list(range(2, trainer.updater.epoch + 1))


def rewrite(path, rename):
    with open_archive(path) as archive:
        arrays = {rename(name): archive[name] for name in archive if rename(name)}
    serializers.save_npz(path, arrays)


def test_an_epoch_that_ends_between_two_steps_is_not_lost(tmp_path):
    """Of 36 words 35 are read, by 7 streams; the next full step of 4 is the last."""
    words = text(36)
    path = snapshot_of(tmp_path, B=7, windows=1, words=words)
    trainer = make_trainer(small(), words, tmp_path, B=4, T=1, stop=(9, 'iteration'))
    rnnlm.resume(path, trainer)
    ends = []
    trainer.extend(lambda t: ends.append(t.updater.iteration), name='ends',
                   trigger=lambda t: t.updater.is_new_epoch)
    trainer.run()
    assert trainer.updater.epoch == 1 and ends == [2]


def test_invalid_batch_size(tmp_path):
    path = snapshot_of(tmp_path)
    with open_archive(path) as archive:
        arrays = {name: archive[name] for name in archive}
    for value in numpy.array(-3), numpy.array('x'), numpy.arange(3):
        serializers.save_npz(path, dict(arrays, **{'updater/state/batch_size': value}))
        with refused('snapshot'):
            rnnlm.resume(path, make_trainer(small(), text(), tmp_path))


# Other extensions ------------------------------------------------------------

class Counts(chainer.training.Extension):
    """Counts its calls."""
    trigger = 1, 'iteration'

    def __init__(self):
        self.count = 0

    def __call__(self, trainer):
        self.count += 1

    def serialize(self, serializer):
        self.count = serializer('count', self.count)


def test_added_and_removed_extensions(tmp_path, caplog):
    path = snapshot_of(tmp_path, extend=[extensions.LogReport(), Counts()])
    trainer = make_trainer(small(), text(), tmp_path, stop=(20, 'iteration'))
    kept, added = Counts(), extensions.LogReport(trigger=(2, 'epoch'))
    trainer.extend(kept)
    trainer.extend(added, name='AnotherLog')
    trainer.extend(extensions.StepShift('lr', .5, 4, init=1.))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        rnnlm.resume(path, trainer)
    assert [m.partition(': ')[2] for m in messages(caplog)] == [
        'the snapshot lacks the extension AnotherLog, which starts afresh',
        'the snapshot lacks the extension StepShift, which starts afresh',
        'ignored the saved extension LogReport, which the trainer does not have']
    assert list(trainer._extensions) == ['Counts', 'AnotherLog', 'StepShift']
    trainer.run()
    assert kept.count == 20 and trainer.updater.get_optimizer('main').lr == 1 / 16
    # A new trigger does not fire at once.
    assert [entry['epoch'] for entry in added.log] == [] and trainer.updater.epoch == 1


def test_another_trigger(tmp_path, caplog):
    """The extension continues, and its new trigger starts afresh."""
    path = snapshot_of(tmp_path, extend=[Counts()])
    trainer = make_trainer(small(), text(), tmp_path, stop=(20, 'iteration'))
    trainer.stop_trigger = rnnlm.EarlyStoppingTrigger(
        (1, 'epoch'), max_trigger=(7, 'iteration'))
    kept = Counts()
    trainer.extend(kept, trigger=triggers.MinValueTrigger('main/loss'))
    rnnlm.resume(path, trainer)
    assert messages(caplog) == [
        f'{path}: the snapshot lacks the stop trigger, which starts afresh']
    trainer.run()
    assert kept.count == 3 and trainer.updater.iteration == 7


def test_an_extension_of_another_kind_is_refused(tmp_path):
    """It has the name of a saved extension, and some of its keys."""
    class More(Counts):
        name = 'Counts'

        def serialize(self, serializer):
            super().serialize(serializer)
            serializer('more', 1)

    path = snapshot_of(tmp_path, extend=[Counts()])
    trainer = make_trainer(small(), text(), tmp_path)
    trainer.extend(More())
    before = dict(trainer._extensions)
    with refused('extensions of the same kinds', 'Counts/more'):
        rnnlm.resume(path, trainer)
    assert trainer._extensions == before


# Other names -----------------------------------------------------------------

def test_the_newest_by_what_is_inside(tmp_path, caplog):
    names = {3: 'snapshot_epoch_9', 5: 'snapshot_iter_5', 7: 'snapshot_epoch_1',
             8: 'snapshot_iter_1.npz'}
    for windows, name in names.items():
        os.replace(snapshot_of(tmp_path, windows=windows), tmp_path / name)
    rnnlm.save_npz(str(tmp_path / 'snapshot_epoch_99'), small())  # a model
    (tmp_path / 'snapshot_epoch_100').write_bytes(b'broken')
    trainer = make_trainer(small(), text(), tmp_path, stop=(10, 'iteration'))
    began = []
    trainer.extend(lambda t: began.append(t.updater.iteration), name='began',
                   trigger=(1, 'iteration'))
    rnnlm.run(trainer, autoload=True)
    assert began == [9, 10]
    (tmp_path / 'snapshot_iter_1.npz').write_bytes(b'broken')
    assert rnnlm.resume(tmp_path, make_trainer(small(), text(), tmp_path)) == str(
        tmp_path / 'snapshot_epoch_1')
