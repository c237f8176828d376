"""An adaptive softmax to and from PyTorch; formats that have none refuse it."""
import runpy

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.interchange import convert as interchange
from rnnlm.interchange import inspecting, onnx, pytorch, safetensors
from rnnlm.structure import Adaptive, Layer, Structure

V, n = 23, 9
MODELS = [
    Structure(V, n, (Layer('LSTM', n),) * 2, adaptive=Adaptive((3, 8, 20), (2, 1, 1))),
    Structure(V, 4, (Layer('LSTM', 5), Layer('LSTM', n)),
              adaptive=Adaptive((22,), (7,), False)),
    Structure(V, n, (Layer('LSTM', 70),), adaptive=Adaptive((1, 2), (17, 4)))]


def make(structure, seed=0):
    random = numpy.random.RandomState(seed)
    model = structure.build(0.0)
    for param in model.params():
        param.array[...] = random.uniform(-0.9, 0.9, param.shape)
    model.output.ranks = random.permutation(V).astype('i')
    return model


def weights_of(model):
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(model)
    return serializer.target


def words(T=5, B=3):
    return numpy.random.RandomState(1).randint(0, V, (T, B)).astype('i')


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        numpy.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize('structure', MODELS, ids=str)
def test_through_a_state_dict_and_back(structure, tmp_path):
    weights = weights_of(make(structure))
    tensors = pytorch.export_model(weights)
    assert tensors['ranks'].dtype == numpy.int64 and 'output.weight' not in tensors
    for name, array in weights.items():
        if 'tail1' in name:
            assert tensors['output.tail.0.1.weight'] is array
    same(pytorch.import_model(tensors), weights)
    path = str(tmp_path / 'model.safetensors')
    safetensors.write(path, tensors)
    same(interchange.load(path), weights)
    assert 'adaptive softmax with cutoffs' in inspecting.describe(path)['summary']
    back = str(tmp_path / 'model.npz')
    interchange.save(back, interchange.load(path))
    with chainer.using_config('train', False):
        numpy.testing.assert_array_equal(
            rnnlm.load(back).model.logits(words()).array,
            make(structure).logits(words()).array)


def test_without_ranks_the_ids_are_ranks():
    tensors = pytorch.export_model(weights_of(make(MODELS[0])))
    del tensors['ranks']
    found = pytorch.import_noted(tensors)
    numpy.testing.assert_array_equal(found.weights['l3/ranks'], range(V))
    assert any('assumed to be ranks' in note for note in found.notes)


@pytest.mark.parametrize('name, change, match', [
    ('output.head.weight', lambda a: a[:-1], 'words'),
    ('output.head.weight', lambda a: a[:, :-1], 'expected'),
    ('output.head.bias', lambda a: a[:-1], 'expected'),
    ('output.tail.0.0.weight', lambda a: a[:-1], 'project1|tail1'),
    ('output.tail.0.1.weight', lambda a: a[0], '2 dimensions'),
    ('output.tail.0.1.weight', lambda a: a[:0], '2 dimensions'),
    ('output.tail.1.1.weight', None, 'nothing of that name'),
    ('output.tail.1.0.weight', None, 'tail'),
    ('ranks', lambda a: a * 0, 'each number from 0 to 22'),
    ('ranks', lambda a: a[:-1], 'each number from 0 to 22'),
    ('ranks', lambda a: a.astype('f'), 'each number from 0 to 22'),
    ('output.head.weight', lambda a: a.astype('d'), 'float')])
def test_tensors_that_do_not_fit(name, change, match):
    tensors = pytorch.export_model(weights_of(make(MODELS[0])))
    array = tensors.pop(name)
    if change:
        tensors[name] = change(array)
    with pytest.raises(rnnlm.InputError, match=match):
        pytorch.import_model(tensors)


@pytest.mark.parametrize('ending', ['.t7', '.weights.h5', '.keras', '.onnx'])
def test_formats_without_it_refuse_it(ending, tmp_path):
    if ending == '.onnx':
        pytest.importorskip('onnx')
    structure = MODELS[0]
    with pytest.raises(rnnlm.InputError, match='l3: expected a full softmax'):
        interchange.save(str(tmp_path / f'model{ending}'), weights_of(make(structure)))
    assert not list(tmp_path.iterdir())


