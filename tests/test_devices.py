"""What is said where there is no GPU."""
import types

import chainer
import pytest

from rnnlm import devices
from rnnlm.errors import InputError

cuda = chainer.backends.cuda


def no_driver():
    raise RuntimeError('cudaErrorInsufficientDriver: it is too old\nand more')


def test_numpy():
    assert devices.get_device(-1) == devices.get_device('@numpy')
    assert devices.get_device('cpu') == devices.get_device('@numpy')


def test_cupy_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(cuda, 'available', False)
    monkeypatch.setattr(cuda, '_resolution_error',
                        ImportError('libcublas.so.12: not found\nand more'),
                        raising=False)
    with pytest.raises(InputError, match=(
            r'device: expected .* found 0 and no CuPy with a GPU '
            r'\(libcublas.so.12: not found\); for '
            r"a GPU install 'chainer-rnnlm\[cuda12\]'")):
        devices.get_device(0)


@pytest.mark.parametrize('count, found', [(no_driver, 0), (lambda: 2, 2)])
def test_a_gpu_cannot_be_used(monkeypatch, count, found):
    runtime = types.SimpleNamespace(getDeviceCount=count)
    monkeypatch.setattr(cuda, 'available', True)
    monkeypatch.setattr(cuda, 'cupy', types.SimpleNamespace(
        cuda=types.SimpleNamespace(runtime=runtime)))
    monkeypatch.setattr(chainer, 'get_device', lambda spec: no_driver())
    with pytest.raises(InputError, match=(
            rf'found 2 and {found} GPU\(s\) \(cudaErrorInsufficientDriver: it is '
            r'too old\);')):
        devices.get_device(2)


def test_a_setting_that_is_none(monkeypatch):
    monkeypatch.setenv('RNNLM_CUDA', 'yes')
    with pytest.raises(InputError, match=(
            r"RNNLM_CUDA: expected 0 \(no CUDA kernels\), 1 .* found 'yes'; unset")):
        devices.get_device(-1)
