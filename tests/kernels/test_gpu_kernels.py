"""CUDA kernels on a GPU, at typical sizes, compared with NumPy in float64.

Without a GPU these tests run on the stand-in of `cupy_on_host`, at small sizes, by
`test_on_host_gpu.py`.
"""
import os

import chainer
from chainer import links as L
import numpy
import pytest

import rnnlm
from rnnlm import RNNForLM, functions, kernels
from rnnlm.functions.lstm_window import _backward, _forward
from rnnlm.kernels.cuda import lstm, plans
from rnnlm.training import updater as updater_module

pytestmark = pytest.mark.gpu

ON_HOST = hasattr(chainer.backends.cuda.cupy, '_device')  # the stand-in
# For compute-sanitizer, which makes kernels slow.
SMALL = bool(os.environ.get('RNNLM_SMALL_GPU_TESTS'))
# Steps, rows, units; vocabulary.  Of the largest layer, weights are streamed.
SIZES = ([(3, 2, 10)] if ON_HOST
         else [(5, 20, 100), (4, 3, 44), (2, 20, 1500)] if SMALL
         else [(20, 20, 200), (35, 20, 650), (35, 64, 650), (35, 20, 1500),
               (200, 1, 1500)])
V = 50 if ON_HOST else 500 if SMALL else 10000


@pytest.fixture
def cupy():
    with chainer.using_device('@cupy:0'):
        yield chainer.backends.cuda.cupy


def gpu_of(cupy):
    gpu = kernels.gpu_for(cupy, numpy.float32)
    assert gpu, 'the kernels are not there'
    return gpu


def error(ours, exact):
    """Returns the relative error of a GPU array."""
    ours = chainer.get_device('@numpy').send(ours).astype('d')
    assert not numpy.isnan(ours).any()
    return numpy.linalg.norm(ours - exact) / numpy.linalg.norm(exact)


def window(T, B, n, dtype):
    random = numpy.random.RandomState(0)

    def array(*shape):
        return random.uniform(-1, 1, shape).astype('f').astype(dtype)

    z, b, W = array(T, B, 4 * n), array(4 * n), array(4 * n, n) / n ** 0.5
    hs, cs = numpy.full((2, T + 1, B, n), numpy.nan, dtype)
    hs[0], cs[0] = array(2, B, n)
    tanh_cs, gate, gz = (numpy.full((T, B, k * n), numpy.nan, dtype)
                         for k in (1, 4, 4))
    return (z, b, W.astype('f').astype(dtype), hs, cs, tanh_cs,
            gate.reshape(T, 4, B, n), gz, array(T, B, n), array(B, n), array(B, n))


def through(forward, backward, arrays):
    z, b, W, hs, cs, tanh_cs, gate, gz, ghs, gc, gh = arrays
    forward(z, b, W, hs, cs, tanh_cs, gate)
    backward(ghs, W, cs, tanh_cs, gate, gz, gc, gh)
    return hs, cs, gz, gc, gh


@pytest.mark.parametrize('persistent', [True, False])
@pytest.mark.parametrize('T,B,n', SIZES)
def test_recurrent(cupy, T, B, n, persistent, monkeypatch):
    monkeypatch.setattr(lstm, 'persistent', persistent)
    gpu = gpu_of(cupy)
    exact = through(_forward, _backward, window(T, B, n, 'd'))
    for _ in range(3):  # the scratch arrays are reused
        ours = through(gpu.recurrent.forward, gpu.recurrent.backward,
                       [cupy.asarray(x) for x in window(T, B, n, 'f')])
        for one, other in zip(ours, exact):
            assert error(one, other) < 2e-6


@pytest.mark.parametrize('T,B,n', SIZES)
def test_persistent_kernels_always_give_the_same(cupy, T, B, n):
    """A race condition between blocks would make two runs differ."""
    gpu = gpu_of(cupy)
    size = n, B, gpu.cuda.multiprocessors, gpu.cuda.shared_per_block
    if not (plans.forward(*size) and plans.backward(*size)):
        pytest.skip('the weights do not fit into the multiprocessors')
    first = None
    for _ in range(2 if ON_HOST else 50):
        found = [x.copy() for x in through(
            gpu.recurrent.forward, gpu.recurrent.backward,
            [cupy.asarray(x) for x in window(T, B, n, 'f')])]
        for one, other in zip(found, first or found):
            assert bool((one == other).all())
        first = first or found


