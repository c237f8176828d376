"""The stand-in for CuPy does what CuPy does; on a GPU these tests ask CuPy itself."""
import chainer
from chainer import optimizers
from helpers import ON_HOST, make_gpu_trainer
import numpy
import pytest

import rnnlm
from rnnlm import kernels
from rnnlm.kernels import verification

pytestmark = pytest.mark.gpu
on_host = pytest.mark.skipif(not ON_HOST, reason='this is about the stand-in alone')

cupy = chainer.backends.cuda.cupy


@pytest.fixture
def a():
    return cupy.asarray(numpy.arange(6, dtype='f').reshape(2, 3))


# Arrays of the host and of the device -------------------------------------------

@pytest.mark.parametrize('mix', [
    lambda a, n: a + n,
    lambda a, n: n + a,
    lambda a, n: a.__iadd__(n),
    lambda a, n: cupy.maximum(a, n),
    lambda a, n: numpy.maximum(n, a),
    lambda a, n: numpy.asarray(a),
    lambda a, n: numpy.add(n, n, out=a),
    lambda a, n: n.__setitem__(Ellipsis, a),
    lambda a, n: a.__setitem__(Ellipsis, n),
    lambda a, n: cupy.dot(a, n.T),
    lambda a, n: cupy.add(a, a, where=True),
    lambda a, n: cupy.ElementwiseKernel('T x', 'T y', 'y = x', 'copy')(n)])
def test_they_do_not_mix(a, mix):
    with pytest.raises((TypeError, ValueError)):
        mix(a, numpy.ones((2, 3), 'f'))


def test_what_numpy_does_with_a_device_array(a):
    for b in numpy.sqrt(a), numpy.concatenate([a, a]), numpy.float32(2) * a:
        assert isinstance(b, cupy.ndarray) and b.dtype == 'f'
    assert isinstance(a.sum(), cupy.ndarray) and a.sum().shape == ()
    assert float(a.sum()) == 15 and a.sum().item() == 15 and bool(a.any())
    numpy.testing.assert_array_equal(a.get(), numpy.arange(6).reshape(2, 3))
    assert cupy.get_array_module(a) is cupy
    assert cupy.get_array_module(a.get()) is numpy


def test_numpys_scalars_widen_since_cupy_14(a):
    new = int(cupy.__version__.split('.')[0]) >= 14
    assert (a * numpy.float64(2)).dtype == ('d' if new else 'f')
    assert (a * 2.5).dtype == (2 * a).dtype == (a / 3).dtype == 'f'
    a *= numpy.float64(2)
    assert a.dtype == 'f'


def test_views_share_and_copies_do_not(a):
    a.T[0, 1] = 9
    a.reshape(3, 2)[0, 0] = 8
    a.copy()[...] = 7
    a[numpy.array([0])][...] = 7
    assert a.get().tolist() == [[8, 1, 2], [9, 4, 5]]
    assert a[0].data.ptr == a.data.ptr and a[1].data.ptr == a.data.ptr + 12


# Kernels ------------------------------------------------------------------------

def test_elementwise_kernel(a):
    kernel = cupy.ElementwiseKernel(
        'T x, S k, raw T row, float64 factor', 'T y, int64 at',
        'y = twice(x) * k + row[i % row.size()] * factor; at = i;', 'some',
        preamble='template <class T> __device__ T twice(T x) { return x + x; }')
    row = cupy.asarray(numpy.array([1, 9, 2, 9, 3, 9], 'f'))[::2]
    y, at = kernel(a, cupy.asarray(numpy.array([[1], [10]], 'i')), row, 0.5)
    numpy.testing.assert_array_equal(
        y.get(), [[0.5, 3, 5.5], [60.5, 81, 101.5]])
    assert y.dtype == 'f' and at.get().ravel().tolist() == list(range(6))