def test_a_graph_refuses_it(tmp_path):
    pytest.importorskip('onnx')
    with pytest.raises(rnnlm.InputError, match='full softmax'):
        onnx.write(str(tmp_path / 'model.onnx'), weights_of(make(MODELS[0])))


# With torch -------------------------------------------------------------------

def torch_model(torch, structure, ranks=True):
    """nn.Modules of one's own with the numbers of a structure, from torch alone."""
    sizes = structure.adaptive
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Embedding(V, structure.n_embed)
            self.rnn = nn.LSTM(structure.n_embed, n, len(structure.layers))
            self.loss = nn.AdaptiveLogSoftmaxWithLoss(
                n, V, list(sizes.cutoffs), div_value=2.0, head_bias=sizes.head_bias)
            if ranks:
                self.register_buffer('ranks', torch.randperm(V))

        def forward(self, ids):
            h, _ = self.rnn(self.encoder(ids))
            log_p = self.loss.log_prob(h.flatten(0, 1)).unflatten(0, ids.shape)
            return log_p[..., self.ranks] if ranks else log_p

    return Net().double()


@pytest.mark.parametrize('ranks', [True, False])
@pytest.mark.parametrize('structure', MODELS[:1], ids=str)
def test_torchs_own_model_gives_the_same_numbers(structure, ranks, tmp_path):
    torch = pytest.importorskip('torch')
    torch.manual_seed(0)
    net = torch_model(torch, structure, ranks)
    path = str(tmp_path / 'model.pt')
    torch.save(net.state_dict(), path)
    npz = str(tmp_path / 'model.npz')
    interchange.save(npz, interchange.load(path))
    with chainer.using_config('dtype', numpy.dtype('d')):
        model = rnnlm.load(npz).model
    assert model.output.ranks.dtype == numpy.int32
    ids = words()
    with torch.no_grad():
        expected = net(torch.from_numpy(ids.astype('i8'))).numpy()
    model.dropout = 0.0
    numpy.testing.assert_allclose(model.logits(ids).array, expected, rtol=0, atol=1e-9)
    # The loss and its gradients, of the head and of each tail.
    t = numpy.random.RandomState(2).randint(0, V, ids.shape)
    model.reset_state()
    loss = model.loss(ids, t.astype('i'))
    model.cleargrads()
    loss.backward()
    h, _ = net.rnn(net.encoder(torch.from_numpy(ids.astype('i8'))))
    targets = torch.from_numpy(t)
    targets = net.ranks[targets] if ranks else targets
    found = net.loss(h.flatten(0, 1), targets.flatten()).loss * len(ids)
    found.backward()
    assert float(loss.array) == pytest.approx(found.item(), rel=1e-9)
    output = model.output
    for ours, theirs in [
            (output.head.W, net.loss.head.weight), (output.head.b, net.loss.head.bias),
            (model.embed.W, net.encoder.weight),
            *((ours.W, theirs.weight) for one, other in zip(
                output.tails(), net.loss.tail) for ours, theirs in zip(one, other))]:
        numpy.testing.assert_allclose(ours.grad, theirs.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize('structure', MODELS, ids=str)
def test_the_module_that_is_written(structure, tmp_path):
    torch = pytest.importorskip('torch')
    model = make(structure)
    path = str(tmp_path / 'twin.py')
    interchange.save(path, weights_of(model))
    twin = runpy.run_path(path)['load']()
    ids = words()
    with torch.no_grad():
        found, _ = twin(torch.from_numpy(ids.astype('i8')))
    numpy.testing.assert_allclose(
        found.numpy(), model.logits(ids).array, rtol=0, atol=5e-6)
    same(interchange.load(str(tmp_path / 'twin.pt')), weights_of(model))
    # A whole module of torch's own classes, which are pickled with it.
    whole = torch.nn.ModuleDict(
        {'embed': twin.embed, 'lstm': twin.lstm, 'output': twin.output})
    whole.register_buffer('ranks', twin.ranks)
    torch.save(whole, str(tmp_path / 'whole.pt'))
    same(interchange.load(str(tmp_path / 'whole.pt')), weights_of(model))
