"""Objects in a file in place of a tensor or a module, which cannot be read.

No part of a model may be dropped silently: it would compute something else.
"""
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy
import pytest

import rnnlm
from rnnlm.interchange import _chainer_names, convert, inspecting, pytorch, safetensors
from rnnlm.serializers.npz import save_npz

V, N = 5, 3


@pytest.fixture
def tensors():
    """Returns a model whose embedding could be the output matrix, or one-hot."""
    draw = numpy.random.RandomState(0)
    shapes = {'encoder.weight': (V, N), 'rnn.weight_ih_l0': (4 * N, N),
              'rnn.weight_hh_l0': (4 * N, N), 'rnn.bias_ih_l0': (4 * N,),
              'rnn.bias_hh_l0': (4 * N,), 'decoder.weight': (V, N),
              'decoder.bias': (V,)}
    return {name: draw.standard_normal(shape).astype('f')
            for name, shape in shapes.items()}


@pytest.fixture
def torch(monkeypatch):
    """Stand-ins with the names that PyTorch's pickles have."""
    made = {}
    for name in ('torch', 'torch._utils', 'torch.nn', 'torch.nn.modules',
                 'torch.nn.modules.module'):
        made[name] = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, made[name])

    def define(module, name, kind=None):
        def function():
            pass
        value = kind or function
        value.__module__, value.__qualname__, value.__name__ = module, name, name
        setattr(made[module], name, value)
        return value

    class Module:
        def __init__(self, modules=(), max_norm=None, **parameters):
            self._modules, self._parameters = dict(modules), parameters
            self._buffers, self.max_norm = {}, max_norm

    define('torch', 'FloatStorage')
    define('torch', 'QInt8Storage')
    for name in '_rebuild_tensor_v2', '_rebuild_qtensor', '_rebuild_sparse_tensor':
        define('torch._utils', name)
    for name in 'Sequential', 'Embedding', 'LSTM', 'Linear':
        define('torch.nn.modules.module', name, type(name, (Module,), {}))
    return made