def test_outputs_of_a_kernel_may_be_strided_and_raw(a):
    out = cupy.zeros((3, 2), 'f')
    cupy.ElementwiseKernel('T x', 'T y', 'y += x * x', 'square')(a, out.T)
    numpy.testing.assert_array_equal(out.get().T, a.get() ** 2)
    cupy.ElementwiseKernel(
        'T x', 'raw T y', 'ptrdiff_t at[] = {i % 3, 1}; atomicAdd(&y[at], x)',
        'scatter')(a, out)
    numpy.testing.assert_array_equal(out.get()[:, 1], a.get()[1] ** 2 + a.get().sum(0))
    numbers = cupy.empty(5, 'i')
    cupy.ElementwiseKernel('', 'raw int32 y', 'y[i] = n_', 'n', preamble=(
        '#define n_ int(2 * i)'))(numbers, size=5)
    assert numbers.get().tolist() == [0, 2, 4, 6, 8]


def test_types_of_a_kernel_come_from_arrays(a):
    kernel = cupy.ElementwiseKernel('T x, T y', 'T z', 'z = x + y', 'add')
    assert kernel(a, numpy.float64(1)).dtype == 'f'
    with pytest.raises(TypeError, match='mismatched'):
        kernel(a, a.astype('d'))
    with pytest.raises(ValueError):
        kernel(1.0, 2.0)


def test_reduction_kernel(a):
    kernel = cupy.ReductionKernel(
        'T x, T y', 'T z', 'x * y', 'a + b', 'z = sqrt(a)', '0', 'length')
    x = a.get()
    for axis in None, 0, 1, (0, 1):
        numpy.testing.assert_allclose(
            kernel(a, a, axis=axis).get(), numpy.sqrt((x * x).sum(axis)), rtol=1e-6)
    assert kernel(a, a, axis=1, keepdims=True).shape == (2, 1)
    place = cupy.ReductionKernel(
        'T x, raw T y', 'T z', 'x * y[_j]', 'a + b', 'z = a', '0', 'place')
    assert float(place(a, a.reshape(-1))) == (x * x).sum()


SOURCE = '''
extern "C" __global__ void add(const float* x, float* y, int n, float factor) {
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k < n) y[k] += x[k] * factor;
}'''


@pytest.mark.parametrize('make', [
    lambda: cupy.RawKernel(SOURCE, 'add'),
    lambda: cupy.RawModule(code=SOURCE).get_function('add')])
def test_raw_kernel(a, make):
    y = cupy.ones_like(a)
    make()((2,), (4,), (a, y, 5, numpy.float32(0.5)))
    assert y.get().tolist() == [[1, 1.5, 2], [2.5, 3, 1]]


@on_host
def test_a_python_number_has_eight_bytes(a):
    with pytest.raises(TypeError, match='float parameter'):
        cupy.RawKernel(SOURCE, 'add')((2,), (4,), (a, a, 5, 0.5))


# CUDA graphs --------------------------------------------------------------------

def test_graph(a):
    add = cupy.RawKernel(SOURCE, 'add')
    square = cupy.ElementwiseKernel('T x', 'T y', 'y = x * x', 'square')
    y, z = cupy.zeros_like(a), cupy.zeros_like(a)
    one = numpy.float32(1)
    add((1,), (8,), (a, y, 0, one))  # compiled, and nothing added
    square(z, z)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        add((1,), (8,), (a, y, 6, one))
        square(y, z)
        z += y
        assert stream.is_capturing()
        with pytest.raises(NotImplementedError):  # cuBLAS
            cupy.dot(a, a.T)
        graph = stream.end_capture()
        stream.synchronize()
        assert not y.get().any() and not z.get().any()
        for k in 1, 2:
            graph.launch()
            stream.synchronize()
            numpy.testing.assert_array_equal(y.get(), k * a.get())
            numpy.testing.assert_array_equal(z.get(), y.get() ** 2 + y.get())


@on_host
@pytest.mark.parametrize('work', [
    float, bool, cupy.asnumpy if ON_HOST else None,
    lambda a: cupy.asarray(numpy.ones(3)), lambda a: cupy.random.rand(3),
    lambda a: a[a > 3], lambda a: cupy.cuda.runtime.deviceSynchronize()])
def test_what_cannot_be_captured(a, work):
    stream = cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
        with pytest.raises((NotImplementedError, RuntimeError)):
            work(a[0, 0] if work in (float, bool) else a)
        stream.end_capture()


