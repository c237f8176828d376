"""Functions that use the CUDA kernels, run on the host and compared with NumPy."""
import contextlib

import chainer
import cuda_on_host
import numpy
import pytest

from rnnlm import RNNForLM, functions, kernels
from rnnlm.functions import philox
from rnnlm.kernels.cuda import lstm, rows
from rnnlm.kernels.cuda.gpu import Gpu

pytestmark = pytest.mark.skipif(
    cuda_on_host.COMPILER is None, reason='no C++ compiler was found')


@pytest.fixture
def on_gpu(monkeypatch):
    """Returns a context in which NumPy arrays use the CUDA kernels."""
    gpu = Gpu(cuda_on_host.Cuda())
    gpu.cuda.order = 'shuffled'

    @contextlib.contextmanager
    def context(persistent=True):
        with monkeypatch.context() as patch:
            patch.setattr(kernels, 'gpu_for', lambda xp, dtype: gpu)
            patch.setattr(lstm, 'persistent', persistent)
            yield gpu
    return context


def close(ours, theirs, dtype):
    assert ours.dtype == theirs.dtype == dtype
    assert not numpy.isnan(theirs).any()
    tolerance = 5e-6 if dtype == 'f' else 1e-13
    numpy.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def compute(function, arrays, grads=None):
    """Computes outputs of a function and gradients of its inputs."""
    variables = [chainer.Variable(array.copy()) for array in arrays]
    outputs = function(*variables)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    random = numpy.random.RandomState(1)
    given = [chainer.Variable(numpy.asarray(random.randn(*o.shape), o.dtype))
             for o in outputs]
    found = chainer.grad(outputs, variables, given)
    return [o.array for o in outputs] + [g.array for g in found]


@pytest.mark.parametrize('persistent', [True, False])
@pytest.mark.parametrize('dtype', ['f', 'd'])
@pytest.mark.parametrize('T,B,n_in,n', [(1, 1, 1, 1), (4, 3, 6, 9), (3, 5, 17, 12)])
def test_lstm_window(on_gpu, dtype, T, B, n_in, n, persistent):
    random = numpy.random.RandomState(0)
    arrays = [random.randn(*shape).astype(dtype) for shape in (
        (T, B, n_in), (B, n), (B, n), (4 * n, n_in), (4 * n,), (4 * n, n))]
    theirs = compute(functions.lstm_window, arrays)
    with on_gpu(persistent):
        ours = compute(functions.lstm_window, arrays)
    for one, other in zip(ours, theirs):
        close(one, other, dtype)


@pytest.mark.parametrize('chunk', [2 ** 24, 40])
@pytest.mark.parametrize('dtype', ['f', 'd'])
@pytest.mark.parametrize('T,B,n,V', [(1, 1, 1, 1), (4, 3, 5, 7), (2, 3, 4, 5000)])
def test_linear_softmax_cross_entropy(on_gpu, dtype, T, B, n, V, chunk, monkeypatch):
    monkeypatch.setattr('rnnlm.functions.softmax_loss.CHUNK_ELEMENTS', chunk)
    random = numpy.random.RandomState(0)
    t = random.randint(-1, V, (T, B)).astype('i')
    arrays = [random.randn(*shape).astype(dtype)
              for shape in ((T, B, n), (V, n), (V,))]
    if V > 10:
        arrays[2] *= 100  # most of the exponentials are 0

    def function(x, W, b):
        return functions.linear_softmax_cross_entropy(x, W, b, t)

    theirs = compute(function, arrays)
    with on_gpu() as gpu:
        ours = compute(function, arrays)
        with chainer.no_backprop_mode():
            loss = function(*arrays).array
    assert gpu.cuda.launched.count('softmax_cross_entropy') >= 2
    close(loss, theirs[0], dtype)
    for one, other in zip(ours, theirs):
        close(one, other, dtype)


@pytest.mark.parametrize('cached', [True, False])
def test_a_row_that_does_not_fit_into_shared_memory(on_gpu, cached):
    random = numpy.random.RandomState(0)
    x, W, b = (random.randn(*shape) for shape in ((2, 2, 3), (600, 3), (600,)))
    t = random.randint(0, 600, (2, 2)).astype('i')
    theirs = functions.linear_softmax_cross_entropy(x, W, b, t).array
    with on_gpu() as gpu:
        gpu.cuda.shared_per_block = 48 * 1024 if cached else 6 * 1024
        ours = functions.linear_softmax_cross_entropy(x, W, b, t).array
    close(ours, theirs, 'd')


