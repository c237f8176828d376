"""Fixtures for all tests.  `rnnlm` comes first: it makes Chainer importable."""
import importlib
import json
import os

import rnnlm  # noqa: F401

import chainer
import numpy
import pytest

from rnnlm.app import info

HERE = os.path.dirname(os.path.abspath(__file__))


def has_gpu():
    """Whether there is a GPU; CuPy alone can be imported without one."""
    cuda = chainer.backends.cuda
    try:
        return cuda.available and cuda.cupy.cuda.runtime.getDeviceCount() > 0
    except cuda.cupy.cuda.runtime.CUDARuntimeError:
        return False


def pytest_collection_modifyitems(items):
    if not has_gpu():
        skip = pytest.mark.skip(reason='needs a CUDA device and CuPy')
        for item in items:
            if 'gpu' in item.keywords:
                item.add_marker(skip)


@pytest.fixture(params=['@numpy', pytest.param('@cupy:0', marks=pytest.mark.gpu)])
def device(request):
    """Each test that asks for it runs on NumPy and, where there is a GPU, on CuPy."""
    device = chainer.get_device(request.param)
    with chainer.using_device(device):
        yield device


@pytest.fixture
def xp(device):
    return device.xp


@pytest.fixture
def path_of():
    """Path of a file in tests/."""
    return lambda *names: os.path.join(HERE, *names)


@pytest.fixture
def write(tmp_path):
    """Writes a file into the test's folder; returns its path."""
    def write(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode('utf-8'))
        return str(path)
    return write


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(
        os.path.join(os.path.dirname(HERE), 'benchmarks'))
    for name in info.FIXING:
        monkeypatch.delenv(name, raising=False)
    return importlib.import_module


@pytest.fixture
def results(benchmark, monkeypatch, tmp_path):
    """The path of a RESULTS.md of its own."""
    path = tmp_path / 'RESULTS.md'
    monkeypatch.setattr(benchmark('common'), 'RESULTS', str(path))
    return path


class Golden:
    """A run recorded from Chainer's own example."""

    def __init__(self, name):
        self.path = os.path.join(HERE, 'golden', name + '.json')
        with open(self.path) as f:
            self.__dict__.update(json.load(f))
        V, N = self.corpus['V'], self.corpus['N']
        noise = numpy.random.RandomState(2015).randint(0, 5, size=N + 600)
        x = [0]
        for k in range(N + 600 - 1):
            x.append((7 * x[-1] + noise[k]) % V)
        words = numpy.array(x, dtype=numpy.int32)
        self.train, self.valid = words[:N], words[N:]
        self.n_vocab = V


@pytest.fixture(params=['a', 'b'])
def golden_7(request):
    return Golden('chainer-7.8.1-' + request.param)


@pytest.fixture(params=['a', 'b'])
def golden_1(request):
    return Golden('chainer-1.24.0-' + request.param)
