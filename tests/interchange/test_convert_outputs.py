"""`rnnlm convert` never overwrites its input, nor other files without --overwrite."""
import os

import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import convert


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rnnlm.save_npz('model.npz', rnnlm.RNNForLM(9, 4))
    return tmp_path / 'model.npz'


def run(*args):
    return cli.main(['convert', *args])


@pytest.mark.parametrize('overwrite', [[], ['--overwrite']])
def test_the_input_is_never_written(model, overwrite, capsys):
    before = model.read_bytes()
    os.symlink('model.npz', 'link.npz')
    os.link('model.npz', 'hard.npz')
    os.mkdir('folder')
    os.symlink('..', 'folder/up')
    for name in ('model.npz', './model.npz', 'link.npz', 'hard.npz', str(model),
                 'folder/up/model.npz', 'folder/../model.npz'):
        for source in 'model.npz', 'link.npz', 'hard.npz':
            assert run(source, name, *overwrite) == 2
            assert f'{name}: expected a file other than the input {source}' in (
                capsys.readouterr().err)
    assert run('.', 'model.npz', *overwrite) == 2  # the run folder
    assert model.read_bytes() == before and os.path.islink('link.npz')


@pytest.mark.parametrize('overwrite', [[], ['--overwrite']])
@pytest.mark.parametrize('link', [None, os.symlink, os.link])
def test_nor_is_it_beside_a_module(model, overwrite, link, capsys):
    os.rename('model.npz', 'trained.pt')  # zip files are recognised by content
    name = 'trained.py'
    if link:
        link('trained.pt', 'other.pt')
        name = 'other.py'
    with open('trained.pt', 'rb') as f:
        before = f.read()
    assert run('trained.pt', name, *overwrite) == 2
    assert f'{name[:-3]}.pt: expected a file other than the input trained.pt' in (
        capsys.readouterr().err)
    with open('trained.pt', 'rb') as f:
        assert f.read() == before
    assert not os.path.exists(name)


def test_an_output_that_exists(model, capsys):
    for make in (lambda: open('a.safetensors', 'wb').close(),
                 lambda: os.symlink('nowhere', 'a.safetensors'),
                 lambda: os.mkdir('a.safetensors')):
        make()
        assert run('model.npz', 'a.safetensors') == 2
        assert 'a.safetensors: expected ' in capsys.readouterr().err
        if os.path.isdir('a.safetensors'):
            assert run('model.npz', 'a.safetensors', '--overwrite') == 2
        else:
            assert run('model.npz', 'a.safetensors', '--overwrite') == 0
            assert run('a.safetensors', 'b.npz', '--overwrite') == 0
            os.unlink('a.safetensors')
    # All outputs are checked before one is written.
    with open('b.pt', 'wb') as f:
        f.write(b'mine')
    assert run('model.npz', 'b.py') == 2
    assert 'b.pt: expected no file of that name, found one' in capsys.readouterr().err
    with open('b.pt', 'rb') as f:
        assert f.read() == b'mine'


def test_the_files_of_an_output():
    assert convert.outputs('a/b.py') == ['a/b.py', 'a/b.pt']
    for ending in convert.ENDINGS:
        assert convert.outputs(f'x{ending}')[0] == f'x{ending}'
    with pytest.raises(rnnlm.InputError, match='found another ending'):
        convert.outputs('x.zip')
