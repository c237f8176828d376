"""Arrays are handed out again when nobody holds them, and not before."""
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
        sizes.append(sum(map(len, buffers._local.pool.values())))

    trainer.extend(count, name='count')
    trainer.run()
    assert 0 < sizes[3] == sizes[-1]


def test_shapes_do_not_pile_up():
    for n in range(1, 3 * buffers.MOST_SHAPES):
        buffers.empty(numpy, (n,), 'f')
        first = buffers.empty(numpy, (1, 1), 'f').ctypes.data
    assert len(buffers._local.pool) <= buffers.MOST_SHAPES
    assert buffers.empty(numpy, (1, 1), 'f').ctypes.data == first


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