@on_host
def test_new_arrays_are_filled_when_a_graph_runs(a):
    stream = cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
        b = cupy.exp(a * 2)
        shape = b.reshape(-1)[:3].shape
        graph = stream.end_capture()
    assert graph.allocations and shape == (3,) and numpy.isnan(b.get()).all()
    a *= 0
    graph.launch()
    assert (b.get() == 1).all()


@on_host
def test_the_default_stream_has_no_work_while_another_is_captured(a):
    stream = cupy.cuda.Stream()
    with stream:
        stream.begin_capture()
        with cupy.cuda.Stream.null, pytest.raises(RuntimeError):
            cupy.exp(a)
        stream.end_capture()


# Memory and waiting -------------------------------------------------------------

@on_host
def test_memory_begins_as_nan():
    assert numpy.isnan(cupy.empty((2, 3), 'f').get()).all()
    assert numpy.isnan(cupy.empty_like(cupy.ones(3)).get()).all()
    assert (cupy.ndarray(3, 'i').get() == -1).all()


def test_an_array_at_an_address(a):
    b = cupy.ndarray((3,), 'f', a.data + 12)
    b += 1
    assert a.get().tolist() == [[0, 1, 2], [4, 5, 6]]


@on_host
@pytest.mark.parametrize('graph', [True, False])
def test_a_window_never_waits_for_its_own_work(tmp_path, graph):
    """But for numbers of the window before, and for memory of earlier ones."""
    counts = cupy._device.counts
    updater = make_gpu_trainer('@cupy:0', tmp_path, dropout=0.5, optimizer=(
        optimizers.SGD if graph else optimizers.Adam)).updater
    for _ in range(1 + verification.TIMES):  # kernels are verified first
        updater.update()
    for _ in range(5):
        counts.reset()
        updater.update()
        assert set(counts.waits) == {'earlier event'}
        assert counts.uploads == (1 if graph else 2)  # words, and dropout's key
        assert (counts.launches < 10) == graph
    if graph:
        assert updater._graph._graph.allocations == 0


@on_host
def test_nor_do_steps(tmp_path):
    counts = cupy._device.counts
    updater = make_gpu_trainer('@cupy:0', tmp_path, dropout=0.5, per_step=True).updater
    updater.update()
    counts.reset()
    updater.update()
    assert set(counts.waits) == {'earlier event'}
    assert counts.uploads == 2 * updater.bprop_len


@on_host
def test_a_window_without_the_check_reads_nothing(tmp_path):
    updater = make_gpu_trainer('@cupy:0', tmp_path, optimizer=optimizers.Adam).updater
    for _ in range(verification.TIMES):  # kernels are verified first
        updater.update()
    updater = rnnlm.BPTTUpdater(
        updater.get_iterator('main'), updater.get_optimizer('main'), 5,
        device='@cupy:0', check_finite=False)
    for _ in range(3):  # the memory for uploads is taken again from the fifth on
        cupy._device.counts.reset()
        updater.update()
        assert cupy._device.counts.waits == []


@on_host
@pytest.mark.parametrize('dtype', ['f', 'd'])
def test_products_by_the_library(dtype):
    """`Blas` and the stand-in of cuBLAS agree what lies where."""
    blas = kernels.gpu_for(cupy, numpy.dtype(dtype)).cuda.blas
    random = numpy.random.RandomState(0)
    for m, n, k in [(1, 1, 1), (3, 4, 5), (1, 4, 3), (4, 1, 3), (5, 2, 1)]:
        a, b = random.rand(m, k).astype(dtype), random.rand(k, n).astype(dtype)
        a_t, b_t = (cupy.asarray(x.T.copy()).T for x in (a, b))
        for one in cupy.asarray(a), a_t:
            for other in cupy.asarray(b), b_t:
                out = cupy.empty((m, n), dtype)
                blas.dot(one, other, out)
                blas.dot(one, other, out, more=True)
                numpy.testing.assert_allclose(out.get(), 2 * a @ b, rtol=1e-5)
