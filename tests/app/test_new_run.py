"""What is in the folder of a run before it begins, and what becomes of it."""
import dataclasses
import errno
import json
import os
import random
import shutil
import socket

import chainer
from helpers import TINY, tiny_corpus
import numpy
import pytest

import rnnlm
from rnnlm.app import cli, description, experiment, new_run
from rnnlm.data import corpus
from rnnlm.serializers import atomic

pytestmark = pytest.mark.slow

NAMES = ('log', 'model.npz', 'perplexity.png', 'result.json', 'run.json',
         'vocabulary.json', 'snapshot_iter_15', 'snapshot_iter_30', 'snapshot_iter_45')

ONE = dataclasses.replace(TINY, epochs=1)


def train(out, recipe=ONE, **more):
    return experiment.train(tiny_corpus(), recipe, out=str(out), seed=0, **more)


def content(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))
            if (folder / name).is_file()}


def parameters(path):
    with numpy.load(path, allow_pickle=True) as npz:
        return {name: npz[name] for name in npz if name.startswith('updater/model')}


def assert_equal(path, other):
    one, two = parameters(path), parameters(other)
    assert one and set(one) == set(two)
    for name in one:
        numpy.testing.assert_array_equal(one[name], two[name])


@pytest.fixture
def story(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'story').write_text('the cat sat on the mat\n' * 60)
    return ['train', '--corpus', 'story', '-u', '4', '-b', '4', '-l', '5', '-e', '1']


@pytest.mark.parametrize('resumed', [False, True])
@pytest.mark.parametrize('dangling', [False, True])
def test_links_are_replaced(tmp_path, resumed, dangling):
    out, victims = tmp_path / 'out', tmp_path / 'victims'
    victims.mkdir()
    out.mkdir()
    if resumed:
        train(out)
    for name in NAMES:
        if not (resumed and name in ('run.json', 'snapshot_iter_15')):
            if not dangling:
                (victims / name).write_bytes(b'precious')
            (out / name).unlink(missing_ok=True)
            (out / name).symlink_to(victims / name)
    recipe = dataclasses.replace(TINY, epochs=2 if resumed else 1)
    if resumed:
        train(out, recipe, resume=str(out))
    else:
        with pytest.raises(rnnlm.InputError, match='without a run'):
            train(out, recipe)
        train(out, recipe, overwrite=True)
    for name in os.listdir(victims):
        assert (victims / name).read_bytes() == b'precious'
    assert len(os.listdir(victims)) == (0 if dangling else len(NAMES) - 2 * resumed)
    for name in 'log', 'model.npz', 'run.json', 'vocabulary.json':
        assert not (out / name).is_symlink() and (out / name).stat().st_size > 20


@pytest.mark.parametrize('name', [*NAMES, '.lock'])
@pytest.mark.parametrize('kind', ['folder', 'pipe', 'socket', 'device'])
def test_what_is_no_file_is_refused(tmp_path, monkeypatch, name, kind):
    out = tmp_path / 'out'
    out.mkdir()
    if name == 'snapshot_iter_15':
        (out / name).write_bytes(b'')
        name = 'snapshot_iter_30'
    monkeypatch.chdir(out)  # the name of a socket must be short
    if kind == 'folder':
        os.mkdir(name)
    elif kind == 'pipe':
        os.mkfifo(name)
    elif kind == 'socket':
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(name)
    else:
        os.symlink('/dev/zero', name)
    before = sorted(os.listdir(out))
    with pytest.raises(rnnlm.InputError, match='expected a file') as e:
        train(out, overwrite=True)
    assert str(e.value).startswith(str(out / name))
    assert [one for one in sorted(os.listdir(out)) if one != '.lock'] == [
        one for one in before if one != '.lock']


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_a_link_for_the_lock_is_not_emptied(tmp_path, link):
    (tmp_path / 'precious').write_bytes(b'precious')
    (tmp_path / 'out').mkdir()
    link(tmp_path / 'precious', tmp_path / 'out' / '.lock')
    with pytest.raises(rnnlm.InputError, match='found a link'):
        train(tmp_path / 'out')
    assert (tmp_path / 'precious').read_bytes() == b'precious'


