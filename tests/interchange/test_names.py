"""Layouts of other systems: exact round trips, and what is refused."""
import chainer
from chainer import links as L
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import (
    _by_shape, d2l, interleaving, keras, nstep, pytorch, textbook, torch7)
from rnnlm.interchange.weights import untied
from rnnlm.structure import layer_shapes
from layouts import assert_same_bits, draw, model_shapes

N_IN, N, V, M = 5, 4, 7, 3

LAYERS = [pytorch, keras, torch7, textbook, d2l, nstep]
MODELS = [pytorch, keras, torch7, nstep]


def name_of(module):
    return module.__name__.rpartition('.')[2]


@pytest.fixture(params=['float32', 'float64'])
def layer(request):
    return draw(layer_shapes(N_IN, N), request.param)


@pytest.fixture(params=['float32', 'float64'])
def weights(request):
    return draw(model_shapes(V, M, N, 2), request.param)


@pytest.mark.parametrize('system', LAYERS, ids=name_of)
def test_layer_round_trip(layer, system):
    layer['upward/b'][:5] = [-0.0, 0.0, numpy.inf, 1e-40, -0.0]
    assert_same_bits(system.import_layer(system.export_layer(layer)), layer)
    tensors = system.export_layer(layer)
    assert_same_bits(system.export_layer(system.import_layer(tensors)), tensors)


@pytest.mark.parametrize('system', MODELS, ids=name_of)
def test_model_round_trip(weights, system):
    weights['l1/upward/b'][:2] = -0.0, 0.0
    if system is torch7:  # which lacks an embedding
        dtype = weights['embed/W'].dtype
        weights = draw(model_shapes(V, V, N, 2), dtype)
        weights['embed/W'] = numpy.eye(V, dtype=dtype)
    assert_same_bits(system.import_model(system.export_model(weights)), weights)


@pytest.mark.parametrize('system, second', [
    (pytorch, 'bias_hh_l0'), (torch7, 'h2h.bias'), (nstep, 'b6')])
def test_second_biases_are_added(layer, system, second):
    tensors = system.export_layer(layer)
    tensors[second] = tensors[second] + 1
    gained = system.import_layer(tensors)['upward/b'] - layer['upward/b']
    expected = numpy.ones((N, 4))
    if system is nstep:
        expected[:, 1:] = 0  # b6 belongs to the cell input
    numpy.testing.assert_allclose(gained, expected.ravel(), atol=1e-6)


@pytest.mark.parametrize('system', LAYERS, ids=name_of)
def test_wrong_layers_are_refused_by_name(layer, system):
    tensors = system.export_layer(layer)
    for name, array in tensors.items():
        fewer = array[..., :-1] if system is keras else array[:-1]  # gates
        for wrong, expected in (
                (None, 'found none'), (fewer, 'shape'),
                (array.astype('i4'), 'int32'),
                (array.astype('f2'), 'float16'), (list(array), 'NumPy array'),
                (array[..., None], 'shape')):
            others = {**tensors, name: wrong}
            if wrong is None:
                del others[name]
            with pytest.raises(rnnlm.InputError, match=expected):
                system.import_layer(others)
        others = {**tensors, name: array.astype(
            'f8' if array.dtype == numpy.float32 else 'f4')}
        with pytest.raises(rnnlm.InputError, match='convert all to one'):
            system.import_layer(others)
    with pytest.raises(rnnlm.InputError, match='^peephole: expected no tensor'):
        system.import_layer({**tensors, 'peephole': layer['upward/b']})
    with pytest.raises(rnnlm.InputError, match='^lateral/W: expected'):
        system.export_layer({**layer, 'lateral/W': layer['lateral/W'][:-1]})


@pytest.mark.parametrize('system', MODELS, ids=name_of)
def test_wrong_models_are_refused_by_name(weights, system):
    tensors = system.export_model(weights)
    for name, array in tensors.items():
        others = {**tensors, name: array[:-1]}
        with pytest.raises(rnnlm.InputError, match='expected'):
            system.import_model(others)
        del others[name]
        if name != 'output.bias':  # in PyTorch, a Linear may lack it
            with pytest.raises(rnnlm.InputError, match='expected'):
                system.import_model(others)
        with pytest.raises(rnnlm.InputError, match='convert all to one'):
            system.import_model({**tensors, name: array.astype(
                'f8' if array.dtype == numpy.float32 else 'f4')})
    with pytest.raises(rnnlm.InputError, match='^more: expected no tensor'):
        system.import_model({**tensors, 'more': weights['l3/b']})
    with pytest.raises(rnnlm.InputError, match='^l2/upward/b: expected a tensor'):
        system.export_model({k: w for k, w in weights.items() if k != 'l2/upward/b'})
    with pytest.raises(rnnlm.InputError, match='^embed/W: expected .* found none among '
                                               'no tensors'):
        system.export_model({})


