"""What goes along with the weights: tokens and what they are, dropout, sizes."""
import ast
import importlib.util
import json
import os

import numpy
import pytest

import rnnlm
from rnnlm._version import __version__
from rnnlm.app import cli
from rnnlm.interchange import _tokens, convert, safetensors

# Words of one letter; a list without its kind would be taken for characters.
LETTERS = ['a', 'b', 'c', 'd', '<unk>']


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open('text.txt', 'w') as f:
        f.write('a b c\nd a b\nx a\n' * 40)
    assert cli.main(
        ['train', '--corpus', 'text.txt', '-u', '4', '--layer', '2', '-e', '1', '-b',
         '4', '--dropout', '0.35', '--embed', '3', '--out', 'run']) == 0
    os.makedirs('out')
    return tmp_path


def metadata_in(path):
    with open(path, 'rb') as f:
        size = int.from_bytes(f.read(8), 'little')
        return json.loads(f.read(size))['__metadata__']


@pytest.mark.parametrize('source', ['run', 'run/model.npz', 'link.npz'])
def test_safetensors_says_all(folder, source):
    os.symlink('run/model.npz', 'link.npz')
    assert cli.main(['convert', source, 'out/m.safetensors']) == 0
    found = metadata_in('out/m.safetensors')
    assert json.loads(found['rnnlm model']) == {
        'rnnlm': __version__, 'n_vocab': 6, 'n_embed': 3, 'n_units': [4, 4],
        'dropout': 0.35, 'tokens': 'word'}
    assert os.path.exists('out/vocabulary.json')
    assert found['format'] == 'pt' and all(type(v) is str for v in found.values())


def test_its_tokens_stay_what_they_are(tmp_path):
    weights = {name.lstrip('/'): param.array
               for name, param in rnnlm.RNNForLM(5, 4).namedparams()}
    for kind in 'word', 'char':
        path = str(tmp_path / kind / 'm.safetensors')
        (tmp_path / kind).mkdir()
        convert.save(path, weights, rnnlm.Vocabulary(LETTERS, kind), 0.0)
        os.unlink(tmp_path / kind / 'vocabulary.json')
        found = convert.load_model(path)
        assert found.vocabulary.words == tuple(LETTERS)
        assert found.vocabulary.tokens == kind and found.dropout == 0.0


@pytest.mark.parametrize('text, kind', [
    ('{"words": ["a", "b"], "by_byte": false}', 'char'),  # as was written before
    ('{"words": ["a", "\\u00e4"], "by_byte": true}', 'byte'),
    ('{"words": ["ab", "c"], "by_byte": false, "tokens": "word"}', 'word')])
def test_texts_of_tokens(text, kind):
    assert _tokens.of_text(text, 2).tokens == kind


@pytest.mark.parametrize('text', [
    '{"words": ["ab", "c"], "by_byte": true}', '{"words": ["a", "b"], "tokens": "x"}',
    '{"words": ["a", "b"], "tokens": []}', '{"words": ["a", 1]}', '{"words": "ab"}',
    '{"words": ["a", "a"]}', '[]', '', '{"words": ["a"]}', '{"words": ["a", "\\ud800"]}'
])
def test_texts_that_are_no_tokens(text):
    assert _tokens.of_text(text, 2) is None


@pytest.mark.parametrize('value', ['"x"', 'true', '-1', '1', '1e999', 'null', '[]'])
def test_a_dropout_that_is_none(tmp_path, value):
    tensors = {'w': numpy.zeros(1, 'f')}
    path = str(tmp_path / 'm.safetensors')
    safetensors.write(path, tensors, {'rnnlm model': '{"dropout": %s}' % value})
    assert safetensors._dropout_in(safetensors._read(path)[1]) is None


def test_a_very_large_vocabulary_is_beside_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(_tokens, 'MOST_BYTES', 2000)
    weights = {name.lstrip('/'): param.array
               for name, param in rnnlm.RNNForLM(400, 4).namedparams()}
    vocabulary = rnnlm.Vocabulary([f'word{k}' for k in range(400)])
    path = str(tmp_path / 'm.safetensors')
    convert.save(path, weights, vocabulary)
    found = convert.load_model(path)
    assert found.vocabulary == vocabulary
    assert 'rnnlm vocabulary' not in metadata_in(path)


