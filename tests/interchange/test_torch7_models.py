"""Checkpoints of char-rnn and torch-rnn with their tokens, in File.lua's format.
"""
import json

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import convert, inspecting, torch7
from rnnlm.interchange.weights import check_model
from layouts import draw, model_shapes
from oracle_torch7 import Binary, char_rnn_logits, torch_rnn_logits
from test_torch7 import instance, storage, string, table, tensor

V, M, N = 5, 3, 4
FORM = Binary()


class Writer:
    """Writer of a tree of Lua values."""

    def __init__(self):
        self.index = 0

    def new(self):
        self.index += 1
        return self.index

    def of(self, value):
        if value is None:
            return FORM.int(0)
        if isinstance(value, bool):
            return FORM.int(5, value)
        if isinstance(value, (int, float)):
            return FORM.int(1) + FORM.double(value)
        if isinstance(value, bytes):
            return string(FORM, value)
        if isinstance(value, str):
            return string(FORM, value.encode())
        if isinstance(value, numpy.ndarray):
            return self.tensor(value)
        if isinstance(value, tuple):  # class and fields
            kind, fields = value
            index = self.new()
            return instance(FORM, index, kind.encode(), self.of(fields))
        if isinstance(value, list):
            value = dict(enumerate(value, 1))
        index = self.new()
        parts = [self.of(part) for pair in value.items() for part in pair]
        return table(FORM, index, *parts)

    def tensor(self, array):
        index, inside = self.new(), self.new()
        strides = [int(numpy.prod(array.shape[k + 1:])) for k in range(array.ndim)]
        return tensor(FORM, index, array.shape, strides, 1, storage(
            FORM, inside, array.ravel().astype('f4')))


def random_arrays(*shapes):
    random = numpy.random.RandomState(len(shapes))
    return [random.uniform(-1, 1, shape).astype('f4') for shape in shapes]


def char_rnn(linears, tokens, **opt):
    """Writes a checkpoint from before 20 September 2015: its nodes have no names."""
    nodes = [('nngraph.Node', {'data': {'annotations': {}, 'module': ('nn.OneHot', {})},
                               'id': 1})]
    for weight, bias in linears:
        module = ('nn.Linear', {'weight': weight, 'bias': bias})
        nodes += [('nngraph.Node', {'data': {'annotations': {}, 'module': module}}),
                  ('nngraph.Node', {'data': {'module': ('nn.Sigmoid', {})}})]
    return {'protos': {'rnn': ('nn.gModule', {'forwardnodes': nodes})},
            'opt': {'rnn_size': N, 'model': 'lstm', **opt},
            'vocab': {token: k for k, token in enumerate(tokens, 1)}}


def linears_of(n_layers, n_vocab=V):
    shapes = []
    for k in range(n_layers):
        shapes += [(4 * N, N if k else n_vocab), (4 * N,), (4 * N, N), (4 * N,)]
    arrays = random_arrays(*shapes, (n_vocab, N), (n_vocab,))
    return list(zip(arrays[::2], arrays[1::2]))


def torch_rnn(layers, embed, output, tokens, extra=()):
    modules = [('nn.LookupTable', {'weight': embed})]
    for weight, bias in layers:
        modules += [('nn.LSTM', {'weight': weight, 'bias': bias}), ('nn.Dropout', {})]
    modules += [*extra, ('nn.View', {}), (
        'nn.Linear', dict(zip(('weight', 'bias'), output))), ('nn.View', {})]
    return {'model': ('nn.LanguageModel', {
        'net': ('nn.Sequential', {'modules': modules}),
        'idx_to_token': dict(enumerate(tokens, 1)), 'vocab_size': len(tokens)}), 'i': 9}


def torch_rnn_arrays():
    arrays = random_arrays((V, M), (M + N, 4 * N), (4 * N,), (N + N, 4 * N), (4 * N,),
                           (V, N), (V,))
    return [arrays[1:3], arrays[3:5]], arrays[0], arrays[5:]


IDS = [1, 4, 0, 0, 3, 2]


def logits_of(path):
    weights = convert.load(path)
    model = check_model(weights).build()
    for name, param in model.namedparams():
        param.array[...] = weights[name.strip('/')]
    with chainer.using_config('train', False):
        return model.logits(numpy.array(IDS, 'i')[:, None]).array[:, 0]


@pytest.mark.parametrize('n_layers', [1, 2, 3])
def test_char_rnn_without_names(n_layers, write):
    linears = linears_of(n_layers)
    path = write('a.t7', Writer().of(char_rnn(linears, 'abc \n')))
    numpy.testing.assert_allclose(
        logits_of(path), char_rnn_logits(linears, IDS), rtol=0, atol=1e-6)
    model = convert.load_model(path)
    assert model.vocabulary == rnnlm.Vocabulary('abc \n')
    assert any('one-hot' in note for note in model.notes)
    found = inspecting.describe(path)
    assert found['format'] == 'Torch7, binary' and found['model']['n_vocab'] == V


