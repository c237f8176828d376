"""Whatever a file holds, its readers work or raise an InputError that names it."""
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import warnings

from hypothesis import HealthCheck, given, settings, strategies as st
from helpers import classifier, make_trainer, text
import numpy
import pytest

import rnnlm
from rnnlm.app import description, new_run
from rnnlm.app.recipes import Recipe
from rnnlm.data import corpus
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.serializers.archive import open_archive
import damage

HERE = os.path.dirname(os.path.abspath(__file__))
TRIALS = damage.TRIALS

fixed = settings(derandomize=True, deadline=None, database=None, max_examples=200)


def refused_or_read(read, path):
    """Whether a file could be read."""
    try:
        read(path)
    except rnnlm.InputError as e:
        damage.check_names(path, e)
        return False
    return True


def read_damaged(read, path, goods, change=damage.damaged):
    """How many of `TRIALS` damaged files could be read; nothing else may be there."""
    readable = 0
    for seed in range(TRIALS):
        with open(path, 'wb') as f:
            f.write(change(goods[seed % len(goods)], goods, seed))
        readable += refused_or_read(read, path)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
    return readable


@pytest.fixture
def npz_files(tmp_path):
    goods = []
    for save in rnnlm.save_npz, numpy.savez:
        path = str(tmp_path / 'good.npz')
        if save is numpy.savez:
            with open(path, 'wb') as f:
                numpy.savez(f, **{'embed/W': numpy.ones((3, 2), 'f'), 't': 3,
                                  'none': numpy.array(None)})
        else:
            save(path, damage.model())
        with open(path, 'rb') as f:
            goods.append(f.read())
    os.unlink(path)
    return goods


@pytest.mark.slow
def test_damaged_npz(tmp_path, npz_files):
    model = damage.model()
    turns = itertools.cycle([
        damage.read_all, lambda path: rnnlm.load_model(path, model)])
    changes = itertools.cycle([
        damage.damaged, damage.damaged, damage.damaged_members, damage.damaged_members])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # NumPy's, on headers of Python 2
        readable = read_damaged(
            lambda path: next(turns)(path), str(tmp_path / 'bad.npz'), npz_files,
            lambda *args: next(changes)(*args))
    assert 0 < readable < TRIALS


@pytest.mark.slow
def test_damaged_snapshots(tmp_path):
    numpy.random.seed(0)
    trainer = make_trainer(
        classifier(damage.model()), text(30, 3), tmp_path / 'out', 2, 3)
    trainer.updater.update()
    path = str(tmp_path / 'snapshot_iter_1')
    trainer._start_at = 0.0  # as if it ran
    rnnlm.save_npz(path, trainer)
    with open(path, 'rb') as f:
        goods = [f.read()]
    os.unlink(path)
    turns = itertools.cycle([
        lambda path: rnnlm.resume(path, trainer),
        lambda path: rnnlm.load(path)])
    changes = itertools.cycle([
        damage.damaged, damage.damaged, damage.damaged_members, damage.damaged_members])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # NumPy's, on headers of Python 2
        readable = read_damaged(
            lambda path: next(turns)(path), path, goods,
            lambda *args: next(changes)(*args))
    assert 0 < readable < TRIALS


def test_damaged_vocabulary(tmp_path):
    path = str(tmp_path / 'vocabulary.json')
    Vocabulary(['a', 'b', '<eos>', 'é']).save(path)
    with open(path, 'rb') as f:
        goods = [f.read()]
    assert 0 < read_damaged(Vocabulary.load, path, goods) < TRIALS