@pytest.mark.parametrize('shape', [(), (4,), (2, 1)])
def test_arrays_whose_lines_are_not_contiguous(cupy, shape):
    """cuBLAS requires contiguous lines; NumPy does not."""
    x = cupy.broadcast_to(cupy.asarray(numpy.random.RandomState(0).uniform(
        size=shape).astype('f') if shape else numpy.float32(1)), (3, 2, 4))
    W = cupy.arange(160, dtype='f').reshape(20, 8)[:, ::2] / 100
    b, W_l = cupy.zeros(20, 'f'), cupy.zeros((20, 5), 'f')
    ours = functions.lstm_window(x, None, None, W, b, W_l)[0].array
    exact = functions.lstm_window(
        *(chainer.get_device('@numpy').send(a) if a is not None else None
          for a in (x, None, None, W, b, W_l)))[0].array
    assert error(ours, exact) < 2e-6


@pytest.mark.parametrize('tf32', [False, True])
@pytest.mark.parametrize('T,B,n', SIZES)
def test_output_layer(cupy, T, B, n, tf32):
    random = numpy.random.RandomState(0)
    t = random.randint(-1, V, (T, B)).astype('i')
    arrays = [random.randn(*shape).astype('f') for shape in ((T, B, n), (V, n), (V,))]
    found = []
    for device, dtype in ('@cupy:0', 'f'), ('@numpy', 'd'):
        device = chainer.get_device(device)
        variables = [chainer.Variable(device.send(a.astype(dtype))) for a in arrays]
        with chainer.using_config('tf32', tf32):
            loss = functions.linear_softmax_cross_entropy(*variables, device.send(t))
            loss.backward()
        found.append([loss.array] + [v.grad for v in variables])
    for ours, exact in zip(*found):
        assert error(ours, exact) < (2e-2 if tf32 else 2e-5)


def run(words, dropout, windows, T, B, n, graph, monkeypatch, optimizer=None):
    """Returns losses and parameters after some windows on the GPU."""
    if not graph and optimizer is None:
        monkeypatch.setattr(updater_module, 'why_no_graph', lambda *_: 'a test')
    numpy.random.seed(0)
    target = L.Classifier(RNNForLM(V, n, dropout=dropout))
    target.compute_accuracy = False
    target.to_device('@cupy:0')
    falls = optimizer is None
    optimizer = (optimizer or chainer.optimizers.SGD(lr=1.0)).setup(target)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(words, B), optimizer, T, '@cupy:0')
    losses = []
    for k in range(windows):
        if falls:
            optimizer.lr = 1 / (1 + k / 10)
        updater.update()
        losses.append(float(target.loss.array))
    assert (updater._graph is not None) == graph
    if graph:
        assert updater._graph._graph is not None, 'it was not captured'
    return losses, [p.array for p in target.params()]


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_fifty_windows_by_graph_and_without(cupy, dropout, monkeypatch):
    T, B, n = SIZES[0]
    words = numpy.random.RandomState(0).zipf(1.3, 60 * T * B) % V
    by_graph = run(words, dropout, 50, T, B, n, True, monkeypatch)
    without = run(words, dropout, 50, T, B, n, False, monkeypatch)
    numpy.testing.assert_allclose(by_graph[0], without[0], rtol=1e-4)
    for one, other in zip(by_graph[1], without[1]):
        assert error(one, chainer.get_device('@numpy').send(other)) < 1e-3


def test_the_graph_repeats_itself(cupy, monkeypatch):
    T, B, n = SIZES[0]
    words = numpy.random.RandomState(0).zipf(1.3, 60 * T * B) % V
    runs = [run(words, 0.3, 20, T, B, n, True, monkeypatch) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    for one, other in zip(*(params for _, params in runs)):
        assert bool((one == other).all())


def test_other_optimizers_use_no_graph(cupy, monkeypatch):
    T, B, n = SIZES[0]
    words = numpy.random.RandomState(0).zipf(1.3, 60 * T * B) % V
    losses, _ = run(words, 0.0, 5, T, B, n, False, monkeypatch,
                    chainer.optimizers.Adam())
    assert numpy.isfinite(losses).all()


@pytest.mark.skipif(ON_HOST or SMALL, reason='too large for the stand-in')
def test_a_large_vocabulary(cupy, monkeypatch):
    monkeypatch.setattr('test_gpu_kernels.V', 270000)
    words = numpy.random.RandomState(0).randint(0, 270000, 20 * 36 * 4)
    losses, _ = run(words, 0.5, 3, 35, 20, 650, True, monkeypatch)
    assert losses[0] == pytest.approx(numpy.log(270000), rel=0.01)