@pytest.mark.parametrize('tile', [4096, 2])
@pytest.mark.parametrize('dtype', ['f', 'd'])
@pytest.mark.parametrize('ids', [
    [[0]], [[3, 3, 3], [3, 3, 3]], [[5, 0, 2], [2, 5, 1], [0, 2, 2]]])
def test_embedding(on_gpu, dtype, ids, tile, monkeypatch):
    monkeypatch.setattr(rows, 'TILE', tile)
    ids = numpy.array(ids, 'i')
    W = numpy.random.RandomState(0).randn(7, 300).astype(dtype)
    theirs = compute(lambda W: functions.embedding(ids, W), [W])
    with on_gpu() as gpu:
        ours = compute(lambda W: functions.embedding(ids, W), [W])
    for one, other in zip(ours, theirs):
        close(one, other, dtype)
    assert 'sum_rows' in gpu.cuda.launched


def test_embedding_of_a_large_window(on_gpu):
    """More ids than fit into a block's shared memory."""
    ids = numpy.arange(6000, dtype='i').reshape(2000, 3) % 11
    W = numpy.ones((11, 2))
    with on_gpu() as gpu:
        gpu.cuda.shared_per_block = 20 * 1024
        _, gW = compute(lambda W: functions.embedding(ids, W), [W])
        assert 'sum_rows' in gpu.cuda.launched
    close(gW, compute(lambda W: functions.embedding(ids, W), [W])[1], 'd')


def test_dropout_draws_what_its_twin_does(on_gpu):
    widths, T, B = [5, 3], 4, 2
    numpy.random.seed(3)
    numbers = philox.philox(numpy, philox.draw_key(), T * B * 8)
    numbers = ((numbers >> 8) * numpy.float32(2 ** -24)).reshape(T, B * 8)
    numpy.random.seed(3)
    with on_gpu():
        drop = functions.WindowDropout(numpy, T, B, widths, 0.3, numpy.float32)
        for k, part in enumerate((numbers[:, :10], numbers[:, 10:])):
            x = numpy.random.randn(T, B, widths[k]).astype('f')
            y, gx = compute(lambda x: drop(k, x), [x])
            kept = (part >= numpy.float32(0.3)).reshape(x.shape)
            close(y, kept * x / numpy.float32(0.7), 'f')
            assert ((gx != 0) == kept).all()
    assert 0.2 < (numbers < 0.3).mean() < 0.4


@pytest.mark.parametrize('kind', [{}, {'tied': True}, {'n_embed': 6, 'n_layers': 3}])
def test_model(on_gpu, kind):
    """Loss and all gradients of a window, with the state carried to the next one."""
    found = []
    for way in contextlib.nullcontext, on_gpu:
        numpy.random.seed(0)
        model = RNNForLM(12, 9, dropout=0.0, **kind)
        words = numpy.random.randint(0, 12, (2, 6, 3)).astype('i')
        with way():
            losses = []
            model.cleargrads()
            for window in words:
                loss = model.loss(window[:-1], window[1:])
                loss.backward()
                loss.unchain_backward()
                losses.append(loss.array)
        found.append(losses + [param.grad for param in model.params()])
    for one, other in zip(*found):
        close(one, other, 'f')


def test_model_in_mixed_precision(on_gpu):
    found = []
    for way in contextlib.nullcontext, on_gpu:
        numpy.random.seed(0)
        with chainer.using_config('dtype', chainer.mixed16):
            model = RNNForLM(12, 9, dropout=0.0)
        words = numpy.random.randint(0, 12, (6, 3)).astype('i')
        with way():
            loss = model.loss(words[:-1], words[1:])
            model.cleargrads()
            loss.backward(loss_scale=128.0)
        assert loss.dtype == numpy.float32
        assert all(p.grad.dtype == numpy.float16 for p in model.params())
        found.append([loss.array] + [p.grad for p in model.params()])
    for one, other in zip(*found):
        one, other = one.astype('f'), other.astype('f')
        assert numpy.linalg.norm(one - other) < 2e-3 * numpy.linalg.norm(other)


def test_the_key_of_dropout_lies_where_the_model_does(on_gpu, monkeypatch):
    """The current device may be another one."""
    used = []
    monkeypatch.setattr(functions, 'WindowDropout', lambda *_: used.append(
        chainer.get_device('@numpy') in inside))
    inside = []

    def using(device):
        inside.append(device)
        return contextlib.nullcontext()

    model = RNNForLM(12, 9, dropout=0.5)
    monkeypatch.setattr(chainer, 'using_device', using)
    model._window_dropout(2, 3)
    assert used == [True]
