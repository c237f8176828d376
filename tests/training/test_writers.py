"""Chainer's own snapshots, written by `DurableWriter`."""
import errno
import os

from chainer import serializers
from chainer.training import extensions
from helpers import assert_same_parameters, make_trainer, small, text
import pytest

import rnnlm

SAVEFUNS = [{}, {'savefun': serializers.save_npz, 'compression': False},
            {'savefun': serializers.save_hdf5, 'compression': 1}]


def trainer_with(out, windows, writer, n_retains=-1):
    trainer = make_trainer(small(), text(), out, stop=(windows, 'iteration'))
    trainer.extend(extensions.LogReport())
    trainer.extend(extensions.snapshot(writer=writer, n_retains=n_retains),
                   trigger=(1, 'iteration'))
    return trainer


@pytest.mark.parametrize('kwargs', SAVEFUNS)
def test_a_run_goes_on_from_its_file(tmp_path, kwargs):
    whole = trainer_with(tmp_path, 7, rnnlm.DurableWriter(**kwargs), n_retains=3)
    whole.run()
    files = [f'snapshot_iter_{n}' for n in (5, 6, 7)]
    assert sorted(os.listdir(tmp_path)) == files
    resumed = trainer_with(tmp_path, 7, rnnlm.DurableWriter())
    rnnlm.resume(tmp_path / 'snapshot_iter_5', resumed)
    resumed.run()
    assert_same_parameters(resumed, whole)


@pytest.mark.parametrize('kwargs', SAVEFUNS)
def test_the_order_of_what_is_done(tmp_path, kwargs, monkeypatch):
    """The file is flushed before it gets its name; older ones are deleted later."""
    done = []
    for name in 'fsync', 'replace', 'remove':
        def call(*args, name=name, function=getattr(os, name)):
            done.append(name)
            return function(*args)
        monkeypatch.setattr(os, name, call)
    trainer_with(tmp_path, 2, rnnlm.DurableWriter(**kwargs), n_retains=1).run()
    of_snapshots = ['fsync', 'replace', 'fsync']
    assert [name for name in done if name in of_snapshots or name == 'remove'] == (
        of_snapshots * 2 + ['remove'])


@pytest.mark.parametrize('kwargs', SAVEFUNS)
def test_a_file_that_cannot_be_written_ends_nothing(
        tmp_path, kwargs, monkeypatch, caplog):
    fsync = os.fsync

    def full(handle):
        if trainer.updater.iteration == 3:
            raise OSError(errno.ENOSPC, 'No space left on device')
        fsync(handle)

    monkeypatch.setattr(os, 'fsync', full)
    trainer = trainer_with(tmp_path, 3, rnnlm.DurableWriter(**kwargs), n_retains=1)
    trainer.run()
    assert os.listdir(tmp_path) == ['snapshot_iter_2']
    message, = [record.getMessage() for record in caplog.records]
    assert 'snapshot_iter_3 could not be written (No space left' in message
