"""A run resumes in the right place with the right options, and runs are not mixed."""
import json
import os
import signal

from chainer.training import triggers
from helpers import (
    TINY, assert_same_parameters, make_trainer, poisoned_above, small, text,
    tiny_corpus)
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, experiment
from rnnlm.app.recipes import Recipe
from rnnlm.serializers.snapshot_files import newest_snapshot


@pytest.fixture
def story(tmp_path, monkeypatch):
    """Returns a text, and the options of a small run on it."""
    monkeypatch.chdir(tmp_path)
    for name, line in ('story', 'the cat sat on the mat\n'), ('other', 'a dog ran\n'):
        (tmp_path / name).write_text(line * 60)
    return ['train', '--corpus', 'story', '-u', '4', '-b', '4', '-l', '5']


def run(*args, status=0):
    assert cli.main(list(args)) == status


def snapshots(folder):
    return sorted((name for name in os.listdir(folder) if 'snapshot' in name),
                  key=lambda name: int(name[14:]))


@pytest.mark.parametrize('window, expected', [(7, 0), (6, signal.SIGTERM)])
def test_a_signal_in_the_last_window_ends_nothing_early(tmp_path, window, expected):
    trainer = make_trainer(small(), text(), tmp_path, stop=(7, 'iteration'))
    trainer.extend(lambda t: t.updater.iteration == window and os.kill(
        os.getpid(), signal.SIGTERM), name='kill')
    number, snapshot = rnnlm.run(trainer)
    assert number == expected and (snapshot is not None) == bool(expected)


def test_going_on_in_another_folder(story, tmp_path, capsys):
    run(*story, '-e', '2', '-o', 'a')
    run(*story, '-e', '3', '-o', 'whole')
    last = f'a/{snapshots("a")[-1]}'
    # Resuming with another text is refused.
    run('train', '--corpus', 'other', '-u', '4', '-b', '4', '-l', '5', '-e', '1')
    before = {name: (tmp_path / 'result' / name).read_bytes()
              for name in os.listdir('result')}
    run(*story, '-e', '3', '--resume', last)  # in its own folder
    assert len(snapshots('a')) == 2 and snapshots('a') == snapshots('whole')
    assert before == {name: (tmp_path / 'result' / name).read_bytes()
                      for name in os.listdir('result')}
    # A new one is complete.
    run(*story, '-e', '3', '--resume', last, '-o', 'new')
    capsys.readouterr()
    run('evaluate', 'new')
    found = capsys.readouterr().out
    run('evaluate', 'whole')
    assert found == capsys.readouterr().out
    # A run without its best model is complete too.
    os.unlink('a/model.npz')
    run(*story, '-e', '3', '--resume', last, '-o', 'newer')
    run('evaluate', 'newer')


def test_an_older_snapshot_does_not_lose_the_newer_ones(story, capsys):
    run(*story, '-e', '2')
    older, newer = snapshots('result')
    run(*story, '-e', '3', '--resume', f'result/{older}', status=2)
    assert f'expected the newest snapshot of its folder, found result/{newer}' in (
        capsys.readouterr().err)
    run(*story, '-e', '3', '--resume', f'result/{older}', '-o', 'branch')
    assert snapshots('result') == [older, newer]


def test_damaged_newer_snapshots_do_not_replace_undamaged_ones(story, tmp_path):
    run(*story, '-e', '2')
    for number in 1000, 2000:
        (tmp_path / 'result' / f'snapshot_iter_{number}').write_bytes(b'PK')
    run(*story, '-e', '4', '--resume')
    names = snapshots('result')
    assert len(names) == 4
    whole = newest_snapshot('result')
    assert os.path.basename(whole) == names[1]


def test_changes_on_resume_are_stored(story, capsys):
    run(*story, '-e', '1', '--dropout', '0.2')
    run(*story, '-e', '2', '--dropout', '0.4', '--resume')
    run('train', '--resume')
    assert 'dropout 0.4' in capsys.readouterr().out
    with open('result/run.json') as f:
        recipe = json.load(f)['recipe']
    assert (recipe['dropout'], recipe['epochs']) == (0.4, 2)
    # Fewer epochs than before: they would be recorded, but are not what was trained.
    run('train', '--resume', '-e', '1', status=2)
    assert 'expected at least 2, the epochs' in capsys.readouterr().err
    with open('result/run.json') as f:
        assert json.load(f)['recipe'] == recipe


@pytest.mark.parametrize('flags, message', [
    (['--resume', '--overwrite'], '--overwrite cannot be combined'),
    (['--save-every', '-1'], '--save-every: expected minutes'),
    (['--save-every', 'nan'], '--save-every: expected minutes')])
def test_flags(story, capsys, flags, message):
    run(*story, *flags, status=2)
    assert message in capsys.readouterr().err
    assert not os.path.exists('result')


class Losses(rnnlm.PerplexityEvaluator):
    """Reports given losses, by epoch."""
    losses = 5, 3, 4, 4.5, 2, 1, 1, 1

    def evaluate(self):
        return {'validation/main/loss': self.losses[self.epoch() - 1]}


