"""The compiled kernels against the plain functions that they stand in for."""
import importlib
import os
import subprocess
import sys
import threading

import numpy
import pytest

from rnnlm import kernels

pytest.importorskip('llvmlite')
from rnnlm.kernels import recurrent  # noqa: E402

# The module: the package has a function of this name.
plain = importlib.import_module('rnnlm.functions.lstm_window')

SIZES = [(1, 1, 16), (2, 1, 40), (3, 2, 17), (5, 20, 31), (4, 7, 33), (6, 37, 50),
         (3, 64, 64), (35, 20, 200)]


def case(T, B, n):
    random = numpy.random.RandomState(0)

    def draw(*shape):
        return random.randn(*shape).astype('f')

    hs, cs = draw(T + 1, B, n), draw(T + 1, B, n)
    W = (draw(4 * n, n) / n ** 0.5)
    forward = [draw(T, B, 4 * n), draw(4 * n), W, hs, cs, draw(T, B, n),
               draw(T, 4, B, n)]
    backward = [draw(T, B, 4 * n), draw(B, n), draw(B, n)]
    return forward, draw(T, B, n), backward


def run(module, T, B, n):
    forward, ghs, backward = case(T, B, n)
    (module.forward if module is recurrent else module._forward)(*forward)
    _, _, W, hs, cs, tanh_cs, gate = forward
    (module.backward if module is recurrent else module._backward)(
        ghs, W, cs, tanh_cs, gate, *backward)
    return dict(zip('hs cs tanh_cs gate gz gc gh'.split(),
                    (hs, cs, tanh_cs, gate, *backward)))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('threads', [1, 2, 3, 4, 8, 16])
def test_same_numbers(size, threads, monkeypatch):
    """With more threads than there are cores too."""
    monkeypatch.setattr('rnnlm.kernels.threads.count', lambda: threads)
    monkeypatch.setattr(recurrent, 'BARRIER', 0)
    assert recurrent.fits(*size)
    expected, actual = run(plain, *size), run(recurrent, *size)
    for name, array in expected.items():
        numpy.testing.assert_allclose(
            actual[name], array, rtol=0, atol=2e-6 * abs(array).max(), err_msg=name)


@pytest.mark.parametrize('rows', [1, 3, 8, 12, 28])
def test_any_number_of_registers(rows, monkeypatch):
    monkeypatch.setattr(recurrent.machine(), 'rows', rows)
    recurrent._compiled.cache_clear()
    try:
        expected, actual = run(plain, 3, 13, 20), run(recurrent, 3, 13, 20)
    finally:
        recurrent._compiled.cache_clear()
    for name, array in expected.items():
        numpy.testing.assert_allclose(
            actual[name], array, rtol=0, atol=2e-6 * abs(array).max(), err_msg=name)


def test_small_sizes_take_few_threads(monkeypatch):
    asked = []
    monkeypatch.setattr('rnnlm.kernels.threads.count', lambda: 64)
    monkeypatch.setattr(
        'rnnlm.kernels.threads.run',
        lambda work, count, give_up: asked.append(count))
    for n in 16, 100, 1000:
        run(recurrent, 1, 2, n)
    lanes = recurrent.machine().lanes
    assert asked == [recurrent.best_threads(64, 2, n, lanes)
                     for n in (16, 16, 100, 100, 1000, 1000)]


@pytest.mark.parametrize('fails', [True, False])
def test_the_threads_do_not_wait_for_one_that_failed(fails, monkeypatch):
    """Whether it is the main thread, which Ctrl-C interrupts, or another."""
    monkeypatch.setattr('rnnlm.kernels.threads.count', lambda: 3)
    monkeypatch.setattr(recurrent, 'BARRIER', 0)
    empty = recurrent.buffers.empty

    def refuse(xp, shape, dtype):  # the scratch array of a thread
        main = threading.current_thread() is threading.main_thread()
        if len(shape) == 1 and main == fails:
            raise MemoryError
        return empty(xp, shape, dtype)

    monkeypatch.setattr(recurrent.buffers, 'empty', refuse)
    with pytest.raises(MemoryError):
        run(recurrent, 5, 2, 64)