def test_names_that_only_look_like_ours_stay(tmp_path):
    names = ['snapshot_iter_\u0663', 'snapshot_iter_007', 'snapshot_iter_-1',
             'snapshot_iter', 'snapshot_iter_1.bak', 'Snapshot_iter_1', 'ø', 'a' * 255,
             '\udcff', 'snapshot_iter_1\n', '.x.part', 'log.txt']
    for name in names:
        (tmp_path / name).write_bytes(b'mine')
    (tmp_path / ('snapshot_iter_' + '9' * 200)).write_bytes(b'garbage')
    (tmp_path / '.lock').write_bytes(b'stale')
    (tmp_path / 'log').write_bytes(b'\x00garbage')
    train(tmp_path, overwrite=True)
    recipe = dataclasses.replace(TINY, epochs=2)
    (tmp_path / 'log').write_bytes(b'\x00garbage')
    (tmp_path / ('snapshot_iter_' + '9' * 200)).write_bytes(b'garbage')
    train(tmp_path, recipe, resume=str(tmp_path))
    for name in names:
        assert (tmp_path / name).read_bytes() == b'mine'
    assert len(json.loads((tmp_path / 'log').read_text())) == 2


def test_a_snapshot_of_another_name_does_not_hide_the_newer_ones(tmp_path):
    train(tmp_path / 'whole', TINY)
    out = tmp_path / 'out'
    train(out)
    shutil.copy(out / 'snapshot_iter_15', out / 'snapshot_iter_1000')
    train(out, dataclasses.replace(TINY, epochs=2), resume=str(out))
    train(out, TINY, resume=str(out))
    assert_equal(out / 'snapshot_iter_45', tmp_path / 'whole' / 'snapshot_iter_45')


def failing(monkeypatch, function, which, error=errno.EIO):
    """Lets the calls fail of which `which`, given their first argument, says so."""
    real = getattr(os, function)

    def call(first, *rest, **kwargs):
        if which(first):
            raise OSError(error, os.strerror(error))
        return real(first, *rest, **kwargs)

    monkeypatch.setattr(os, function, call)


@pytest.mark.parametrize('function', ['open', 'fsync', 'replace'])
def test_overwriting_deletes_nothing_when_the_new_cannot_be_written(
        tmp_path, monkeypatch, function, capsys, story):
    assert cli.main(story) == 0
    before = content(tmp_path / 'result')
    calls = []
    with monkeypatch.context() as patch:
        if function == 'open':
            patch.setattr('builtins.open', _no_parts(open))
        elif function == 'fsync':
            failing(patch, 'fsync', lambda fd: calls.append(fd) or len(calls) == 2)
        else:
            failing(patch, 'replace', lambda path: 'vocabulary' in str(path))
        assert cli.main([*story, '--overwrite']) == 1
    err = capsys.readouterr().err
    if function == 'replace':
        # The one call after the deletion; which the message then says.
        assert 'the earlier run in result is deleted' in err
        assert cli.main(story) == 0
    else:
        assert 'the earlier run in result is unchanged' in err and '--resume' not in err
        assert content(tmp_path / 'result') == before


def _no_parts(real):
    def call(path, *args, **kwargs):
        if str(path).endswith('.part'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, *args, **kwargs)
    return call


def test_overwriting_says_what_is_deleted(tmp_path, monkeypatch, story, capsys):
    assert cli.main([*story, '-e', '2']) == 0
    names = sorted(path.name for path in (tmp_path / 'result').glob('snapshot_*'))
    with monkeypatch.context() as patch:
        failing(patch, 'unlink', lambda path: str(path).endswith(names[-1]))
        assert cli.main([*story, '--overwrite']) == 1
    err = capsys.readouterr().err
    assert f'{names[-1]}: the earlier run cannot be deleted' in err
    assert f'log, perplexity.png, result.json, {names[0]} are deleted' in err
    # What is left is the earlier run: it goes on, or may be deleted.
    assert cli.main([*story, '-e', '3', '--resume']) == 0
    assert cli.main([*story, '--overwrite']) == 0


