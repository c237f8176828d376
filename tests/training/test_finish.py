"""The end of a run: files that could not be written before are written or reported."""
import dataclasses
import errno
import json
import os

from helpers import TINY, make_trainer, small, text, tiny_corpus
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment
from rnnlm.serializers import atomic

NAMES = 'log', 'perplexity.png', 'model.npz'


@pytest.fixture
def story(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'story').write_text('the cat sat on the mat\n' * 60)
    return ['train', '--corpus', 'story', '-u', '4', '-b', '4', '-l', '5', '-e', '2']


def entries(path='result/log'):
    with open(path) as f:
        return [{key: entry[key] for key in entry if key not in (
            'elapsed_time', 'words/s')} for entry in json.load(f)]


def model(path='result/model.npz'):
    with numpy.load(path) as npz:
        return {name: npz[name] for name in npz}


def assert_same(one, other):
    assert set(one) == set(other)
    for name in one:
        numpy.testing.assert_array_equal(one[name], other[name])


def lost(name, monkeypatch):
    """Makes replacing a file of this name fail."""
    real = os.replace

    def replace(source, target):
        if os.path.basename(target) == name:
            raise OSError(errno.ENOSPC, 'No space left on device', target)
        return real(source, target)

    monkeypatch.setattr(os, 'replace', replace)


@pytest.mark.parametrize('name', NAMES)
def test_a_last_file_that_cannot_be_written(story, monkeypatch, capsys, name):
    if name == 'perplexity.png':
        pytest.importorskip('matplotlib')
    assert cli.main([*story, '--out', 'whole']) == 0
    with monkeypatch.context() as patch:
        lost(name, patch)
        assert cli.main(story) == 1
    assert f'{name}: No space left on device; earlier snapshots are intact' in (
        capsys.readouterr().err)
    assert not os.path.exists(f'result/{name}')
    assert cli.main([*story, '--resume']) == 0
    assert os.path.getsize(f'result/{name}') > 100
    assert entries() == entries('whole/log')
    assert_same(model(), model('whole/model.npz'))


def test_a_last_snapshot_that_cannot_be_written(story, monkeypatch, capsys):
    assert cli.main([*story, '--out', 'whole']) == 0
    first, last = sorted((name for name in os.listdir('whole') if 'snap' in name),
                         key=lambda name: (len(name), name))
    with monkeypatch.context() as patch:
        lost(last, patch)
        assert cli.main(story) == 1
    assert f'{last}: No space left' in capsys.readouterr().err
    assert os.path.exists(f'result/{first}')
    assert cli.main([*story, '--resume']) == 0
    assert entries() == entries('whole/log')
    assert_same(model(), model('whole/model.npz'))


@pytest.mark.parametrize('name', NAMES)
def test_what_was_deleted_of_a_finished_run_is_written_again(story, name):
    if name == 'perplexity.png':
        pytest.importorskip('matplotlib')
    assert cli.main(story) == 0
    log, best = entries(), model()
    for damage in None, b'', b'garbage':
        if damage is None:
            os.unlink(f'result/{name}')
        else:
            with open(f'result/{name}', 'wb') as f:
                f.write(damage)
        assert cli.main([*story, '--resume']) == 0
        assert entries() == log
        assert_same(model(), best)


def rising(monkeypatch, losses):
    """Replaces the validation losses of the epochs by given ones."""
    evaluate = rnnlm.PerplexityEvaluator.evaluate
    epochs = []

    def fixed(self):
        evaluate(self)
        epochs.append(None)
        return {'validation/main/loss': losses[(len(epochs) - 1) % len(losses)]}

    monkeypatch.setattr(rnnlm.PerplexityEvaluator, 'evaluate', fixed)


def test_the_best_model_comes_back_not_the_last(tmp_path, monkeypatch):
    """The file could not be written during the run, but the snapshots have it."""
    corpus, out = tiny_corpus(), str(tmp_path / 'out')
    recipe = dataclasses.replace(TINY, epochs=4)
    with monkeypatch.context() as patch:
        rising(patch, [1.0, 2.0, 3.0, 4.0])
        experiment.train(corpus, recipe, out=str(tmp_path / 'whole'), seed=0)
    with monkeypatch.context() as patch:
        rising(patch, [1.0, 2.0, 3.0, 4.0])
        lost('model.npz', patch)
        with pytest.raises(OSError, match='No space left'):
            experiment.train(corpus, recipe, out=out, seed=0)
    experiment.train(corpus, recipe, out=out, resume=out)
    assert_same(model(f'{out}/model.npz'), model(tmp_path / 'whole' / 'model.npz'))