@pytest.mark.parametrize('snapshot', [1, 2, 3])
def test_early_stopping_by_validation_resumes_exactly(tmp_path, snapshot):
    def make(out):
        model = small()
        trainer = make_trainer(model, text(60), out, 3, 4)
        trainer.stop_trigger = rnnlm.EarlyStoppingTrigger(
            (1, 'epoch'), 'validation/main/loss', patience=2,
            max_trigger=(8, 'epoch'))
        valid = Losses(rnnlm.ParallelSequentialIterator(text(9), 1, False), model)
        valid.epoch = lambda: trainer.updater.epoch
        trainer.extend(valid, trigger=(1, 'epoch'))
        trainer.extend(rnnlm.Snapshot(None), trigger=(1, 'epoch'))
        return trainer

    whole = make(tmp_path / 'whole')
    whole.run()
    assert whole.updater.epoch == 4
    trainer = make(tmp_path / 'resumed')
    rnnlm.resume(str(tmp_path / 'whole' / f'snapshot_iter_{5 * snapshot}'), trainer)
    assert trainer.updater.epoch == snapshot
    trainer.run()
    assert trainer.updater.epoch == 4
    assert trainer.stop_trigger.best == whole.stop_trigger.best == 3
    assert_same_parameters(trainer, whole)


@pytest.mark.parametrize('decay, rate', [(2.0, 0.0), (0.5, numpy.inf)])
def test_decay_of_a_thousand_epochs(tmp_path, decay, rate):
    trainer = make_trainer(small(), text(), tmp_path)
    trainer.updater.get_iterator('main').epoch = 5000
    rnnlm.LearningRateDecay(decay, 2).initialize(trainer)
    assert trainer.updater.get_optimizer('main').lr == rate


def test_the_loss_of_a_model_that_is_not_in_the_file_is_not_saved(tmp_path):
    class Trainer:
        observation = {'validation/main/loss': 2.0}

    best = rnnlm.BestModel(small(), str(tmp_path / 'folder' / 'model.npz'))
    best(Trainer)
    path = str(tmp_path / 'best')
    rnnlm.save_npz(path, best)
    with numpy.load(path) as npz:
        assert npz['loss'] == numpy.inf
    (tmp_path / 'folder').mkdir()
    best.write()
    rnnlm.save_npz(path, best)
    with numpy.load(path) as npz:
        assert npz['loss'] == 2


def test_a_better_model_survives_a_rollback(tmp_path):
    class Trainer:
        observation = {'validation/main/loss': 2.0}

    path = str(tmp_path / 'model.npz')
    best, after = rnnlm.BestModel(small(), path), rnnlm.BestModel(small(), path)
    best(Trainer)
    after.loss = 3.0
    after.take_over(best)
    Trainer.observation = {'validation/main/loss': 2.5}
    before = (tmp_path / 'model.npz').read_bytes()
    after(Trainer)
    assert after.loss == 2 and (tmp_path / 'model.npz').read_bytes() == before


def test_a_signal_is_handled_before_a_rollback(tmp_path, monkeypatch):
    poisoned_above(0.3, monkeypatch, 17)
    update_core = rnnlm.BPTTUpdater.update_core

    def killed(self):
        if self.iteration == 17:
            os.kill(os.getpid(), signal.SIGTERM)
        update_core(self)

    monkeypatch.setattr(rnnlm.BPTTUpdater, 'update_core', killed)
    with pytest.raises(rnnlm.NotFinite) as e:
        experiment.train(
            tiny_corpus(), TINY, out=str(tmp_path), seed=0, on_nan='rollback')
    assert e.value.signal == signal.SIGTERM


def test_rollback_without_an_undamaged_snapshot(tmp_path, monkeypatch, capsys):
    poisoned_above(0.6, monkeypatch, 20)
    write = rnnlm.Snapshot.write

    def damaged(self, trainer):
        path = write(self, trainer)
        if trainer.updater.iteration == 15:
            os.truncate(path, 100)

    monkeypatch.setattr(rnnlm.Snapshot, 'write', damaged)
    experiment.train(
        tiny_corpus(), TINY, out=str(tmp_path), seed=0, on_nan='rollback')
    out = capsys.readouterr().out
    assert 'rollback to the start; learning rate multiplied by 0.5' in out


def test_rollback_from_a_snapshot_of_another_folder(tmp_path, monkeypatch, capsys):
    text, first = tiny_corpus(), str(tmp_path / 'first')
    experiment.train(text, Recipe(**{**vars(TINY), 'epochs': 1}), out=first, seed=0)
    snapshot = os.path.join(first, snapshots(first)[-1])
    poisoned_above(0.6, monkeypatch, 20)
    experiment.train(text, TINY, out=str(tmp_path / 'second'), resume=snapshot,
                     on_nan='rollback')
    out = capsys.readouterr().out
    copy = os.path.join(str(tmp_path / 'second'), os.path.basename(snapshot))
    assert f'rollback to {copy}; learning rate multiplied by 0.5' in out


def test_an_extension_can_change_the_stop_trigger(tmp_path):
    def longer(trainer):
        assert type(trainer.stop_trigger) is triggers.IntervalTrigger
        trainer.stop_trigger.period = 8

    trainer = make_trainer(small(), text(), tmp_path, stop=(5, 'iteration'))
    given = trainer.stop_trigger
    trainer.extend(longer, trigger=(1, 'iteration'))
    rnnlm.run(trainer)
    assert trainer.updater.iteration == 8 and trainer.stop_trigger is given
