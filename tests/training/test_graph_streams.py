"""The streams of a window's graph wait for one another where they share memory."""
import chainer
from chainer import links as L
import cuda_on_host
import numpy
import pytest
import stream_races

from rnnlm import RNNForLM, kernels
from rnnlm.kernels.cuda import lstm
from rnnlm.kernels.cuda.gpu import Gpu
from rnnlm.training import cuda_graph

pytestmark = pytest.mark.skipif(
    cuda_on_host.COMPILER is None, reason='no C++ compiler was found')

V, T, B = 14, 4, 3


@pytest.fixture
def gpu(monkeypatch):
    gpu = Gpu(stream_races.Cuda())
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: gpu)
    return gpu


def train(dropout, n=7, B=B, **kind):
    """Trains on two windows by a graph."""
    target = L.Classifier(RNNForLM(V, n, dropout=dropout, **kind))
    target.compute_accuracy = False
    optimizer = chainer.optimizers.SGD().setup(target)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(0.1))
    graph = cuda_graph.WindowGraph(target.predictor, optimizer, T, B)
    for k in range(2):  # launched one by one, and captured
        graph.update(numpy.random.RandomState(k).randint(0, V, (T + 1, B)).astype('i'))


@pytest.mark.parametrize('persistent', [True, False])
@pytest.mark.parametrize('dropout', [0.0, 0.4])
@pytest.mark.parametrize('kind', [
    {}, {'tied': True}, {'n_layers': 1}, {'n_layers': 3, 'n_embed': 4},
    {'n_layers': 1, 'tied': True}])
def test_streams_do_not_race(gpu, kind, dropout, persistent, monkeypatch):
    monkeypatch.setattr(lstm, 'persistent', persistent)
    monkeypatch.setattr(cuda_graph, 'PIECE', 6)
    train(dropout, **kind)
    assert len(gpu.cuda.accesses.clocks) == 2


@pytest.mark.parametrize('tf32', [False, True])
def test_weights_that_are_streamed(tf32, monkeypatch):
    """They are not streamed with TF32, in which cuBLAS is faster."""
    gpu = Gpu(stream_races.Cuda(multiprocessors=12, shared_per_block=40 * 1024))
    monkeypatch.setattr(kernels, 'gpu_for', lambda xp, dtype: gpu)
    with chainer.using_config('tf32', tf32):
        train(0.0, n=190, B=9)
    assert ('lstm_window_backward' in gpu.cuda.launched) != tf32
    assert ('lstm_step_backward' in gpu.cuda.launched) == tf32


# The fourth only delays the gradient of the output layer, whose inputs are there.
@pytest.mark.parametrize('missing', [0, 1, 2, 4, 5, 6])
def test_a_missing_wait_is_found(gpu, missing, monkeypatch):
    waits, wait = [], stream_races.Cuda.wait

    def most(self, mark):
        waits.append(mark)
        if len(waits) - 1 != missing:
            wait(self, mark)

    monkeypatch.setattr(stream_races.Cuda, 'wait', most)
    with pytest.raises(stream_races.Race, match='does not wait for'):
        train(0.4)
