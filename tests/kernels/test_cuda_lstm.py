"""CUDA kernels of an LSTM layer, run on the host and compared with NumPy."""
import cuda_on_host
import numpy
import pytest

from rnnlm.functions.lstm_window import _backward, _forward
from rnnlm.kernels.cuda import lstm, plans

pytestmark = pytest.mark.skipif(
    cuda_on_host.COMPILER is None, reason='no C++ compiler was found')


def inputs(T, B, n, dtype, seed=0):
    random = numpy.random.RandomState(seed)

    def array(*shape):
        return random.uniform(-1, 1, shape).astype(dtype)

    z, b, W = array(T, B, 4 * n), array(4 * n), array(4 * n, n) / n ** 0.5
    hs, cs = numpy.full((2, T + 1, B, n), numpy.nan, dtype)
    hs[0], cs[0] = array(2, B, n)
    return z, b, W, hs, cs, array(T, B, n), array(B, n), array(B, n)


def twins(run, T, B, n, dtype):
    """Computes outputs and gradients by `run` (kernels) and by NumPy."""
    found = []
    for forward, backward in (run.forward, run.backward), (_forward, _backward):
        z, b, W, hs, cs, ghs, gc, gh = inputs(T, B, n, dtype)
        tanh_cs = numpy.full((T, B, n), numpy.nan, dtype)
        gate = numpy.full((T, 4, B, n), numpy.nan, dtype)
        gz = numpy.full((T, B, 4 * n), numpy.nan, dtype)
        forward(z, b, W, hs, cs, tanh_cs, gate)
        backward(ghs, W, cs, tanh_cs, gate, gz, gc, gh)
        found.append((hs, cs, tanh_cs, gz, gc, gh))
    return found


SIZES = [(1, 1, 1), (2, 1, 1), (3, 2, 5), (2, 5, 8), (5, 3, 13), (4, 20, 30),
         (3, 7, 65)]


@pytest.mark.parametrize('order', cuda_on_host.ORDERS)
@pytest.mark.parametrize('T,B,n', SIZES)
@pytest.mark.parametrize('dtype', ['f', 'd'])
def test_two_launches_a_step(dtype, T, B, n, order, monkeypatch):
    monkeypatch.setattr(lstm, 'persistent', False)
    cuda = cuda_on_host.Cuda()
    cuda.order = order
    for ours, theirs in zip(*twins(lstm.Recurrent(cuda), T, B, n, dtype)):
        assert ours.dtype == theirs.dtype
        numpy.testing.assert_allclose(ours, theirs, rtol=0,
                                      atol=2e-6 if dtype == 'f' else 1e-14)
    assert cuda.launched == T * ['lstm_step_forward'] + T * ['lstm_step_backward']


@pytest.mark.parametrize('order', cuda_on_host.ORDERS)
@pytest.mark.parametrize('multiprocessors', [1, 5, 12])
@pytest.mark.parametrize('T,B,n', SIZES[1:])
def test_one_launch_a_window(T, B, n, multiprocessors, order):
    cuda = cuda_on_host.Cuda(multiprocessors)
    cuda.order = order
    fits = [getattr(plans, way)(n, B, multiprocessors, cuda.shared_per_block)
            for way in ('forward', 'backward')]
    for ours, theirs in zip(*twins(lstm.Recurrent(cuda), T, B, n, 'f')):
        numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    assert cuda.launched == [
        name for way, plan in zip(('forward', 'backward'), fits)
        for name in ([f'lstm_window_{way}'] if plan else T * [f'lstm_step_{way}'])]


@pytest.mark.parametrize('order', cuda_on_host.ORDERS)
@pytest.mark.parametrize('n,multiprocessors,kilobytes,chunks', [
    (190, 12, 64, (0, 0)), (190, 12, 56, (4, 4)), (190, 12, 40, (8, 8)),
    (126, 5, 64, (4, 7))])
def test_weights_that_do_not_fit_are_streamed(n, multiprocessors, kilobytes, chunks,
                                              order):
    cuda = cuda_on_host.Cuda(multiprocessors)
    cuda.order, cuda.shared_per_block = order, 1024 * kilobytes
    for way, expected in zip(('forward', 'backward'), chunks):
        plan = getattr(plans, way)(n, 9, multiprocessors, cuda.shared_per_block)
        assert f'CHUNKS={expected}' in plan.defines
        assert bool(plan.streamed) == bool(expected)
    for T in 2, 3:
        for ours, theirs in zip(*twins(lstm.Recurrent(cuda), T, 9, n, 'f')):
            numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    assert cuda.launched == 2 * ['lstm_window_forward', 'lstm_window_backward']


def test_what_is_streamed_leaves_no_room_and_has_limits():
    recurrent = lstm.Recurrent(cuda_on_host.Cuda(12, 40 * 1024))
    dtype, size = numpy.dtype('f'), (2, 9, 190)
    plan = recurrent._kernel('backward', dtype, *size)[1]
    assert plan.streamed and not recurrent.leaves_room(dtype, *size)
    assert recurrent.leaves_room(dtype, 2, 9, 8)
    for fewer in 1, 0:
        recurrent._cuda.streamable = 4 * plan.streamed - fewer
        assert (recurrent._kernel('backward', dtype, *size) is None) == bool(fewer)
    recurrent.may_stream = False
    assert recurrent._kernel('backward', dtype, *size) is None
    assert recurrent._kernel('backward', dtype, 2, 9, 8)


def test_no_remains_of_a_larger_layer():
    """Lines of 8 and of 7 units have the same length in memory, and 0 NaN is NaN."""
    recurrent = lstm.Recurrent(cuda_on_host.Cuda(5))
    z, b, W, hs, cs, *_ = inputs(3, 2, 8, 'f')
    hs[0] = numpy.nan
    recurrent.forward(z, b, W, hs, cs, z[..., :8].copy(), numpy.empty_like(z))
    assert numpy.isnan(hs).all()
    for ours, theirs in zip(*twins(recurrent, 3, 2, 7, 'f')):
        numpy.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