class Saved:
    """Tensor pickled as by torch.save, by a function of torch._utils."""

    def __init__(self, array, by='_rebuild_tensor_v2', storage='FloatStorage',
                 metadata=None):
        self.array, self.by, self.storage = array, by, storage
        self.metadata = metadata

    def __reduce__(self):
        shape = self.array.shape
        strides = tuple(step // 4 for step in self.array.strides)
        arguments = (Storage(self), 0, shape, strides, False, {})
        if self.metadata:
            arguments += (self.metadata,)
        return getattr(sys.modules['torch._utils'], self.by), arguments


class Storage:
    def __init__(self, saved):
        self.saved = saved


@pytest.fixture
def save(torch, write):
    def save(root):
        members = {}

        class Pickler(pickle.Pickler):
            def persistent_id(self, value):
                if not isinstance(value, Storage):
                    return None
                key, saved = str(len(members)), value.saved
                members[key] = saved.array.tobytes()
                kind = getattr(sys.modules['torch'], saved.storage)
                return 'storage', kind, key, 'cpu', saved.array.size

        text, data = io.BytesIO(), io.BytesIO()
        Pickler(text, 2).dump(root)
        with zipfile.ZipFile(data, 'w') as archive:
            archive.writestr('archive/data.pkl', text.getvalue())
            for key, content in members.items():
                archive.writestr(f'archive/data/{key}', content)
        return write('model.pt', data.getvalue())
    return save


def state(tensors):
    return {name: Saved(array) for name, array in tensors.items()}


def module(torch, tensors, encoder=None, names=('encoder', 'rnn', 'decoder'),
           **more):
    """Pickles a module; class and settings of its encoder can be changed."""
    classes, parts = torch['torch.nn.modules.module'], {}
    for name, own, kind in zip(names, ('encoder', 'rnn', 'decoder'),
                               ('Embedding', 'LSTM', 'Linear')):
        parameters = {key.partition('.')[2]: Saved(array)
                      for key, array in tensors.items() if key.startswith(own + '.')}
        if kind == 'Embedding':
            kind, parameters = encoder or kind, {**parameters, **more}
        parts[name] = getattr(classes, kind)(**parameters)
    return classes.Sequential(parts)


def refused(path, message):
    with pytest.raises(rnnlm.InputError, match=message):
        convert.load(path)
    try:
        assert inspecting.describe(path)['model'] is None
    except rnnlm.InputError as e:
        assert message.split('.*')[0] in str(e)


def test_the_stand_ins_are_read(tensors, torch, save):
    for root in state(tensors), module(torch, tensors):
        found = convert.load(save(root))
        numpy.testing.assert_array_equal(found['l2/W'], tensors['decoder.weight'])
        numpy.testing.assert_array_equal(found['embed/W'], tensors['encoder.weight'])


@pytest.mark.parametrize('other', [
    lambda a: Saved(a, '_rebuild_sparse_tensor'),
    lambda a: Saved(a, '_rebuild_qtensor', 'QInt8Storage'),
    lambda a: Saved(a, storage='QInt8Storage'),
    lambda a: Saved(a, metadata={'neg': True}), lambda a: a, list, lambda a: 0.5])
@pytest.mark.parametrize('name', ['decoder.bias', 'decoder.weight'])
def test_what_is_no_dense_tensor(tensors, save, name, other):
    """Without its bias or with the embedding's matrix it would be another model."""
    path = save({**state(tensors), name: other(tensors[name])})
    refused(path, f'{name}.*dense tensor')


def test_all_tensors_of_another_type(tensors, save):
    path = save({name: Saved(array, storage='QInt8Storage')
                 for name, array in tensors.items()})
    refused(path, 'dense tensor')


def test_other_things_beside_a_state_dict(tensors, save):
    convert.load(save({'state_dict': state(tensors), 'weight': 3, 'lr.bias': 0.1,
                       'rng': Saved(numpy.zeros(2, 'f'), storage='QInt8Storage')}))


def test_modules_that_are_not_read(tensors, torch, save):
    root = module(torch, tensors)
    root._modules['extra'] = Saved(numpy.zeros(2, 'f'), '_rebuild_sparse_tensor')
    refused(save(root), 'extra')
    root = module(torch, tensors)
    root._modules['extra'] = None
    convert.load(save(root))


def test_embeddings_that_change_their_vectors(tensors, torch, save):
    convert.load(save(module(torch, tensors, max_norm=None)))
    refused(save(module(torch, tensors, max_norm=1.)), r'Embedding\(max_norm\)')


def test_classes_say_what_names_do_not(tensors, torch, save):
    """Without a bias, names alone would decide, here wrongly."""
    del tensors['decoder.bias']
    path = save(module(torch, tensors, names=('decoder', 'rnn', 'encoder')))
    found = convert.load(path)
    numpy.testing.assert_array_equal(found['l2/W'], tensors['decoder.weight'])


def test_a_linear_is_no_embedding(tensors, torch, save):
    """Its matrix is transposed, which a square one does not show."""
    refused(save(module(torch, tensors, 'Linear')), 'encoder: expected an Embedding')


def test_averaged_models(tensors):
    averaged = {f'module.{name}': array for name, array in tensors.items()}
    averaged['n_averaged'] = numpy.array(3)
    found = pytorch.import_model(averaged)
    numpy.testing.assert_array_equal(found['embed/W'], tensors['encoder.weight'])


@pytest.mark.parametrize('kept', ['encoder.weight', 'decoder.weight'])
def test_tied_safetensors(tensors, tmp_path, kept):
    """safetensors' save_model writes only one of them, and names the other."""
    path = str(tmp_path / 'model.safetensors')
    other = {'encoder.weight': 'decoder.weight'}.get(kept, 'encoder.weight')
    W = tensors.pop(kept)
    del tensors[other]
    safetensors.write(path, {**tensors, kept: W}, {other: kept, 'format': 'pt'})
    found = convert.load(path)
    numpy.testing.assert_array_equal(found['embed/W'], W)
    numpy.testing.assert_array_equal(found['l2/W'], W)
    safetensors.write(path, {**tensors, kept: W},
                      {f'{other}{k}': kept for k in range(9)})
    refused(path, 'tied')


def test_tied_safetensors_of_one_size(tmp_path):
    """V inputs for V words look like one-hot input, if nothing else is known."""
    path, draw = str(tmp_path / 'model.safetensors'), numpy.random.RandomState(0)
    shapes = {'rnn.weight_ih_l0': (4 * N, N), 'rnn.weight_hh_l0': (4 * N, N),
              'decoder.weight': (N, N), 'decoder.bias': (N,)}
    tensors = {name: draw.standard_normal(shape).astype('f')
               for name, shape in shapes.items()}
    safetensors.write(path, tensors, {'encoder.weight': 'decoder.weight'})
    numpy.testing.assert_array_equal(
        convert.load(path)['embed/W'], tensors['decoder.weight'])


@pytest.mark.parametrize('text, words', [
    ('["a", "b", "c", "d", "e"]', list('abcde')),
    ('{"e": 0, "d": 1, "c": 2, "b": 3, "a": 4}', list('edcba')),
    ('["a", "b"]', None), ('[', None), ('5', None)])
def test_tokens_in_safetensors(tensors, tmp_path, text, words):
    path = str(tmp_path / 'model.safetensors')
    safetensors.write(path, tensors, {'format': 'pt', 'vocab': text})
    found = convert.load_model(path).vocabulary
    assert (found and list(found.words)) == words


def test_safetensors_of_unknown_numbers(write):
    header = b'{"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}'
    path = write('a.safetensors', struct.pack('<Q', len(header)) + header + b'x')
    with pytest.raises(rnnlm.InputError, match='F8_E4M3'):
        convert.load(path)


def test_masks_in_safetensors(write):
    header = b'{"a.mask": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}'
    path = write('a.safetensors', struct.pack('<Q', len(header)) + header + b'\1\0')
    found, = safetensors.read(path).values()
    assert found.tolist() == [True, False]


@pytest.fixture
def links():
    draw = numpy.random.RandomState(0)
    shapes = {'emb/W': (V, N), 'rnn/upward/W': (4 * N, N), 'rnn/upward/b': (4 * N,),
              'rnn/lateral/W': (4 * N, N), 'out/W': (V, N), 'out/b': (V,)}
    return {name: draw.standard_normal(shape).astype('f')
            for name, shape in shapes.items()}


def test_an_output_layer_that_had_no_size_yet(links):
    """L.Linear(None, V) is saved without a matrix; it is not tied to the embedding."""
    _chainer_names.import_noted(links)
    del links['out/W']
    with pytest.raises(rnnlm.InputError, match='out/W: expected a matrix'):
        _chainer_names.import_noted(links)


@pytest.mark.parametrize('parts', [('m', 'v', 't'), ('h',), ('v',)])
def test_states_of_optimizers(links, tmp_path, parts):
    path = str(tmp_path / 'optimizer.npz')
    save_npz(path, {f'{name}/{part}': array
                    for name, array in links.items() for part in parts})
    refused(path, 'expected the parameters of a model.*optimizer')
