"""The cache of long texts: never wrong ids, whatever is in it or on the disk."""
import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

from helpers import ROOT, refused
import numpy as np
import pytest

import rnnlm
from rnnlm.data import cache, files, flat
from rnnlm.data.corpus import load

TEXT = 'the cat sat on the mat .\nthe dog saw the cat .\n' * 40
OTHER = 'the dog sat on the mat .\nthe cat saw the dog .\n' * 40


@pytest.fixture(autouse=True)
def every_text_is_long(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, 'LEAST', 0)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'cache' / 'rnnlm'


def words_of(corpus):
    return ' '.join(corpus.vocabulary.decode(np.concatenate(
        [corpus.train, corpus.valid, corpus.test])))


def is_right(corpus, text=TEXT):
    return words_of(corpus) == ' '.join(text.replace('\n', ' <eos> ').split())


def is_found(path, **kwargs):
    """Whether the ids of a text come from the cache."""
    made = []
    build, flat.build = flat.build, lambda *args: made.append(1) or build(*args)
    try:
        load(path, **kwargs)
    finally:
        flat.build = build
    return not made


def old(path, seconds=3600):
    """Gives a file times that are long past; that of its change stays."""
    before = time.time() - seconds
    os.utime(path, (before, before))
    return path


def test_what_makes_it_another_text(write, tmp_path, folder):
    path = write('text', TEXT)
    vocabulary = rnnlm.Vocabulary(['the', 'cat'], 'word')
    ways = [{}, {'tokens': 'char'}, {'vocab_limit': 5}, {'min_count': 3},
            {'vocabulary': vocabulary}]
    for options in ways:
        assert not is_found(path, **options)
    assert len(os.listdir(folder)) == len(ways)
    assert all(is_found(path, **options) for options in ways)
    assert not is_found([path, path])
    assert not is_found(shutil.copy(path, tmp_path / 'other'))
    os.chdir(tmp_path)
    assert is_found('text')


def test_a_text_that_changed(write, folder):
    path = write('text', TEXT)
    load(path)
    write('text', OTHER)
    assert is_right(load(path), OTHER) and len(os.listdir(folder)) == 1
    write('text', TEXT + 'cat\n')
    assert is_right(load(path, min_count=1), TEXT + 'cat\n')
    # Replaced by another file of the same name, size and time.
    old(path)
    load(path)
    other = old(write('other', OTHER + 'cat\n'))
    os.replace(other, path)
    assert is_right(load(path, min_count=1), OTHER + 'cat\n')


def test_the_same_size_and_time(write):
    """Time of the last change of the file itself, or else its content, is compared."""
    path = old(write('text', TEXT))
    load(path)
    before = os.stat(path)
    write('text', OTHER)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert is_right(load(path), OTHER)


def test_two_changes_in_one_tick_of_the_clock(write, monkeypatch):
    path = write('text', TEXT)
    times = cache._state(path)
    monkeypatch.setattr(cache, '_state', lambda path: times)
    load(path)
    assert is_found(path)
    write('text', OTHER)
    assert is_right(load(path), OTHER)


def test_a_text_that_was_only_touched_is_found_by_its_content(write):
    data = TEXT.encode()
    for name, data in ('text', data), ('text.gz', gzip.compress(data)):
        path = write(name, data)
        load(path)
        old(path)
        assert is_found(path)


def test_a_text_that_changes_while_it_is_read(write, monkeypatch, folder, tmp_path):
    path = write('text', TEXT)
    monkeypatch.setattr(files, 'BLOCK', 100)
    read_blocks = files.read_blocks

    def growing(*args):
        for k, block in enumerate(read_blocks(*args)):
            if k == 3:
                change()
            yield block

    def grow():
        with open(path, 'a') as f:
            f.write('more\n')

    def replace():
        os.replace(write('other', OTHER), path)

    monkeypatch.setattr(files, 'read_blocks', growing)
    monkeypatch.setattr(files.tokenise, '__defaults__', (True, growing))
    for change in grow, replace:
        with refused(f'{path}', 'changed while it was read'):
            load(path)
        assert os.listdir(folder) == []
    change = grow
    with refused(f'{path}', 'changed while it was read'):
        load(path, cache=False)


