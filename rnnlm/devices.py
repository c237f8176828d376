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
        raise InputError(
            f'device {spec!r}: expected -1 (NumPy) or the number of a GPU that CuPy '
            f'can use, found {_found(e)}; for a GPU install '
            "'chainer-rnnlm[cuda12]' or 'chainer-rnnlm[cuda13]', and NVIDIA's "
            'driver') from None
    return device


def _found(error):
    """How many GPUs there are, and what went wrong."""
    cuda = chainer.backends.cuda
    if not cuda.available:
        # Chainer's own words do not say why CuPy could not be imported.
        return f'no CuPy with a GPU ({_first_line(cuda._resolution_error)})'
    try:
        count = cuda.cupy.cuda.runtime.getDeviceCount()
    except Exception:  # without a driver, or with one that is too old
        count = 0
    return f'{count} GPU(s) ({_first_line(error)})'


def _first_line(error):
    return (str(error).strip() or type(error).__name__).split('\n')[0]
