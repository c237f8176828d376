"""SGD with gradient clipping on a GPU, without host synchronisation."""
import numpy

from rnnlm.kernels.cuda.launch import THREADS, address

# Elements of a parameter that one block handles.
SHARE = 16 * THREADS


class SGD:
    """Gradient clipping and the SGD step for all parameters.

    Takes three launches, for any number of parameters.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.
        params: list of (parameter, gradient), contiguous arrays of one dtype.  Their
            addresses are read only once.
        rows: (ids, first) if the gradient of the first pair is zero except in the rows
            `ids`; see `rnnlm.kernels.cuda.rows.Rows.sum`.
        threshold (float): Maximum norm; None for no maximum.
        refuse (bool): Whether to skip the step if a gradient is not finite.

    Attributes:
        result: (2,) float64: the norm of the last gradients, and the factor that they
            were multiplied with, NaN if the step was skipped.
    """

    def __init__(self, cuda, params, rows, threshold, refuse):
        self._cuda, self._params = cuda, params
        self._threshold = -1.0 if threshold is None else threshold
        self._refuse = refuse
        self._dtype = params[0][0].dtype
        xp = cuda.xp
        whole = params[1:] if rows else params
        parts = numpy.array([part for p, g in whole for part in _parts(p, g)],
                            numpy.int64).reshape(-1, 3)
        self._parts = xp.asarray(parts)
        count = len(rows[0]) if rows else 0
        self._blocks = count + len(parts)
        W, gW = params[0]
        ids, first = rows or (None, None)
        self._shares = count, W.size // len(W), ids, first, W, gW, self._parts
        self._partial = xp.empty(self._blocks, numpy.float64)
        self.result = xp.zeros(2, numpy.float64)

    def __call__(self, rate):
        """Clips the gradients and updates the parameters.

        Args:
            rate: (1,) float64, the learning rate, on the GPU.
        """
        self._launch('sum_of_squares', self._blocks, (*self._shares, self._partial))
        self._launch('clip', 1, (self._blocks, self._refuse, self._threshold,
                                 self._partial, self.result))
        self._launch('sgd', self._blocks,
                     (*self._shares, self._refuse, self.result, rate))

    def _launch(self, name, blocks, args):
        self._cuda.launch(self._dtype, name, blocks, THREADS, args, THREADS * 8)


def _parts(p, g):
    """Returns (address of a part of p, address in g, size) for each part."""
    size = p.dtype.itemsize
    return [(address(p) + start * size, address(g) + start * size,
             min(SHARE, p.size - start)) for start in range(0, p.size, SHARE)]
