"""Functions that `chainer.cuda` had until 1.24; they raise an error without a GPU."""
from chainer.backends import cuda
import numpy


def init(original):
    """``cuda.init(gpu)``: makes a GPU the current one."""
    def init(device=None):
        cuda.check_cuda_available()
        if device is not None:
            cuda.get_device_from_id(device).use()
    return init


def filled(name):
    """``cuda.zeros(shape, dtype=numpy.float32)`` and the like: on the GPU."""
    def factory(original):
        def make(shape, *fill, dtype=numpy.float32, stream=None):
            cuda.check_cuda_available()
            # The dtype may follow the value of `full`, else the shape.
            wanted = 1 if name == 'full' else 0
            dtype = fill[wanted] if len(fill) > wanted else dtype
            return getattr(cuda.cupy, name)(shape, *fill[:wanted], dtype=dtype)
        return make
    return factory


def like(name):
    """``cuda.zeros_like(array)`` and the like."""
    def factory(original):
        def make(array, *fill, stream=None):
            cuda.check_cuda_available()
            return getattr(cuda.cupy, name)(cuda.to_gpu(array), *fill)
        return make
    return factory
