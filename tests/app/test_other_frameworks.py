"""Model files of other frameworks: commands that read models name `rnnlm convert`."""
import os
import zipfile

import h5py
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import convert

COMMANDS = [['evaluate'], ['generate'], ['score'], ['interpolate', 'result'],
            ['score', 'result', 'text', '--mix'],
            ['train', '--out', 'new', '--corpus', 'text', '--init-from']]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text').write_text('the cat\n' * 9)
    os.mkdir('result')
    rnnlm.save_npz('result/model.npz', rnnlm.RNNForLM(3, 2))
    rnnlm.Vocabulary(['<eos>', 'the', 'cat']).save('result/vocabulary.json')


def error_of(argv, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == '' and len(err.splitlines()) == 1
    return err


@pytest.mark.parametrize('ending', ['.safetensors', '.keras', '.t7', '.weights.h5'])
@pytest.mark.parametrize('command', COMMANDS)
def test_a_file_that_convert_wrote(here, capsys, command, ending):
    weights = convert.load('result/model.npz')
    path = f'my model{ending}'
    convert.save(path, weights)
    err = error_of([*command, path], capsys)
    assert err.endswith(f": rnnlm convert '{path}' 'my model.npz'\n")
    if command[0] == 'train':
        assert err.startswith('rnnlm train: error: --init-from: ')
    assert cli.main(['convert', path, 'my model.npz']) == 0
    rnnlm.load('my model.npz')


@pytest.mark.parametrize('command', COMMANDS)
def test_files_that_convert_cannot_read_either(here, capsys, command):
    rnnlm.save_npz('other.npz', rnnlm.links.LockedDropout())
    with zipfile.ZipFile('a.zip', 'w') as f:
        f.writestr('a', b'b')
    with open('a.onnx', 'wb') as f:
        f.write(b'x' * 9)
    for ending in 'model', 'pt', 'keras', 't7', 'safetensors':
        os.link('text', f'a.{ending}')
    for path in ('other.npz', 'a.zip', 'a.onnx', 'text', 'a.model', 'a.pt', 'a.keras',
                 'a.t7', 'a.safetensors'):
        assert 'convert' not in error_of([*command, path], capsys)


def test_files_of_keras_and_pytorch_by_their_content(here, capsys):
    with zipfile.ZipFile('a', 'w') as f:
        f.writestr('archive/data.pkl', b'x')
    assert 'rnnlm convert a a.npz' in error_of(['evaluate', 'a'], capsys)
    with h5py.File('a.h5', 'w') as f:
        f['layers/lstm/vars/0'] = [1.0]
    assert 'rnnlm convert a.h5 a.npz' in error_of(['evaluate', 'a.h5'], capsys)
