"""Of the CUDA runtime what asks for the device."""
from cupy import _device
from cupy._device import CUDARuntimeError

__all__ = ['CUDARuntimeError']

streamCaptureModeGlobal = 0
streamCaptureModeThreadLocal = 1
streamCaptureModeRelaxed = 2


def getDeviceCount():
    """How many devices there are."""
    return _device.COUNT


def getDevice():
    """The current device."""
    return 0


def setDevice(device):
    """Makes a device the current one."""
    if not 0 <= device < _device.COUNT:
        raise CUDARuntimeError('cudaErrorInvalidDevice', 'invalid device ordinal')


def deviceSynchronize():
    """Waits for all work."""
    _device.wait('deviceSynchronize')


def getDeviceProperties(device):
    """What the device is; a few of the keys."""
    return {'name': b'the host', 'multiProcessorCount': 4, 'major': 9, 'minor': 0,
            'sharedMemPerBlock': 48 * 1024, 'sharedMemPerBlockOptin': 227 * 1024,
            'sharedMemPerMultiprocessor': 228 * 1024, 'totalGlobalMem': 2 ** 34,
            'warpSize': 32, 'maxThreadsPerBlock': 1024, 'l2CacheSize': 50 * 2 ** 20,
            'regsPerMultiprocessor': 65536, 'maxThreadsPerMultiProcessor': 2048,
            'cooperativeLaunch': 1}


def runtimeGetVersion():
    """Of CUDA."""
    return 13000


driverGetVersion = runtimeGetVersion


def memGetInfo():
    """Bytes that are free, and all."""
    return 2 ** 34, 2 ** 34