@pytest.mark.parametrize('lanes', [4, 8, 16])
@pytest.mark.parametrize('B', [1, 20, 100])
@pytest.mark.parametrize('n', [16, 64, 200, 650, 1500])
def test_more_threads_take_no_longer(n, B, lanes):
    """By the model, whatever the number of cores."""
    def time(count):
        return -(-blocks // count) * 4 * B * n + (count > 1) * recurrent.BARRIER * count

    blocks = -(-n // lanes)
    found = [recurrent.best_threads(most, B, n, lanes) for most in range(1, 65)]
    assert found[0] == 1 and max(found) <= blocks
    times = [time(count) for count in found]
    assert times == sorted(times, reverse=True)
    if n == 16:
        assert B > 1 or max(found) == 1
    if n >= 650 and B >= 20:
        assert found[:4] == [1, 2, 3, 4]


def test_saturated_and_broken_numbers():
    T, B, n = 1, 2, 16
    z = numpy.zeros((T, B, 4 * n), 'f')
    z[0, 0, :8] = [50, 50, -50, 50, -50, 50, 50, 50]
    z[0, 0, 8] = numpy.inf
    z[0, 1, 0] = numpy.nan
    z[0, 1, 4:8] = 1e-6
    hs, cs = numpy.zeros((2, T + 1, B, n), 'f')
    cs[0] = 3
    tanh_cs, gate = numpy.empty((T, B, n), 'f'), numpy.empty((T, 4, B, n), 'f')
    recurrent.forward(z, numpy.zeros(4 * n, 'f'), numpy.zeros((4 * n, n), 'f'), hs, cs,
                      tanh_cs, gate)
    numpy.testing.assert_allclose(gate[0, :, 0, 0], [1, 1, 0, 1], atol=3e-7)
    numpy.testing.assert_allclose(cs[1, 0, :2], [1, 2], rtol=1e-6)
    numpy.testing.assert_allclose(gate[0, 0, 0, 2], 1, atol=3e-7)
    assert numpy.isnan(hs[1, 1, 0]) and numpy.isfinite(hs[1, 1, 1:]).all()
    numpy.testing.assert_allclose(gate[0, 0, 1, 1], 1e-6, rtol=1e-6)


def test_tanh_is_good_to_float32():
    n = 1600
    for x in numpy.linspace(-10, 10, 8 * n, dtype='f').reshape(8, n):
        z = numpy.zeros((1, 1, 4 * n), 'f')
        z[0, 0, 0::4] = x
        hs, cs = numpy.zeros((2, 2, 1, n), 'f')
        tanh_cs, gate = numpy.empty((1, 1, n), 'f'), numpy.empty((1, 4, 1, n), 'f')
        recurrent.forward(z, numpy.zeros(4 * n, 'f'), numpy.zeros((4 * n, n), 'f'), hs,
                          cs, tanh_cs, gate)
        numpy.testing.assert_allclose(
            gate[0, 0, 0], numpy.tanh(x.astype('d')), rtol=5e-7)


def test_after_a_fork():
    if not hasattr(os, 'fork'):
        pytest.skip('no fork on this system')
    size = 5, 20, 31
    expected = run(recurrent, *size)
    code = ('import os, sys; sys.path.insert(0, sys.argv[1])\n'
            'import test_recurrent as t\n'
            't.run(t.recurrent, *{0})\n'
            'child = os.fork()\n'
            'if child == 0:\n'
            '    t.run(t.recurrent, *{0}); os._exit(7)\n'
            'print(os.waitpid(child, 0)[1] >> 8)').format(size)
    out = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, os.path.dirname(__file__)],
        check=True, capture_output=True, text=True, timeout=60).stdout
    assert out == '7\n' and expected


def test_kernels_can_be_disabled(monkeypatch):
    size = numpy, numpy.dtype('f'), 5, 20, 100
    assert kernels.recurrent_for(*size) is recurrent
    assert kernels.recurrent_for(numpy, numpy.dtype('d'), 5, 20, 100) is None
    assert kernels.recurrent_for(numpy, numpy.dtype('f'), 5, 20, 3) is None
    monkeypatch.setattr(kernels, 'enabled', False)
    assert kernels.recurrent_for(*size) is None


def test_without_llvmlite_there_are_none():
    code = ('import sys; sys.modules["llvmlite"] = None; import numpy, rnnlm\n'
            'from rnnlm import kernels\n'
            'print(kernels.recurrent_for(numpy, numpy.dtype("f"), 5, 20, 100))')
    out = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True,
                         text=True).stdout
    assert out == 'None\n'


def test_threads_of_two_models_do_not_meet():
    import concurrent.futures
    sizes = [(6, 5, 40), (5, 9, 33)] * 4
    expected = [run(recurrent, *size) for size in sizes]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(lambda size: run(recurrent, *size), sizes))
    for a, b in zip(actual, expected):
        for name in a:
            numpy.testing.assert_array_equal(a[name], b[name])
