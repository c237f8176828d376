"""Layouts of other systems, compared with those systems where installed."""
import os

import chainer
import numpy
import pytest

from rnnlm.interchange import (
    d2l, keras, nstep, pytorch, textbook, torch7)
from rnnlm.interchange.weights import check_model
from rnnlm.structure import layer_shapes
from layouts import draw, model_shapes

N_IN, N, T, B, V, M = 5, 4, 6, 3, 7, 3


@pytest.fixture(params=['float32', 'float64'])
def layer(request):
    return draw(layer_shapes(N_IN, N), request.param)


@pytest.fixture(params=['float32', 'float64'])
def weights(request):
    return draw(model_shapes(V, M, N, 2), request.param)


@pytest.fixture
def torch():
    return pytest.importorskip('torch', reason='torch is not in the test extra')


@pytest.fixture
def keras_itself(torch):
    os.environ.setdefault('KERAS_BACKEND', 'torch')
    return pytest.importorskip('keras', reason='keras is not in the test extra')


def assert_close(found, expected, tolerance=None):
    expected = numpy.asarray(expected)
    tolerance = tolerance or (1e-5 if expected.dtype == numpy.float32 else 1e-9)
    numpy.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


class Case:
    """A window for one layer, and the results of Chainer's own link."""

    def __init__(self, layer):
        dtype = layer['upward/b'].dtype
        drawn = draw({'x': (T, B, N_IN), 'c': (B, N), 'h': (B, N), 'gy': (T, B, N),
                      'gc': (B, N)}, dtype, seed=1)
        self.x, self.c, self.h, self.gy, self.gc = drawn.values()
        with chainer.using_config('dtype', dtype):
            link = chainer.links.LSTM(N_IN, N)
        parameters = dict(link.namedparams())
        for name, array in layer.items():
            parameters['/' + name].array[...] = array
        link.set_state(chainer.Variable(self.c), chainer.Variable(self.h))
        ys = [link(x) for x in self.x]
        self.ys = numpy.stack([y.array for y in ys])
        self.c_last = link.c.array
        link.cleargrads()
        loss = sum(chainer.functions.sum(y * g) for y, g in zip(ys, self.gy))
        (loss + chainer.functions.sum(link.c * self.gc)).backward()
        self.gradients = {name: parameters['/' + name].grad for name in layer}

    def check(self, ys, c_last, gradients=None):
        assert_close(ys, self.ys)
        assert_close(c_last, self.c_last)
        for name in gradients or ():
            assert_close(gradients[name], self.gradients[name])


def test_layer_of_pytorch(layer, torch):
    case = Case(layer)
    lstm = torch.nn.LSTM(N_IN, N).to(getattr(torch, str(case.x.dtype)))
    lstm.load_state_dict({name: torch.from_numpy(array) for name, array in
                          pytorch.export_layer(layer).items()})
    ys, (_, c) = lstm(*map(torch.from_numpy, [case.x]), tuple(
        torch.from_numpy(state[None]) for state in (case.h, case.c)))
    ((ys * torch.from_numpy(case.gy)).sum()
     + (c[0] * torch.from_numpy(case.gc)).sum()).backward()
    gradients = {name: p.grad.numpy() for name, p in lstm.named_parameters()}
    gradients['bias_hh_l0'] = 0 * gradients['bias_hh_l0']  # the same as the other
    case.check(ys.detach(), c[0].detach(), pytorch.import_layer(gradients))


def test_layer_of_keras(layer, torch, keras_itself):
    case = Case(layer)
    lstm = keras_itself.layers.LSTM(
        N, return_sequences=True, return_state=True, dtype=str(case.x.dtype))
    lstm.build((B, T, N_IN))
    lstm.set_weights(list(keras.export_layer(layer).values()))
    ys, _, c = lstm(torch.from_numpy(case.x.swapaxes(0, 1).copy()),
                    initial_state=[torch.from_numpy(case.h), torch.from_numpy(case.c)])
    ys = ys.transpose(0, 1)
    ((ys * torch.from_numpy(case.gy)).sum()
     + (c * torch.from_numpy(case.gc)).sum()).backward()
    gradients = {v.name: v.value.grad.numpy() for v in lstm.trainable_variables}
    case.check(ys.detach(), c.detach(), keras.import_layer(gradients))


def test_layer_of_nstep(layer):
    case = Case(layer)
    with chainer.using_config('dtype', case.x.dtype):
        lstm = chainer.links.NStepLSTM(1, N_IN, N, 0)
    parameters = dict(lstm.namedparams())
    for name, array in nstep.export_layer(layer).items():
        parameters['/0/' + name].array[...] = array
    _, c, ys = lstm(case.h[None], case.c[None], list(case.x.swapaxes(0, 1).copy()))
    ys = chainer.functions.stack(ys, axis=1)
    lstm.cleargrads()
    (chainer.functions.sum(ys * case.gy)
     + chainer.functions.sum(c[0] * case.gc)).backward()
    gradients = {name: parameters['/0/' + name].grad for name in nstep.export_layer(
        layer)}
    gradients.update((f'b{i}', 0 * gradients[f'b{i}']) for i in range(4, 8))
    case.check(ys.array, c.array[0], nstep.import_layer(gradients))


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x))


