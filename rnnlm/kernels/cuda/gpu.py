"""`Gpu`: all kernels of one GPU."""
from rnnlm.kernels.cuda.launch import Cuda
from rnnlm.kernels.cuda.lstm import Recurrent
from rnnlm.kernels.cuda.output import Output
from rnnlm.kernels.cuda.rows import Rows


class Gpu:
    """Kernels for the arrays of one device and one host thread.

    Args:
        cuda: `Cuda`, or a stand-in.

    Attributes:
        cuda: The argument `cuda`.
        recurrent: `Recurrent`.
        output: `Output`.
        rows: `Rows`.
    """

    def __init__(self, cuda):
        self.cuda = cuda
        self.recurrent = Recurrent(cuda)
        self.output = Output(cuda)
        self.rows = Rows(cuda)

    def lane(self, urgent=False):
        """Returns the same kernels on another CUDA stream; see `Cuda.lane`."""
        return Gpu(self.cuda.lane(urgent))


def current(xp):
    """Returns the `Gpu` of CuPy's current device.

    Args:
        xp: cupy.

    Raises:
        RuntimeError: If cuBLAS is not found.  CuPy may raise other errors.
    """
    return Gpu(Cuda(xp))
