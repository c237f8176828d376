"""A run resumed with changed options equals two runs that are configured by hand."""
import dataclasses
import json
import os
import shutil

import rnnlm

import chainer
from helpers import in_a_copy
import numpy
import pytest

from rnnlm.app import cli
from rnnlm.app.description import RunDescription
from rnnlm.app.recipes import flag_of
from rnnlm.serializers.snapshot_files import newest_snapshot
from rnnlm.training.evaluator import make_classifier

STORY = 'the cat sat on the mat\nthe dog saw the red cat\n' * 20
SMALL = ['-u', '4', '-b', '4', '-l', '5']


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    """A folder with a run of two epochs, at the rates 1 and 0.5."""
    folder = tmp_path_factory.mktemp('begun')
    (folder / 'story').write_text(STORY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(['train', '--corpus', 'story', *SMALL, '-e', '2', '--decay',
                         '2', '--decay-after', '1']) == 0
    return folder


@pytest.fixture
def story(begun, tmp_path, monkeypatch):
    return in_a_copy(begun, tmp_path, monkeypatch)


def parameters(snapshot):
    with numpy.load(snapshot, allow_pickle=True) as npz:
        return {name: npz[name] for name in npz if '/model:main/' in name}


def part_by_hand(recipe, snapshot, rates):
    """Parameters by the public parts alone; `rates` are those of epochs 3, 4, ..."""
    corpus = rnnlm.load_corpus('story')
    model = make_classifier(rnnlm.RNNForLM(
        len(corpus.vocabulary), recipe.n_units, dropout=recipe.dropout))
    optimizer = chainer.optimizers.SGD().setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(recipe.gradclip))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(corpus.train, recipe.batch_size), optimizer,
        recipe.bprop_len)
    trainer = chainer.training.Trainer(updater, (4, 'epoch'), out='hand')
    rnnlm.resume(snapshot, trainer)
    while updater.epoch < 4:
        optimizer.lr = rates[updater.epoch - 2]
        updater.update()
    return {f'updater/model:main/predictor{name}': param.array
            for name, param in model.predictor.namedparams()}


@pytest.mark.parametrize('flags, changes, rates', [
    (['--gradclip', '0.05'], dict(gradclip=0.05), (0.25, 0.125)),
    (['--dropout', '0.4'], dict(dropout=0.4), (0.25, 0.125)),
    (['--bproplen', '7'], dict(bprop_len=7), (0.25, 0.125)),
    (['--batchsize', '3'], dict(batch_size=3), (0.25, 0.125)),
    (['--decay', '4'], dict(decay=4.0), (0.125, 0.03125)),
    (['--decay-after', '3'], dict(decay_after=3), (0.5, 0.25)),
    (['--lr', '0.3'], dict(lr=0.3), (0.3, 0.15)),
    (['--lr', '0.3', '--decay', '1', '-b', '6', '-c', '1'],
     dict(lr=0.3, decay=1.0, batch_size=6, gradclip=1.0), (0.3, 0.3))])
def test_it_is_two_parts_by_hand(story, flags, changes, rates, capsys):
    first = RunDescription.load('result').recipe
    snapshot = newest_snapshot('result')
    shutil.copy(snapshot, 'first')
    capsys.readouterr()
    assert cli.main(['train', '--resume', 'result', '-e', '4', *flags]) == 0
    out = capsys.readouterr().out
    for name, value in changes.items():
        assert f'{flag_of(name)}: {getattr(first, name)} before, now {value}\n' in out
    log = json.loads((story / 'result' / 'log').read_text())
    numpy.testing.assert_allclose(
        [entry['lr'] for entry in log if 'val_perplexity' in entry], [1, 0.5, *rates])
    found = json.loads((story / 'result' / 'run.json').read_text())
    assert {name: found['recipe'][name] for name in changes} == changes
    window = int(snapshot.split('_')[-1])
    assert found['changes'] == [{'window': window, 'recipe': {
        'epochs': [2, 4], **{name: [getattr(first, name), value]
                             for name, value in changes.items()}}}]
    expected = part_by_hand(
        dataclasses.replace(first, **changes), 'first', rates)
    actual = parameters(newest_snapshot('result'))
    assert set(actual) == set(expected)
    for name in actual:
        numpy.testing.assert_array_equal(actual[name], expected[name])


def test_a_schedule_given_on_the_way_is_that_given_at_once(story):
    """What concerns later epochs alone gives the run that had it from the start."""
    assert cli.main(['train', '--corpus', 'story', *SMALL, '-e', '4', '--decay', '1',
                     '--decay-after', '0', '--out', 'a', '-e', '2']) == 0
    later = ['--decay', '3', '--decay-after', '2', '-e', '4']
    assert cli.main(['train', '--resume', 'a', *later]) == 0
    assert cli.main(
        ['train', '--corpus', 'story', *SMALL, '--out', 'b', *later]) == 0
    one, two = (parameters(newest_snapshot(folder)) for folder in 'ab')
    for name in one:
        numpy.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize('again', [[], ['--lr', '0.3']])