@pytest.fixture
def small_corpus(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_text('a b c d\n' * 8)
    found = corpus.load(path)
    path.unlink()
    return found


RECIPE = Recipe(n_units=4, batch_size=2)


def read_run(path, text):
    folder = os.path.dirname(path)
    description.RunDescription.load(folder)
    description.check_resumable(os.path.join(folder, 'snapshot_iter_1'), text, RECIPE)


def test_damaged_run(tmp_path, small_corpus):
    new_run.begin(str(tmp_path), small_corpus,
                  description.RunDescription.of(small_corpus, RECIPE))
    os.unlink(tmp_path / 'vocabulary.json')
    path = str(tmp_path / 'run.json')
    with open(path, 'rb') as f:
        goods = [f.read()]
    assert 0 < read_damaged(
        lambda path: read_run(path, small_corpus), path, goods) < TRIALS


def test_damaged_text(tmp_path):
    goods = ['a b ü c\n\r\n'.encode() * 9, '\ufeffa 語 c\n'.encode() * 9]
    turns = itertools.cycle(['word', 'word', 'char', 'char'])
    assert 0 < read_damaged(lambda path: corpus.load(path, next(turns)),
                            str(tmp_path / 'text.txt'), goods) < TRIALS


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='needs timers')
@pytest.mark.parametrize('kind, trials', [
    ('chainer', TRIALS), ('keras', TRIALS // 2), ('keras archive', TRIALS // 4),
    ('keras 2', TRIALS // 4)])
def test_damaged_hdf5(tmp_path, kind, trials):
    """In few processes, a new one only after the library has hung or died."""
    first, deaths = 0, 0
    while first < trials:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', damage.__file__, str(tmp_path), kind,
             str(first), str(trials)], capture_output=True, text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
        assert done.returncode <= 0, done.stderr
        first = int(done.stdout.split()[-1]) + 1
        deaths += done.returncode < 0
    assert deaths < 10 + trials // 100
    assert sorted(os.listdir(tmp_path)) == ['bad.h5', 'good.h5']


def test_damaged_hdf5_in_processes_of_their_own(tmp_path):
    path = str(tmp_path / 'good.h5')
    damage.small_hdf5(path)
    with open(path, 'rb') as f:
        good = f.read()
    assert damage.read_all(path)
    path = str(tmp_path / 'bad.h5')
    found = []
    for seed in range(12):
        with open(path, 'wb') as f:
            f.write(damage.damaged(good, [good], seed))
        found.append(damage.read_all(path))
    assert True in found and False in found


@pytest.mark.parametrize('name', sorted(os.listdir(os.path.join(HERE, 'fuzz'))))
def test_files_that_were_trouble_once(name, tmp_path, small_corpus):
    with open(os.path.join(HERE, 'fuzz', name), 'rb') as f:
        data = f.read()
    readers = [
        (name, damage.read_all),
        (name, lambda path: rnnlm.load_model(path, damage.model())),
        (name, corpus.load),
        ('vocabulary.json', Vocabulary.load),
        ('run.json', lambda path: read_run(path, small_corpus))]
    for filename, read in readers:
        path = str(tmp_path / filename)
        with open(path, 'wb') as f:
            f.write(data)
        start, used = time.monotonic(), time.process_time()
        refused_or_read(read, path)
        assert time.monotonic() - start < 30 and time.process_time() - used < 1
        os.unlink(path)
    assert os.listdir(tmp_path) == []


# --- JSON ---

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=5), inner, max_size=3), max_leaves=6)


def json_of(good, changes):
    return json.dumps({**good, **changes}).encode('utf-8', 'surrogatepass')


@fixed
@given(values, st.dictionaries(
    st.sampled_from(['format', 'version', 'words']), values, min_size=1))
def test_any_vocabulary(tmp_path_factory, whole, changes):
    path = str(tmp_path_factory.getbasetemp() / 'vocabulary.json')
    good = {'format': 'rnnlm vocabulary', 'version': 1, 'words': ['a']}
    for data in json_of(good, changes), json.dumps(whole).encode():
        with open(path, 'wb') as f:
            f.write(data)
        refused_or_read(Vocabulary.load, path)


fields = st.sampled_from([field.name for field in dataclasses.fields(Recipe)])


@settings(fixed, suppress_health_check=[
    HealthCheck.function_scoped_fixture])
@given(values, st.dictionaries(fields, values, min_size=1), st.dictionaries(
    st.sampled_from(['corpus', 'tokens', 'training words', 'vocabulary', 'source',
                     'recipe']), values))
def test_any_run(small_corpus, tmp_path, whole, recipe, changes):
    path = str(tmp_path / 'run.json')
    good = description.RunDescription.of(small_corpus, RECIPE).to_json()
    good['recipe'].update(recipe)
    for data in json_of(good, changes), json.dumps(whole).encode():
        with open(path, 'wb') as f:
            f.write(data)
        refused_or_read(lambda path: read_run(path, small_corpus), path)


@pytest.mark.parametrize('depth', [50, 300, 900, 5000, 100000])
def test_deep_json(tmp_path, small_corpus, depth):
    for deep in '[' * depth + ']' * depth, '{"a":' * depth + '1' + '}' * depth:
        for content in (
                deep, '{"recipe": {"lr": %s}}' % deep, '{"words": [%s]}' % deep,
                '{"recipe": {}, "corpus": %s}' % deep,
                '{"format": "rnnlm vocabulary", "version": %s}' % deep):
            for name in 'vocabulary.json', 'run.json':
                (tmp_path / name).write_text(content)
            assert not refused_or_read(
                Vocabulary.load, str(tmp_path / 'vocabulary.json'))
            assert not refused_or_read(
                lambda path: read_run(path, small_corpus), str(tmp_path / 'run.json'))


def test_messages_stay_short(tmp_path):
    path = str(tmp_path / 'vocabulary.json')
    with open(path, 'w') as f:
        json.dump({'format': 'rnnlm vocabulary', 'version': 'x' * 10 ** 6}, f)
    with pytest.raises(rnnlm.InputError) as caught:
        Vocabulary.load(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize('read', [
    Vocabulary.load, open_archive, corpus.load])
@pytest.mark.parametrize('path', ['a\0b', '', '\udcff', 'x' * 5000])
def test_odd_paths(read, path):
    with pytest.raises(rnnlm.InputError):
        read(path)