def char_rnn_step(p, x, c, h):
    sums = x @ p['i2h.weight'].T + p['i2h.bias'] + h @ p['h2h.weight'].T + p['h2h.bias']
    first, second, third, fourth = numpy.split(sums, 4, axis=1)
    c = sigmoid(second) * c + sigmoid(first) * numpy.tanh(fourth)
    return c, sigmoid(third) * numpy.tanh(c)


def textbook_step(p, x, c, h):
    both = numpy.hstack([x, h])
    g = numpy.tanh(both @ p['wg'].T + p['bg'])
    i, f, o = (sigmoid(both @ p['w' + gate].T + p['b' + gate]) for gate in 'ifo')
    c = g * i + c * f
    return c, numpy.tanh(c) * o


def d2l_step(p, x, c, h):
    i, f, o, new = (x @ p[f'W_x{gate}'] + h @ p[f'W_h{gate}'] + p[f'b_{gate}']
                    for gate in 'ifoc')
    c = sigmoid(f) * c + sigmoid(i) * numpy.tanh(new)
    return c, sigmoid(o) * numpy.tanh(c)


@pytest.mark.parametrize('system, step', [
    (torch7, char_rnn_step), (textbook, textbook_step), (d2l, d2l_step)])
def test_layer_by_published_equations(layer, system, step):
    case = Case(layer)
    tensors = system.export_layer(layer)
    ys, c, h = [], case.c, case.h
    for x in case.x:
        c, h = step(tensors, x, c, h)
        ys.append(h)
    case.check(numpy.stack(ys), c)


@pytest.fixture
def ids():
    return numpy.random.RandomState(2).randint(0, V, (T, B)).astype('i')


def logits(weights, ids):
    """Computes the logits of our model: (T, B, V)."""
    model = check_model(weights).build()
    for param in model.params():
        param.array = param.array.astype(weights['embed/W'].dtype)
    for name, param in model.namedparams():
        param.array[...] = weights[name.lstrip('/')]
    with chainer.using_config('train', False):
        return model.logits(ids).array


def test_model_of_pytorch(weights, ids, torch):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Embedding(V, M)
            self.rnn = torch.nn.LSTM(M, N, num_layers=2)
            self.decoder = torch.nn.Linear(N, V)

        def forward(self, ids):
            return self.decoder(self.rnn(self.encoder(ids))[0])

    model = Model().to(torch.float64)  # whose biases are not zero
    found = pytorch.import_model(
        {name: p.detach().numpy() for name, p in model.named_parameters()})
    assert_close(model(torch.from_numpy(ids)).detach(), logits(found, ids))

    exported = {name.replace('embed.', 'encoder.').replace('lstm.', 'rnn.').replace(
        'output.', 'decoder.'): torch.from_numpy(array)
        for name, array in pytorch.export_model(weights).items()}
    model.load_state_dict(exported)
    assert_close(model(torch.from_numpy(ids)).detach(), logits(weights, ids))


def test_model_of_keras(weights, ids, keras_itself):
    layers = keras_itself.layers
    dtype = str(weights['embed/W'].dtype)
    stack = [layers.Embedding(V, M, dtype=dtype),
             layers.LSTM(N, return_sequences=True, dtype=dtype),
             layers.LSTM(N, return_sequences=True, dtype=dtype),
             layers.Dense(V, dtype=dtype)]
    arrays = list(keras.export_model(weights).values())
    x = ids.T.copy()
    for layer in stack:
        layer.build((B, T) if layer is stack[0] else x.shape)
        n_arrays = len(layer.weights)
        layer.set_weights(arrays[:n_arrays])
        del arrays[:n_arrays]
        x = layer(x)
    found = x.detach().numpy().swapaxes(0, 1)
    # On PyTorch its Dense of float64 rounds to float32.
    assert_close(found, logits(weights, ids), tolerance=1e-6)


def test_model_of_nstep(weights, ids):
    class Model(chainer.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.embed = chainer.links.EmbedID(V, M)
                self.lstm = chainer.links.NStepLSTM(2, M, N, 0)
                self.output = chainer.links.Linear(N, V)

    with chainer.using_config('dtype', weights['embed/W'].dtype):
        model = Model()
    tensors = nstep.export_model(weights)
    assert sorted(tensors) == sorted(
        name.lstrip('/') for name, _ in model.namedparams())
    for name, param in model.namedparams():
        param.array[...] = tensors[name.lstrip('/')]
    _, _, ys = model.lstm(None, None, [model.embed(column) for column in ids.T.copy()])
    found = numpy.stack([model.output(y).array for y in ys], axis=1)
    assert_close(found, logits(weights, ids))


@pytest.mark.parametrize('n_embed', [M, V])  # a square one is not yet the identity
def test_model_of_char_rnn(n_embed, ids):
    weights = draw(model_shapes(V, n_embed, N, 2), 'float64')
    tensors = torch7.export_model(weights)  # the embedding is in the first layer now
    found = []
    states = [(numpy.zeros((B, N)),) * 2 for _ in range(2)]
    for step in ids:
        x = numpy.eye(V)[step]
        for k in range(2):
            layer = {name: tensors[name.replace('.', f'_{k + 1}.')] for name in (
                'i2h.weight', 'i2h.bias', 'h2h.weight', 'h2h.bias')}
            states[k] = char_rnn_step(layer, x, *states[k])
            x = states[k][1]
        found.append(x @ tensors['decoder.weight'].T + tensors['decoder.bias'])
    assert_close(numpy.stack(found), logits(weights, ids))
    assert_close(logits(torch7.import_model(tensors), ids), logits(weights, ids))