def test_a_change_is_not_lost_before_the_next_snapshot(story, monkeypatch, again):
    """The run that was changed is killed at once, and goes on without the flag."""
    shutil.copytree('result', 'other')
    assert cli.main(['train', '--resume', 'other', '-e', '3', '--lr', '0.3']) == 0
    with monkeypatch.context() as patch:
        patch.setattr(rnnlm.app.experiment, 'run', _killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                rnnlm.app.commands.train(cli.make_parser().parse_args(
                    ['train', '--resume', 'result', '-e', '3', '--lr', '0.3']))
    assert cli.main(['train', '--resume', 'result', *again]) == 0
    for name in 'log', 'run.json':
        one, two = (json.loads((story / folder / name).read_text())
                    for folder in ('result', 'other'))
        if name == 'log':
            one, two = ([entry['lr'] for entry in log] for log in (one, two))
        assert one == two
    one, two = (parameters(newest_snapshot(folder)) for folder in ('result', 'other'))
    for name in one:
        numpy.testing.assert_array_equal(one[name], two[name])


def _killed(trainer):
    raise KeyboardInterrupt


def test_a_change_holds_after_a_rollback(story, monkeypatch, capsys):
    """NaN in the first window after the resume: back to the snapshot of before."""
    update_core = rnnlm.BPTTUpdater.update_core
    first = []

    def poisoned(self):
        if not first:
            first.append(True)
            self.get_optimizer('main').target.predictor.l1.upward.W.array[0] = numpy.nan
        with numpy.errstate(invalid='ignore'):
            update_core(self)

    monkeypatch.setattr(rnnlm.BPTTUpdater, 'update_core', poisoned)
    assert cli.main(['train', '--resume', 'result', '-e', '3', '--lr', '0.3',
                     '--on-nan', 'rollback']) == 0
    assert 'rollback to result/snapshot_iter_' in capsys.readouterr().out
    log = json.loads((story / 'result' / 'log').read_text())
    assert log[-1]['lr'] == pytest.approx(0.15)


def test_several_changes_are_kept(story):
    for epochs, lr in (3, 0.3), (4, 0.2):
        assert cli.main(['train', '--resume', 'result', '-e', str(epochs), '--lr',
                         str(lr)]) == 0
    changes = json.loads((story / 'result' / 'run.json').read_text())['changes']
    assert [change['recipe'] for change in changes] == [
        {'epochs': [2, 3], 'lr': [1.0, 0.3]}, {'epochs': [3, 4], 'lr': [0.3, 0.2]}]
    described = RunDescription.load('result')
    first, second = (change['window'] for change in changes)
    assert [described.recipe_at(window).lr for window in (
        first, first + 1, second, second + 1)] == [1.0, 0.3, 0.3, 0.2]


def times():
    """When each file was written; that of the lock is set when it is taken."""
    return {name: os.stat(f'result/{name}').st_mtime
            for name in os.listdir('result') if name != '.lock'}


@pytest.mark.parametrize('flags, flag', [
    (['-u', '5'], '--unit'), (['--layer', '3'], '--layer'), (['--tied'], '--tied'),
    (['--optimizer', 'adam'], '--optimizer'), (['--embed', '9'], '--embed'),
    (['--precision', 'tf32'], '--precision'), (['--init-scale', '1'], '--init-scale')])
def test_what_cannot_change_is_refused(story, flags, flag, capsys):
    before = times()
    assert cli.main(['train', '--resume', 'result', '-e', '4', *flags]) == 2
    err = capsys.readouterr().err
    assert f'error: {flag}: expected ' in err and '--init-from' in err
    assert before == times()


def test_a_run_of_before_goes_on_with_a_change(story):
    """Its run.json has no seed, hash or changes, its snapshot no since."""
    described = json.loads((story / 'result' / 'run.json').read_text())
    for name in 'seed', 'init from', 'changes', 'text', 'computed by':
        del described[name]
    for name in 'optimizer', 'plateau_decay', 'patience', 'log_interval':
        del described['recipe'][name]
    (story / 'result' / 'run.json').write_text(json.dumps(described))
    snapshot = newest_snapshot('result')
    with numpy.load(snapshot, allow_pickle=True) as npz:
        old = {name: npz[name] for name in npz
               if name.split('/')[-1] not in ('since', 'best', 'waited')}
    for name in os.listdir('result'):
        if name.startswith('snapshot'):
            os.unlink(f'result/{name}')
    numpy.savez(snapshot, **old)
    os.rename(snapshot + '.npz', snapshot)
    assert cli.main(['train', '--resume', 'result', '-e', '3', '--lr', '0.3']) == 0
    assert json.loads((story / 'result' / 'log').read_text())[-1]['lr'] == 0.3
