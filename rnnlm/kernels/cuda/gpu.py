"""All kernels of one GPU."""
from rnnlm.kernels.cuda.launch import Cuda
from rnnlm.kernels.cuda.lstm import Recurrent
from rnnlm.kernels.cuda.output import Output
from rnnlm.kernels.cuda.rows import Rows


class Gpu:
    """The kernels, for arrays of one device and one thread of the host.

    Args:
        cuda: `Cuda`, or a stand-in.

    Attributes:
        cuda: The same.
        recurrent: `Recurrent`.
        output: `Output`.
        rows: `Rows`.
    """

    def __init__(self, cuda):
        self.cuda = cuda
        self.recurrent = Recurrent(cuda)
        self.output = Output(cuda)
        self.rows = Rows(cuda)

    def lane(self):
        """The same kernels, whose work is done beside that of others: `Cuda.lane`."""
        return Gpu(self.cuda.lane())


def current(xp):
    """`Gpu` of CuPy's current device.

    Args:
        xp: cupy.

    Raises:
        RuntimeError: if cuBLAS is not found, and whatever CuPy raises.
    """
    return Gpu(Cuda(xp))