def test_the_text_is_not_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkdir('result')
    text = b'the cat sat on the mat\n' * 60
    for name in 'log', 'vocabulary.json':
        (tmp_path / 'result' / name).write_bytes(text)
        os.link(f'result/{name}', name + '.txt')
        os.symlink(f'result/{name}', name + ' link')
        for given in f'result/{name}', f'{name}.txt', f'{name} link':
            assert cli.main(['train', '--corpus', given, '--overwrite']) == 2
            assert 'expected a file that may be overwritten, found the text' in (
                capsys.readouterr().err)
        assert (tmp_path / 'result' / name).read_bytes() == text
        os.unlink(f'result/{name}')


def test_the_text_of_a_resumed_run_is_the_same(story, tmp_path, capsys):
    assert cli.main([*story, '-e', '1']) == 0
    described = json.loads((tmp_path / 'result' / 'run.json').read_text())
    lines = ['the cat sat on the mat'] * 60
    lines[20] = 'the mat sat on the cat'
    (tmp_path / 'story').write_text('\n'.join(lines))
    assert cli.main([*story, '-e', '2', '--resume']) == 2
    assert 'story: expected the text of the run to be resumed' in (
        capsys.readouterr().err)
    # A run of before has no hash.
    del described['text'], described['computed by']
    (tmp_path / 'result' / 'run.json').write_text(json.dumps(described))
    assert cli.main([*story, '-e', '2', '--resume']) == 0
    assert json.loads((tmp_path / 'result' / 'run.json').read_text())['text']


def test_the_hash_of_a_text():
    words, other = numpy.arange(20) % 5, numpy.arange(20)[::-1] % 5
    names = corpus.Vocabulary('abcde')
    hashes = {description.hash_of_text(corpus.Corpus('x', *parts, names)) for parts in (
        (words, words, other), (words, other, words), (words[:19], words, other),
        (words[:10], words[10:], other))}
    assert len(hashes) == 4
    for kind in 'i', 'q', '>i4':
        assert description.hash_of_text(corpus.Corpus(
            'x', words.astype(kind), words, other, names)) in hashes


def test_a_vocabulary_of_another_run_is_refused(story, tmp_path, capsys):
    assert cli.main(story) == 0
    path = tmp_path / 'result' / 'vocabulary.json'
    found = json.loads(path.read_text())
    found['words'][:2] = found['words'][1::-1]
    path.write_text(json.dumps(found))
    for command in (['evaluate'], ['generate'], ['convert', 'result', 'x.safetensors'],
                    ['score', 'result', 'story'], ['interpolate', 'result', 'result']):
        capsys.readouterr()
        assert cli.main(command) == 2
        assert 'expected the vocabulary of the run' in capsys.readouterr().err
    with pytest.raises(rnnlm.InputError, match='vocabulary of the run'):
        rnnlm.load('result')
    assert cli.main([*story, '--resume']) == 0  # puts it back
    assert cli.main(['evaluate']) == 0


def test_what_computes_is_kept(story, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rnnlm.kernels, 'enabled', True)
    assert cli.main([*story, '-e', '1']) == 0
    now = json.loads((tmp_path / 'result' / 'run.json').read_text())['computed by']
    assert set(now) == {'device', 'rnnlm', 'kernels', 'NumPy', 'BLAS'}
    assert now['device'] == '@numpy' and now['NumPy'] == numpy.__version__
    capsys.readouterr()
    assert cli.main([*story, '-e', '2', '--resume']) == 0
    assert 'differ by rounding' not in capsys.readouterr().out
    monkeypatch.setattr(rnnlm.kernels, 'enabled', False)
    assert cli.main([*story, '-e', '3', '--resume']) == 0
    out = capsys.readouterr().out
    if now['kernels'] == 'compiled':
        assert 'kernels: compiled before, now NumPy; the numbers differ' in out
    assert new_run.changes({}, now) == []


def test_a_run_in_another_folder_goes_on_from_any_point(tmp_path, monkeypatch):
    """It is stopped before each of the files that are made first, and goes on."""
    whole, two = tmp_path / 'whole', dataclasses.replace(TINY, epochs=2)
    train(whole, two)
    train(tmp_path / 'first')
    snapshot = str(tmp_path / 'first' / 'snapshot_iter_15')
    for stop_at in range(6):
        out, calls = tmp_path / f'out {stop_at}', []

        def replace(*paths, real=os.replace):
            calls.append(paths)
            if len(calls) > stop_at:
                raise KeyboardInterrupt
            return real(*paths)

        with monkeypatch.context() as patch:
            patch.setattr(os, 'replace', replace)
            with pytest.raises(KeyboardInterrupt):
                train(out, two, resume=snapshot, save_every=0)
        if (out / 'snapshot_iter_16').exists():
            with pytest.raises(rnnlm.InputError, match='resume that run with: rnnlm'):
                train(out, two, resume=snapshot)
            train(out, two, resume=str(out))
        else:  # the same command again
            train(out, two, resume=snapshot)
        assert_equal(out / 'snapshot_iter_30', whole / 'snapshot_iter_30')
    assert stop_at == 5 and (out / 'snapshot_iter_30').exists()