# --- the file in the cache ---

def the_file(folder):
    name, = os.listdir(folder)
    return folder / name


def test_any_damage_is_noticed(write, folder, caplog):
    path = write('text', TEXT)
    load(path)
    kept = the_file(folder)
    whole = kept.read_bytes()
    random = np.random.RandomState(0)
    for k in random.randint(0, len(whole), 60).tolist() + list(range(0, 64, 5)):
        broken = bytearray(whole)
        broken[k] ^= 1 << random.randint(8)
        for data in broken, whole[:k], whole + whole[k:]:
            if bytes(data) == whole:
                continue
            kept.write_bytes(data)
            caplog.clear()
            assert is_right(load(path))
            line, = caplog.messages
            assert 'is damaged' in line and str(kept) in line
            assert is_found(path)


def test_a_file_of_another_text(write, folder):
    path, other = write('text', TEXT), write('other', OTHER)
    load(path)
    kept = the_file(folder)
    load(other)
    moved, = set(os.listdir(folder)) - {kept.name}
    os.replace(folder / moved, kept)
    assert is_right(load(path))


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='needs POSIX')
def test_what_stands_in_its_place(write, folder, tmp_path, caplog):
    path = write('text', TEXT)
    load(path)
    kept = the_file(folder)
    whole = kept.read_bytes()
    mine = write('mine', whole)
    for place in (lambda: os.symlink(mine, kept), lambda: os.mkfifo(kept),
                  lambda: os.symlink(tmp_path / 'nothing', kept)):
        kept.unlink()
        place()
        assert is_right(load(path))
        assert os.path.isfile(kept) and not os.path.islink(kept)
    with open(mine, 'rb') as f:
        assert f.read() == whole
    kept.unlink()
    kept.mkdir()
    caplog.clear()
    assert is_right(load(path))
    line, = caplog.messages
    assert 'are kept in memory' in line and 'folder' in line


# --- a folder that cannot be used ---

def is_left_out(path, caplog, *parts):
    caplog.clear()
    found = load(path)
    line, = caplog.messages
    assert all(part in line for part in ('are kept in memory', *parts)), line
    return is_right(found) and not isinstance(found.train, np.memmap)


def test_a_folder_that_is_no_folder(write, tmp_path, caplog, monkeypatch):
    path = write('text', TEXT)
    write('cache', 'a file')
    assert is_left_out(path, caplog)
    monkeypatch.setenv('XDG_CACHE_HOME', '/dev/null')
    assert is_left_out(path, caplog)


def test_the_folder_without_a_home(write, tmp_path, caplog, monkeypatch):
    path = write('text', TEXT)
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('USERPROFILE', str(tmp_path / 'home'))
    load(path)
    assert os.path.isdir(tmp_path / 'home' / '.cache' / 'rnnlm')
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    assert is_left_out(path, caplog, 'no home folder', 'XDG_CACHE_HOME')


@pytest.mark.skipif(not hasattr(os, 'geteuid'), reason='needs POSIX')
def test_a_folder_of_somebody_else(write, folder, tmp_path, caplog, monkeypatch):
    path = write('text', TEXT)
    load(path)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert is_left_out(path, caplog, 'other users may write')
    folder.chmod(0o700)
    assert is_found(path)
    uid = os.geteuid()
    monkeypatch.setattr(os, 'geteuid', lambda: uid + 1)
    assert is_left_out(path, caplog, 'belongs to another user')


def test_a_folder_that_cannot_be_written(write, folder, caplog, monkeypatch):
    path = write('text', TEXT)

    def read_only(*args, **kwargs):
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(cache, 'writing', read_only)
    assert is_left_out(path, caplog, 'Read-only file system')