def dropout_of_twin(path):
    """The default of the class in a module, by its source."""
    with open(path) as f:
        tree = ast.parse(f.read())
    init, = [node for node in ast.walk(tree)
             if isinstance(node, ast.FunctionDef) and node.name == '__init__']
    return ast.literal_eval(init.args.defaults[0])


@pytest.fixture
def without_torch(monkeypatch):
    """Where torch is missing, its file is not written."""
    if importlib.util.find_spec('torch') is None:
        monkeypatch.setattr(convert.pytorch, 'write', lambda path, tensors: open(
            path, 'wb').close())


def test_the_twin_has_the_dropout_of_the_run(folder, without_torch):
    assert cli.main(['convert', 'run', 'out/twin.py']) == 0
    assert dropout_of_twin('out/twin.py') == 0.35
    # By way of a safetensors file too, which says it itself.
    assert cli.main(['convert', 'run', 'out/m.safetensors']) == 0
    assert cli.main(['convert', 'out/m.safetensors', 'out/other.py']) == 0
    assert dropout_of_twin('out/other.py') == 0.35
    # A file that does not say it.
    rnnlm.save_npz('plain.npz', rnnlm.RNNForLM(9, 4))
    assert cli.main(['convert', 'plain.npz', 'plain.py']) == 0
    assert dropout_of_twin('plain.py') == 0.5


def test_the_twin_in_torch(folder):
    torch = pytest.importorskip('torch', reason='torch is not in the test extra')
    assert cli.main(['convert', 'run', 'out/twin.py']) == 0
    spec = importlib.util.spec_from_file_location('twin', 'out/twin.py')
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    model = twin.load()
    assert model.dropout.p == model.lstm.dropout == 0.35
    ids = torch.zeros((3, 2), dtype=torch.int64)
    model.train()
    assert not torch.equal(model(ids)[0], model(ids)[0])
    with open('out/vocabulary.json') as f:
        assert len(json.load(f)['words']) == model.embed.num_embeddings


def test_read_by_safetensors_itself(folder):
    library = pytest.importorskip('safetensors', reason='safetensors is not installed')
    assert cli.main(['convert', 'run', 'out/m.safetensors']) == 0
    with library.safe_open('out/m.safetensors', 'np') as f:
        found = f.metadata()
    assert json.loads(found['rnnlm model'])['dropout'] == 0.35
    assert json.loads(found['rnnlm vocabulary'])['tokens'] == 'word'


def test_inspect_names_our_version(folder, capsys):
    assert cli.main(['convert', 'run', 'out/m.safetensors']) == 0
    safetensors.write('out/plain.safetensors', {'x': numpy.zeros(3, 'f')})
    for name, writer in ('m', f'rnnlm {__version__}'), ('plain', 'an unknown program'):
        capsys.readouterr()
        assert cli.main(['inspect', f'out/{name}.safetensors']) == 0
        assert f'written  by {writer}\n' in capsys.readouterr().out


@pytest.mark.parametrize('tied', [False, True])
def test_notes_on_what_a_file_does_not_say(tmp_path, monkeypatch, capsys, tied):
    monkeypatch.chdir(tmp_path)
    os.makedirs('out')
    rnnlm.save_npz('plain.npz', rnnlm.RNNForLM(5, 4, tied=tied))
    assert cli.main(['convert', 'plain.npz', 'out/m.safetensors']) == 0
    out = capsys.readouterr().out
    assert ("the output layer's weights are those of the embedding" in out) == tied
    assert 'tokens are not known' not in out
    rnnlm.Vocabulary(LETTERS).save('out/vocabulary.json')
    assert cli.main(['convert', 'plain.npz', 'out/n.safetensors']) == 0
    assert ("the model's tokens are not known; out/vocabulary.json was there before"
            in capsys.readouterr().out)