def test_a_branch_does_not_get_a_later_model(tmp_path, monkeypatch):
    """The best model of a snapshot, not that of what its run came to after it."""
    out = tmp_path / 'out'
    train(out, TINY)
    with numpy.load(out / 'snapshot_iter_30', allow_pickle=True) as npz:
        early = {name: npz[name] for name in npz}
    with numpy.load(out / 'snapshot_iter_45', allow_pickle=True) as npz:
        assert npz['extensions/BestModel/window'] == 45
    assert early['extensions/BestModel/window'] == 30
    train(tmp_path / 'branch', dataclasses.replace(TINY, epochs=2),
          resume=str(out / 'snapshot_iter_30'))
    with numpy.load(tmp_path / 'branch' / 'model.npz') as model:
        for name in model:
            numpy.testing.assert_array_equal(
                model[name], early['updater/model:main/' + name])


@pytest.mark.parametrize('device', [False, True])
def test_a_pipe_for_a_model_is_not_copied(tmp_path, device):
    """It would be waited for, and of /dev/zero there is no end."""
    out, branch = tmp_path / 'out', tmp_path / 'branch'
    train(out)
    os.remove(out / 'model.npz')
    if device:
        (out / 'model.npz').symlink_to('/dev/zero')
    else:
        os.mkfifo(out / 'model.npz')
    train(branch, dataclasses.replace(TINY, epochs=2), resume=str(out))
    assert (branch / 'model.npz').is_file()


def test_any_mixture_of_files_is_refused_or_trained_in(tmp_path):
    """Folders with anything in them: no traceback, and what is not ours stays."""
    source = tmp_path / 'source'
    train(source, TINY)
    draw = random.Random(0)
    for number in range(25):
        out = tmp_path / str(number)
        out.mkdir()
        kept = out / 'mine'
        kept.write_bytes(b'mine')
        for name in draw.sample(NAMES + ('.lock', '.log.01234567.part'), 5):
            how = draw.randrange(6)
            if how == 0:
                (out / name).mkdir()
            elif how == 1:
                (out / name).symlink_to(kept)
            elif how == 2:
                (out / name).write_bytes(draw.randbytes(draw.randrange(3000)))
            elif (source / name).exists():
                data = (source / name).read_bytes()
                (out / name).write_bytes(
                    data[:draw.randrange(len(data) or 1)] if how == 3 else data)
                (out / name).chmod(0o400)
        how = draw.choice(['new', 'resume', 'overwrite', 'resume'])
        try:
            train(out, resume=str(out) if how == 'resume' else None,
                  overwrite=how == 'overwrite')
            json.loads((out / 'log').read_text())
        except (rnnlm.InputError, OSError) as e:
            assert str(e)
        assert kept.read_bytes() == b'mine'


def test_a_new_folder_and_its_parents_are_flushed(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(atomic, 'sync_folder', flushed.append)
    atomic.make_folder(str(tmp_path / 'a' / 'b' / 'c'))
    assert flushed == [str(tmp_path), str(tmp_path / 'a'), str(tmp_path / 'a' / 'b')]
    atomic.make_folder(str(tmp_path / 'a'))
    assert len(flushed) == 3
    (tmp_path / 'file').touch()
    with pytest.raises(OSError):
        atomic.make_folder(str(tmp_path / 'file' / 'x'))


def test_chainers_own_snapshots_fit(tmp_path):
    """Of a run without our extensions nothing is known, and it goes on."""
    assert new_run._best_loss(_chainers(tmp_path)) is None


def _chainers(folder):
    path = str(folder / 'snapshot_iter_1')
    chainer.serializers.save_npz(path, chainer.links.Linear(2, 3))
    return path
