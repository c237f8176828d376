"""Runs that old releases of Chainer began go on as they went on there.

`old_runs` holds what 1.11, 1.17, 1.24 and 2.0 wrote, and what each printed when it went
on from it (`old_runs/record.py`).
"""
import json
import pathlib
import pickle
import subprocess

import numpy
import pytest

from rnnlm.legacy import runner

HERE = pathlib.Path(__file__).parent / 'old_runs'
RELEASES = '1.11.0', '1.17.0', '1.24.0', '2.0.0'


def start(script, *args, release, cwd):
    """Runs a script for a release."""
    api = 'v1' if release.startswith('1') else 'v2'
    command, environment = runner.start(str(script), args, api, release)
    return subprocess.run(command, env=environment, capture_output=True, text=True,
                          cwd=cwd)


def lines_of(script, *args, release, cwd):
    """The words of each line that a script prints, run for a release."""
    done = start(script, *args, release=release, cwd=cwd)
    assert done.returncode == 0 and not done.stderr, done.stderr
    out = done.stdout.replace('\033[J', '')
    return [line.split() for line in out.splitlines() if line.strip()]


def assert_alike(lines, expected):
    """The same words, and numbers that differ in the last digits at most."""
    assert [len(line) for line in lines] == [len(line) for line in expected]
    for line, wanted in zip(lines, expected):
        for word, want in zip(line, wanted):
            try:
                numpy.testing.assert_allclose(
                    float(word), float(want), rtol=2e-5, atol=1e-6, err_msg=str(wanted))
            except ValueError:
                assert word.rpartition(':')[0] == want.rpartition(':')[0], line
                if ':' in word:
                    numpy.testing.assert_allclose(
                        float(word.rpartition(':')[2]), float(want.rpartition(':')[2]),
                        rtol=1e-6)
                else:
                    assert word == want


@pytest.mark.parametrize('release', RELEASES)
@pytest.mark.parametrize('name, stop', [('ptb', 9), ('optimizers', 17)])
def test_trainer(release, name, stop, tmp_path):
    script = name + '.py'
    if name == 'ptb':
        script = 'ptb_v1.py' if release < '2' else 'ptb_v2.py'
    folder = HERE / f'chainer-{release}'
    lines = lines_of(HERE / script, '--out', '.', '--stop', str(stop), '--resume',
                     folder / f'{name[:3]}_snapshot', release=release, cwd=tmp_path)
    assert_alike(lines, json.loads((folder / 'expected.json').read_text())[script])


@pytest.mark.parametrize('release', RELEASES)
def test_pickles_and_saved_optimizers(release, tmp_path):
    folder = HERE / f'chainer-{release}'
    if (folder / 'state.h5').exists():
        pytest.importorskip('h5py')
    lines = lines_of(HERE / 'links.py', 'use', folder, release=release, cwd=tmp_path)
    assert_alike(
        lines, json.loads((folder / 'expected.json').read_text())['links.py'])


def test_pickles_of_python_2(tmp_path):
    """They need an encoding; without one the script's line and the cure are printed."""
    folder = HERE / 'chainer-1.24.0-python2'
    done = start(HERE / 'links.py', 'use', str(folder), release='1.24', cwd=tmp_path)
    assert done.returncode == 1 and 'UnicodeDecodeError' in done.stderr
    assert 'links, made = pickle.load(f)\n    A pickle written by ' in done.stderr
    assert "pickle.load(file, encoding='latin1')" in done.stderr

    (tmp_path / 'text.json').write_bytes(b'\xff')  # no pickle
    (tmp_path / 'text.py').write_text(
        "import json\njson.load(open('text.json', encoding='ascii'))")
    done = start(tmp_path / 'text.py', release='1.24', cwd=tmp_path)
    assert 'UnicodeDecodeError' in done.stderr and 'Python 2' not in done.stderr

    (tmp_path / 'links.py').write_text((HERE / 'links.py').read_text().replace(
        'pickle.load(f)', "pickle.load(f, encoding='latin1')"))
    lines = lines_of(tmp_path / 'links.py', 'use', folder, release='1.24', cwd=tmp_path)
    assert_alike(
        lines, json.loads((folder / 'expected.json').read_text())['links.py'])


FILES = '''
import io, json, os, pickle, sys
import numpy as np
import chainer
import chainer.links as L
model = L.Linear(3, 2)
for load in chainer.serializers.load_npz, chainer.serializers.load_hdf5:
    for error in OSError, IOError, FileNotFoundError, Exception:
        try:
            load('nothing', model)
        except error as e:
            assert 'nothing' in str(e) and e.errno == 2, e
chainer.serializers.save_npz(filename='model', obj=model)
other = L.Linear(3, 2)
chainer.serializers.load_npz(filename='model', obj=other)
assert (other.W.data == model.W.data).all()
chainer.serializers.load_npz('model', obj=other, path='')
with open('model', 'rb') as f:
    chainer.serializers.load_npz(f, L.Linear(3, 2))
    assert not f.closed
chainer.serializers.load_npz(io.BytesIO(open('model', 'rb').read()), L.Linear(3, 2))
optimizer = chainer.optimizers.Adam()
optimizer.setup(model)
for lacks in ('t', 'W'):
    with np.load('model') as d:
        np.savez('part', **{k: d[k] for k in d if k != 'W'})
    try:
        chainer.serializers.load_npz('part.npz', optimizer if lacks == 't' else model)
    except KeyError as e:
        assert lacks in str(e), e
    else:
        raise AssertionError('what is missing is not said: ' + lacks)
assert type(pickle.loads(pickle.dumps(model, 2)).W) is type(model.W)
print('done')
'''


@pytest.mark.parametrize('release', ['1.24.0', '7.8.1'])
def test_files(release, tmp_path):
    pytest.importorskip('h5py')
    (tmp_path / 'script.py').write_text(FILES)
    lines = lines_of(tmp_path / 'script.py', release=release, cwd=tmp_path)
    assert lines == [['done']]


def test_current_files_need_no_guesses(tmp_path):
    """A key that the file's own release wrote is missed, not made up."""
    script = HERE / 'ptb_v2.py'
    lines_of(script, '--out', '.', '--stop', '4', release='7.8.1', cwd=tmp_path)
    with numpy.load(tmp_path / 'snapshot_iter_4', allow_pickle=True) as d:
        arrays = dict(d)
    del arrays['updater/iteration']
    numpy.savez(tmp_path / 'broken.npz', **arrays)
    done = start(script, '--resume', 'broken.npz', '--stop', '5', release='7.8.1',
                 cwd=tmp_path)
    assert done.returncode == 1 and "KeyError: 'updater/iteration" in done.stderr


def test_pickles_of_today_are_read_by_plain_chainer(tmp_path):
    (tmp_path / 'script.py').write_text(
        'import pickle, chainer, chainer.links as L\n'
        'model = L.Linear(3, 2)\n'
        'optimizer = chainer.optimizers.Adam()\noptimizer.setup(model)\n'
        'pickle.dump((model, optimizer), open("p", "wb"), 2)\n')
    lines_of(tmp_path / 'script.py', release='1.24', cwd=tmp_path)
    with open(tmp_path / 'p', 'rb') as f:
        model, optimizer = pickle.load(f)
    assert model.W.shape == (2, 3) and optimizer.target is model