def test_torch_rnn(write):
    layers, embed, output = torch_rnn_arrays()
    path = write('a.t7', Writer().of(torch_rnn(layers, embed, output, 'abc \n')))
    numpy.testing.assert_allclose(
        logits_of(path), torch_rnn_logits(layers, embed, output, IDS), rtol=0,
        atol=1e-6)
    assert convert.load_model(path).vocabulary == rnnlm.Vocabulary('abc \n')


@pytest.mark.parametrize('make, message', [
    (lambda: char_rnn(linears_of(2), 'abcde', model='gru'), 'found a GRU'),
    (lambda: char_rnn(linears_of(2), 'abcde', model='rnn'), 'found an RNN'),
    (lambda: char_rnn(linears_of(2)[:-1], 'abcde'), 'found 4 in all'),
    (lambda: torch_rnn(*torch_rnn_arrays(), 'abcde', [
        ('nn.BatchNormalization', {})]), 'found nn.BatchNormalization'),
    (lambda: torch_rnn(*torch_rnn_arrays(), 'abcde', [
        ('nn.VanillaRNN', {})]), 'found nn.VanillaRNN'),
    (lambda: torch_rnn(*torch_rnn_arrays(), 'abcde', [
        ('nn.Linear', dict(zip(('weight', 'bias'), random_arrays((N, N), (N,)))))]),
     'found another nn.Linear'),
    (lambda: {'model': ('nn.LanguageModel', {'net': 5})}, 'a chain of modules'),
])
def test_other_models_are_refused(make, message, write):
    path = write('a.t7', Writer().of(make()))
    with pytest.raises(rnnlm.InputError, match=message):
        convert.load(path)
    assert cli.main(['inspect', path]) in (0, 2)


BYTES = [b'a', b'\xc3', b'\n', b'\xa4', b' ']


@pytest.mark.parametrize('system', ['char-rnn', 'torch-rnn'])
def test_tokens_of_bytes(system, write, tmp_path, capsys):
    if system == 'char-rnn':
        value = char_rnn(linears_of(1), BYTES)
    else:  # with --encoding bytes
        tokens = ['a', '[195]', '\n', '[164]', ' ']
        value = torch_rnn(*torch_rnn_arrays(), tokens)
    path = write('a.t7', Writer().of(value))
    out = str(tmp_path / 'out' / 'model.npz')
    (tmp_path / 'out').mkdir()
    assert cli.main(['convert', path, out]) == 0
    assert 'vocabulary.json' in capsys.readouterr().out
    trained = rnnlm.load(out)
    assert trained.vocabulary.by_byte
    assert trained.encode_prime('aä').tolist() == [0, 1, 3]
    score, = trained.score(['ä a'])
    assert score.tokens == ['\xc3', '\xa4', ' ', 'a', '\n']
    assert trained.perplexity('ä a\n') > 1
    text = trained.generate('ä', length=30, seed=0)
    assert set(text) <= set('aä\n \ufffd') and len(text) > 3
    assert cli.main(['generate', out, '--primetext', 'ä', '--length', '5']) == 0
    assert cli.main(['score', out, path_of_text(tmp_path)]) == 0


def path_of_text(folder):
    path = folder / 'text.txt'
    path.write_text('a ä\n', encoding='utf-8')
    return str(path)


def test_tokens_there_and_back(write, tmp_path):
    weights = draw(model_shapes(V, V, N, 1), 'f4')
    for vocabulary in (rnnlm.Vocabulary([b.decode('latin-1') for b in BYTES], 'byte'),
                       rnnlm.Vocabulary('abcdä')):
        for k, ending in enumerate(('.t7', '.safetensors')):
            path = str(tmp_path / f'{vocabulary.by_byte}{k}' / f'm{ending}')
            (tmp_path / f'{vocabulary.by_byte}{k}').mkdir()
            assert len(convert.save(path, weights, vocabulary)) == 2
            (tmp_path / f'{vocabulary.by_byte}{k}' / 'vocabulary.json').unlink()
            assert convert.load_model(path).vocabulary == vocabulary


def test_a_vocabulary_of_bytes_is_another_version(tmp_path):
    path = str(tmp_path / 'vocabulary.json')
    vocabulary = rnnlm.Vocabulary('a\xc3', tokens='byte')
    vocabulary.save(path)
    assert rnnlm.Vocabulary.load(path) == vocabulary != rnnlm.Vocabulary('a\xc3')
    with open(path, encoding='utf-8') as f:
        assert json.load(f)['version'] == 2
    with pytest.raises(rnnlm.InputError, match='one byte each'):
        rnnlm.Vocabulary(['\u0100'], tokens='byte')


def test_torch7_tensors_are_those_of_the_file(write):
    layers, embed, output = torch_rnn_arrays()
    found = torch7.read(write('a.t7', Writer().of(
        torch_rnn(layers, embed, output, 'abcde'))))
    numpy.testing.assert_array_equal(found['embed'], embed)
    numpy.testing.assert_array_equal(found['h2h_2.weight'], layers[1][0][N:].T)