def test_a_disk_that_is_full(write, folder, caplog):
    """At any byte: a limit on files stands for the end of the disk."""
    resource = pytest.importorskip('resource')
    path = write('text', TEXT)
    load(path)
    size = os.path.getsize(the_file(folder))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for most in 0, 10, 64, 1000, size - 10:
            shutil.rmtree(folder)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
            try:
                assert is_left_out(path, caplog, 'File too large')
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert os.listdir(folder) == []
    finally:
        signal.signal(signal.SIGXFSZ, before)
    assert is_right(load(path)) and is_found(path)


def test_a_disk_with_less_than_the_text(write, folder, caplog, monkeypatch):
    path = write('text', TEXT)
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: mock.Mock(free=len(TEXT) - 1))
    assert is_left_out(path, caplog, 'No space left on device')


def test_without_the_cache(write, folder, caplog, monkeypatch):
    path = write('text', TEXT)
    assert is_right(load(path, cache=False))
    monkeypatch.setattr(cache, 'LEAST', len(TEXT) + 1)
    assert is_right(load(path))
    assert not folder.exists() and not caplog.messages


# --- interruptions, and several processes ---

def test_ctrl_c_leaves_nothing_half_behind(write, folder, monkeypatch):
    path = write('text', TEXT)
    monkeypatch.setattr(flat, 'BLOCK', 50)
    for name in 'append', 'read', 'write':
        for at in 1, 3, 10:
            calls = []
            real = getattr(flat.Disk, name)

            def interrupted(*args):
                calls.append(1)
                if len(calls) == at:
                    raise KeyboardInterrupt
                return real(*args)

            with monkeypatch.context() as patch:
                patch.setattr(flat.Disk, name, interrupted)
                try:
                    load(path)
                except KeyboardInterrupt:
                    assert all(one.endswith('.ids') for one in os.listdir(folder))
                else:
                    assert len(calls) < at
            assert is_right(load(path))


def test_what_a_killed_process_left(write, folder):
    path = write('text', TEXT)
    load(path)
    kept = the_file(folder)
    left = folder / f'.{kept.name[:40]}.0123abcd.part'
    others = folder / f'.{"0" * 40}.0123abcd.part'
    for part in left, others:
        part.write_bytes(b'half')
    kept.unlink()
    load(path)
    assert sorted(os.listdir(folder)) == sorted([others.name, kept.name])


RACE = '''
import sys, time
from rnnlm.data import cache, flat
from rnnlm.data.corpus import load
cache.LEAST = 0
made = []
build = flat.build
flat.build = lambda *args: made.append(1) or build(*args)
while time.time() < float(sys.argv[2]):
    pass
corpus = load(sys.argv[1])
print(len(made), corpus.digest())
'''


def test_processes_that_read_one_text_at_once(write, folder):
    """One of them makes the ids; all have them."""
    path = write('text', TEXT * 50)
    start = str(time.time() + 4)
    running = [subprocess.Popen(
        [sys.executable, '-c', RACE, path, start], stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, PYTHONPATH=ROOT)) for _ in range(4)]
    found = [one.communicate()[0].split() for one in running]
    digest = load(path, cache=False).digest()
    assert [one[1] for one in found] == [digest] * 4
    assert sum(int(one[0]) for one in found) == 1
    assert os.listdir(folder) == [the_file(folder).name]


def test_a_lock_that_is_not_to_be_had(write, folder, monkeypatch):
    """Both make the ids, and one stays."""
    path = write('text', TEXT)
    monkeypatch.setattr(cache, 'PATIENCE', 0.1)
    load(path)
    kept = the_file(folder)
    kept.unlink()
    other = folder / f'.{kept.name[:40]}.0123abcd.part'
    with cache._alone(str(kept)) as alone:
        assert alone
        other.write_bytes(b'half')  # of the one that has the lock
        assert is_right(load(path))
        assert sorted(os.listdir(folder)) == sorted(
            [kept.name, other.name, f'{kept.name}.lock'])
