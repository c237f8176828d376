"""SGD with gradient clipping on a GPU: the host is never waited for."""
import numpy

from rnnlm.kernels.cuda.launch import THREADS

# Elements that a block of a large parameter goes through, about.
SHARE = 16 * THREADS


class SGD:
    """Clipping and the step of all parameters, after the gradients are there.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.
        params: list of (parameter, gradient), arrays of one dtype.
        rows: (ids, first) if the gradient of the first pair is zero but for the rows
            that the ids name; see `rnnlm.kernels.cuda.rows.Rows.sum`.
        threshold (float): Largest norm; None for any.
        refuse (bool): Whether a gradient that is not finite changes nothing.

    Attributes:
        result: (2,) float64: the norm of the last gradients, and what they were
            multiplied with, NaN if they were refused.
    """

    def __init__(self, cuda, params, rows, threshold, refuse):
        self._cuda, self._params, self._rows = cuda, params, rows
        self._threshold = -1.0 if threshold is None else threshold
        self._refuse = refuse
        self._blocks = [min(-(-p.size // SHARE), 8 * cuda.multiprocessors)
                        for p, _ in params]
        if rows:
            self._blocks[0] = len(rows[0])
        xp = cuda.xp
        self._partial = xp.empty(sum(self._blocks), numpy.float64)
        self.result = xp.zeros(2, numpy.float64)

    def __call__(self, rate):
        """Clips and steps.

        Args:
            rate: (1,) float64, the learning rate, on the GPU.
        """
        start = 0
        for k, (blocks, (p, g)) in enumerate(zip(self._blocks, self._params)):
            partial = self._partial[start:start + blocks]
            start += blocks
            if k == 0 and self._rows:
                ids, first = self._rows
                self._launch(g.dtype, 'sum_of_squares_of_rows', blocks,
                             (g.shape[1], ids, first, g, partial))
            else:
                self._launch(g.dtype, 'sum_of_squares', blocks, (g.size, g, partial))
        self._launch(g.dtype, 'clip', 1, (len(self._partial), self._refuse,
                                          self._threshold, self._partial, self.result))
        for k, (blocks, (p, g)) in enumerate(zip(self._blocks, self._params)):
            if k == 0 and self._rows:
                ids, first = self._rows
                self._launch(g.dtype, 'sgd_of_rows', blocks, (
                    g.shape[1], self._refuse, ids, first, self.result, rate, p, g))
            else:
                self._launch(g.dtype, 'sgd', blocks, (
                    g.size, self._refuse, self.result, rate, p, g))

    def _launch(self, dtype, name, blocks, args):
        self._cuda.launch(dtype, name, blocks, THREADS, args, THREADS * 8)