def test_char_rnn_of_too_many_characters():
    n_vocab = _by_shape.MOST_ONE_HOT + 1
    shapes = {'i2h_1.weight': (4, n_vocab), 'i2h_1.bias': (4,), 'h2h_1.weight': (4, 1),
              'h2h_1.bias': (4,), 'decoder.weight': (n_vocab, 1),
              'decoder.bias': (n_vocab,)}
    with pytest.raises(rnnlm.InputError, match='at most 10,000 characters'):
        torch7.import_model({k: numpy.zeros(shape) for k, shape in shapes.items()})


@pytest.mark.parametrize('change, message', [
    ({'lstm.weight_ih_l0_reverse': (16, 3)}, 'weight_ih_l0_reverse: expected no'),
    ({'lstm.weight_hr_l0': (2, 4)}, 'weight_hr_l0: expected no'),
    ({'other.weight_ih_l0': (16, 3)}, 'weight_ih_l0: expected one .* found 2'),
    ({'hidden.weight': (4, 4), 'hidden.bias': (4,)}, 'bias: expected one .* found 2'),
    ({'position.weight': (9, 3)}, 'weight: expected one .* found 2'),
])
def test_other_pytorch_models_are_refused(weights, change, message):
    tensors = pytorch.export_model(weights)
    tensors.update((name, numpy.zeros(shape)) for name, shape in change.items())
    with pytest.raises(rnnlm.InputError, match=message):
        pytorch.import_model(tensors)


def test_pytorch_behind_a_prefix(weights):
    tensors = {f'module.{name}': array for name, array in pytorch.export_model(
        weights).items()}
    assert_same_bits(pytorch.import_model(tensors), weights)


def test_blocks():
    x = numpy.arange(8)  # units 0 and 1, each a, i, f, o
    assert interleaving.to_blocks(x, ('i', 'f', 'a', 'o')).tolist() == [
        1, 5, 2, 6, 0, 4, 3, 7]
    order = ('o', 'a', 'f', 'i')
    assert interleaving.from_blocks(
        interleaving.to_blocks(x, order), order).tolist() == x.tolist()


def test_tied_weights_get_a_matrix_of_their_own(weights):
    tied = {name: w for name, w in weights.items() if name != 'l3/W'}
    with pytest.raises(rnnlm.InputError, match='^l3/W'):
        pytorch.export_model(tied)
    assert untied(tied)['l3/W'] is weights['embed/W']
    assert_same_bits(untied(weights), weights)


def test_messages_stay_short(weights):
    tensors = pytorch.export_model(weights)
    long = 'x' * 10 ** 6
    for others in ({**tensors, long: weights['l3/b']}, {long: weights['l3/b']},
                   {**tensors, f'{long}.bias': weights['l3/b']}):
        with pytest.raises(rnnlm.InputError) as e:
            pytorch.import_model(others)
        assert len(str(e.value)) < 1500


@pytest.mark.parametrize('names', [
    ('embed', 'l1', 'out'), ('embed', 'l1', 'l2', 'out'), ('emb', 'l1', 'fc')])
def test_models_that_share_some_names_with_ours(tmp_path, names):
    numpy.random.seed(0)
    links = [L.EmbedID(9, 5), *(L.LSTM(5, 5) for _ in names[2:]), L.Linear(5, 9)]
    model = chainer.Chain(**dict(zip(names, links)))
    path = str(tmp_path / 'model.npz')
    chainer.serializers.save_npz(path, model)
    out = str(tmp_path / 'ours.npz')
    assert cli.main(['convert', path, out]) == 0
    converted = rnnlm.load(out).model
    for param, other in zip(
            (converted.embed.W, converted.output.W, converted.l1.lateral.W),
            (links[0].W, links[-1].W, links[1].lateral.W)):
        numpy.testing.assert_array_equal(param.array, other.array)
