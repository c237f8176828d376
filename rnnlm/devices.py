"""From a device's name to a Chainer device that is really there."""
import chainer

from rnnlm.errors import InputError


def get_device(spec):
    """The Chainer device that `spec` names.

    Args:
        spec (str or int): As for :func:`chainer.get_device`: -1 or '@numpy' for
            NumPy, 0, 1, ... or '@cupy:0' for a GPU through CuPy.

    Returns:
        chainer.backend.Device: the device; a first array was made on it.

    Raises:
        rnnlm.errors.InputError: if there is no such device.
    """
    try:
        device = chainer.get_device(spec)
        device.send(device.xp.zeros(1, dtype='f'))
    except Exception as e:  # what CuPy raises depends on what is missing
        reason = str(e).strip().split('\n')[0]
        raise InputError(
            f'device {spec!r}: expected -1 (NumPy) or the number of a GPU that CuPy '
            f'can use, found {_gpus()} ({reason}); for a GPU install '
            "'rnnlm[cuda12]' or 'rnnlm[cuda13]'") from None
    return device


def _gpus():
    if not chainer.backends.cuda.available:
        return 'no CuPy with a GPU'
    count = chainer.backends.cuda.cupy.cuda.runtime.getDeviceCount()
    return f'{count} GPU(s)'
