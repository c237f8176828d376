"""`get_device`: a Chainer device that has been tested."""
from __future__ import annotations

from typing import Union

import chainer

from rnnlm.errors import InputError
from rnnlm.kernels import verification


def get_device(spec: Union[str, int]) -> chainer.backend.Device:
    """Returns a Chainer device, after testing it by making an array on it.

    Args:
        spec: As for :func:`chainer.get_device`: -1 or '@numpy' for NumPy; 0, 1, ... or
            '@cupy:0' for a GPU through CuPy.  'cpu' also means NumPy.

    Returns:
        The device.

    Raises:
        rnnlm.InputError: If the device does not exist or does not work, or the
            environment variable RNNLM_CUDA has an unknown value.

    Example:
        >>> rnnlm.get_device(-1).xp.__name__
        'numpy'
    """
    try:
        device = chainer.get_device('@numpy' if spec == 'cpu' else spec)
        device.send(device.xp.zeros(1, dtype='f'))
    except Exception as e:  # the type depends on what CuPy is missing
        raise InputError(
            'expected -1 or cpu (NumPy), or the number of a GPU that CuPy can use, '
            f'found {spec!r} and {_found(e)}; for a GPU install '
            "'chainer-rnnlm[cuda12]' or 'chainer-rnnlm[cuda13]', and NVIDIA's "
            'driver', 'device') from None
    try:
        verification.read_mode()
    except ValueError as e:
        raise InputError(str(e)) from None
    return device


def _found(error: Exception) -> str:
    """Describes how many GPUs there are, and what went wrong."""
    cuda = chainer.backends.cuda
    if not cuda.available:
        # Chainer's own message does not say why CuPy could not be imported.
        return f'no CuPy with a GPU ({_first_line(cuda._resolution_error)})'
    try:
        count = cuda.cupy.cuda.runtime.getDeviceCount()
    except Exception:  # without a driver, or with one that is too old
        count = 0
    return f'{count} GPU(s) ({_first_line(error)})'


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).split('\n')[0]
