"""Arrays are handed out again when nobody holds them, and not before."""
import os
import threading

import chainer
from helpers import make_trainer, small, text
import numpy
import pytest

from rnnlm.kernels import buffers


@pytest.fixture(autouse=True)
def fresh():
    buffers.clear()
    yield
    buffers.clear()


def test_an_array_comes_back_when_nobody_holds_it():
    a = buffers.empty(numpy, (3, 4), 'f')
    assert a.shape == (3, 4) and a.dtype == numpy.float32
    b = buffers.empty(numpy, (3, 4), 'f')
    assert b is not a
    view = b[1:].T
    address = b.ctypes.data
    del b
    assert buffers.empty(numpy, (3, 4), 'f').ctypes.data != address
    view[0, 0] = 5
    del view
    c = buffers.empty(numpy, (3, 4), 'f')
    d = buffers.empty(numpy, (3, 4), 'f')
    assert address in (c.ctypes.data, d.ctypes.data)
    assert buffers.empty(numpy, (3, 4), 'd').dtype == numpy.float64


def test_another_thread_has_its_own():
    a = buffers.empty(numpy, (5,), 'f').ctypes.data
    other = []
    thread = threading.Thread(
        target=lambda: other.append(buffers.empty(numpy, (5,), 'f')))
    thread.start()
    thread.join()
    assert other[0].ctypes.data != a


@pytest.mark.parametrize('optimizer', ['SGD', 'Adam'])
def test_training_does_not_grow(tmp_path, optimizer):
    model = small(dropout=0.5)
    trainer = make_trainer(model, text(), tmp_path, stop=(40, 'iteration'))
    if optimizer != 'SGD':
        trainer.updater._optimizers['main'] = (
            getattr(chainer.optimizers, optimizer)().setup(model))
    sizes = []

    def count(trainer):
        sizes.append(sum(map(len, buffers._local.pool.free.values())))

    trainer.extend(count, name='count')
    trainer.run()
    assert 0 < sizes[3] == sizes[-1]


def test_sizes_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(buffers, 'PATIENCE', 20)
    for n in range(1, 5000, 17):
        buffers.empty(numpy, (n,), 'f')
        first = buffers.empty(numpy, (1, 1), 'f').ctypes.data
    pool = buffers._local.pool
    assert pool.asked.keys() == pool.free.keys() and len(pool.free) <= 21
    assert buffers.empty(numpy, (1, 1), 'f').ctypes.data == first


@pytest.mark.parametrize('shape', [
    (), (0,), (3, 0), (1,), (7, 5), (1000, 33), (2, 3, 4)])
def test_an_array_like_any_other(shape):
    a, b = (buffers.empty(numpy, shape, dtype) for dtype in 'fd')
    assert type(a) is numpy.ndarray and a.shape == shape and a.dtype == 'f'
    assert a.flags.c_contiguous and a.flags.writeable and a.flags.aligned
    assert not a.size or a.ctypes.data % buffers.LINE == 0
    a[...], b[...] = 1, 2
    assert (a == 1).all() and (b == 2).all()


@pytest.mark.parametrize('hold', [
    lambda a: a[1:], lambda a: a.T, lambda a: a.ravel(), lambda a: a[1:].T[2:],
    lambda a: memoryview(a), lambda a: a.view('u4'), lambda a: chainer.Variable(a),
    lambda a: numpy.asarray(memoryview(a)), lambda a: a.reshape(-1)[3:4], iter,
    lambda a: numpy.broadcast_to(a, (2, 6, 8)), lambda a: a.ctypes])
def test_whoever_holds_it_keeps_it(hold):
    """Without a look at the counts of references, which no Python promises."""
    address = buffers.empty(numpy, (6, 8), 'f').ctypes.data
    a = buffers.empty(numpy, (6, 8), 'f')
    assert a.ctypes.data == address
    holder = hold(a)
    del a
    assert buffers.empty(numpy, (6, 8), 'f').ctypes.data != address
    del holder
    again = [buffers.empty(numpy, (6, 8), 'f') for _ in range(2)]
    assert address in [array.ctypes.data for array in again]


def test_sizes_that_differ_little_share_memory():
    for n in 10 ** 6, 10 ** 6 + 1, 33 * 64, 1:
        assert n <= buffers._rounded(n) <= max(buffers.LINE, n * 9 / 8)
    address = buffers.empty(numpy, (1000, 1001), 'f').ctypes.data
    assert buffers.empty(numpy, (1001, 1000), 'f').ctypes.data == address
    assert buffers.empty(numpy, (999, 1001), 'f').ctypes.data == address


def test_what_is_held_is_not_overwritten():
    model = small(dropout=0).predictor
    x = numpy.arange(12, dtype='i').reshape(4, 3)
    held = model.features(x)
    first = held.array.copy()
    loss = model.loss(x, x)
    model.cleargrads()
    loss.backward()
    grads = {name: p.grad for name, p in model.namedparams()}
    copies = {name: g.copy() for name, g in grads.items()}
    for _ in range(3):
        model.cleargrads()
        model.loss(x[::-1], x).backward()
    numpy.testing.assert_array_equal(held.array, first)
    for name, g in grads.items():
        numpy.testing.assert_array_equal(g, copies[name])


@pytest.mark.parametrize('dtype', ['f', 'd', 'e'])
def test_sparse_zeros(dtype):
    """Zeros like any others, but for the memory that they take."""
    for shape in (3, 4), (10000, 200), (2 ** 20 + 1,):
        first, second = (buffers.sparse_zeros(shape, dtype) for _ in range(2))
        for array in first, second:
            assert type(array) is numpy.ndarray and array.dtype == dtype
            assert array.shape == shape and not array.any()
            assert array.flags.c_contiguous and array.flags.writeable
            assert array.flags.aligned
        first[...] = 1
        assert not second.any() and first.copy().all()


def test_sparse_zeros_take_the_pages_that_are_touched():
    resource = pytest.importorskip('resource')
    array = buffers.sparse_zeros((10000, 1000), 'f')  # 40 MB

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    before = faults()
    array[::1000] = 1
    assert 10 <= faults() - before < 100


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on this system')
@pytest.mark.filterwarnings('ignore:This process .* is multi-threaded')
def test_sparse_zeros_are_not_shared_with_a_child():
    array = buffers.sparse_zeros((10000, 200), 'f')
    child = os.fork()
    if child == 0:
        array[...] = 1
        os._exit(0)
    os.waitpid(child, 0)
    assert not array.any()