def test_a_best_model_that_is_lost_is_said(tmp_path, monkeypatch, caplog, capsys):
    corpus, out = tiny_corpus(), str(tmp_path / 'out')
    recipe = dataclasses.replace(TINY, epochs=3)
    with monkeypatch.context() as patch:
        rising(patch, [1.0, 2.0, 3.0])
        experiment.train(corpus, recipe, out=out, seed=0)
    os.unlink(f'{out}/model.npz')
    with pytest.raises(OSError, match='the best model, of window 15, found neither'):
        experiment.train(corpus, recipe, out=out, resume=out)
    assert not os.path.exists(f'{out}/model.npz')
    # With more epochs there is a best one again, and a warning.
    with monkeypatch.context() as patch:
        rising(patch, [4.0])
        experiment.train(corpus, dataclasses.replace(TINY, epochs=4), out=out,
                         resume=out)
    assert 'the best model from now on is kept' in caplog.text
    assert os.path.exists(f'{out}/model.npz')


def test_the_best_model_is_taken_from_its_snapshot(tmp_path, monkeypatch):
    corpus, out = tiny_corpus(), str(tmp_path / 'out')
    recipe = dataclasses.replace(TINY, epochs=3)
    with monkeypatch.context() as patch:
        rising(patch, [3.0, 1.0, 2.0])
        experiment.train(corpus, recipe, out=out, seed=0)
    best = model(f'{out}/model.npz')
    os.unlink(f'{out}/model.npz')
    experiment.train(corpus, recipe, out=out, resume=out)
    assert_same(model(f'{out}/model.npz'), best)


def test_an_older_snapshot_whose_best_model_is_gone(tmp_path):
    """Its window is found in the log."""
    corpus, out = tiny_corpus(), str(tmp_path)
    recipe = dataclasses.replace(TINY, epochs=1)
    experiment.train(corpus, recipe, out=out, seed=0)
    best, path = model(f'{out}/model.npz'), f'{out}/snapshot_iter_15'
    with numpy.load(path, allow_pickle=True) as npz:
        arrays = {name: npz[name] for name in npz}
    del arrays['extensions/BestModel/window']
    rnnlm.save_npz(path, arrays)
    os.unlink(f'{out}/model.npz')
    experiment.train(corpus, recipe, out=out, resume=out)
    assert_same(model(f'{out}/model.npz'), best)


def test_a_snapshot_without_the_window_of_the_best_model(tmp_path):
    """Snapshots of version 0.2 have only the loss."""
    best = rnnlm.BestModel(small(), str(tmp_path / 'model.npz'))
    path = str(tmp_path / 'old')
    rnnlm.save_npz(path, {'loss': numpy.array(2.5)})
    with numpy.load(path) as npz:
        best.serialize(chainer_deserializer(npz))
    assert (best.loss, best.window) == (2.5, None)


def chainer_deserializer(npz):
    from rnnlm.serializers.loading import Deserializer
    return Deserializer(npz)


def test_the_flush_of_a_folder_that_fails_keeps_the_older_snapshots(
        tmp_path, monkeypatch, caplog):
    trainer = make_trainer(small(), text(), tmp_path, stop=(6, 'iteration'))
    trainer.extend(rnnlm.Snapshot(n_retains=1), trigger=(2, 'iteration'))
    real, failed = atomic.sync_folder, []

    def sync(folder):
        if trainer.updater.iteration == 4 and not failed:
            failed.append(sorted(os.listdir(folder)))
            raise OSError(errno.EIO, 'Input/output error', folder)
        real(folder)

    monkeypatch.setattr(atomic, 'sync_folder', sync)
    seen = []
    trainer.extend(lambda t: seen.append(sorted(os.listdir(tmp_path))), name='seen',
                   priority=-200, trigger=(2, 'iteration'))
    assert rnnlm.run(trainer) == (0, None)
    assert seen == [['snapshot_iter_2'], ['snapshot_iter_2', 'snapshot_iter_4'],
                    ['snapshot_iter_6']]
    assert 'a snapshot could not be written (Input/output error)' in caplog.text


@pytest.mark.parametrize('error, raised', [
    (errno.EIO, True), (errno.ENOSPC, True), (errno.EINVAL, False),
    (errno.ENOTSUP, False)])
def test_only_what_cannot_be_flushed_is_passed_over(tmp_path, monkeypatch, error,
                                                    raised):
    def fsync(handle):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, 'fsync', fsync)
    if raised:
        with pytest.raises(OSError):
            atomic.sync_folder(str(tmp_path))
    else:
        atomic.sync_folder(str(tmp_path))


def test_a_limit_of_the_size_of_files_ends_with_status_1(story, capsys):
    resource = pytest.importorskip('resource')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limits[1]))
    try:
        assert cli.main(story) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 'File too large' in capsys.readouterr().err
    assert not [name for name in os.listdir('result') if name.endswith('.part')]
    assert cli.main([*story, '--overwrite']) == 0
