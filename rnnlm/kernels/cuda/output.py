"""Output layer, loss and their gradients on a GPU, in chunks of rows."""
from rnnlm.kernels.cuda.launch import THREADS


class Output:
    """GPU version of `rnnlm.functions.linear_softmax_cross_entropy`.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.
    """

    def __init__(self, cuda):
        self._cuda = cuda

    def compute(self, x, W, b, t, y, rows_loss, loss, gradients=None,
                ready=lambda: None, piece=None):
        """Computes the loss of a window, and the gradients.

        x and W may be float16; everything else is float32 then.

        Args:
            x: (T, B, n).
            W: (V, n).
            b: (V,).
            t: (T, B) int32; -1 is ignored.
            y: (rows, V), scratch for the logits of that many rows; overwritten.
            rows_loss: (rows,) float64, overwritten.
            loss: (), written.
            gradients (tuple): Gradients of x, W and b, written; None to compute only
                the loss.
            ready: Called when the gradient of x has been launched, before that of W.
            piece (int): Rows of the gradient of W that are computed by one product;
                None for all.
        """
        cuda, dtype = self._cuda, y.dtype
        V, n = W.shape
        flat = x.reshape(-1, n)
        # Caches a row in shared memory if two blocks still fit on a multiprocessor.
        threads = 1024 if V > 4096 else THREADS
        shared = (threads + V) * dtype.itemsize
        cached = shared <= cuda.shared_per_block // 2
        if not cached:
            shared = threads * dtype.itemsize
        for first in range(0, len(flat), len(y)):
            r = flat[first:first + len(y)]
            part, more = y[:len(r)], first > 0
            cuda.dot(r, W.T, part)
            cuda.launch(
                dtype, 'softmax_cross_entropy', len(r), threads,
                (first, t.shape[1], V, cached, gradients is not None, part, b, t,
                 rows_loss), shared)
            if gradients is not None:
                gx, gW, gb = gradients
                scale, probabilities = 1.0, part
                if x.dtype != dtype:  # scaled to the range of float16
                    scale = 1 / t.shape[1]
                    part = (part * t.shape[1]).astype(x.dtype)
                # The gradient that the layers below wait for comes first.
                cuda.dot(part, W, gx.reshape(-1, n)[first:first + len(r)], scale=scale)
                if first + len(r) == len(flat):
                    ready()
                self.column_sums(probabilities, gb, more)
                for k in range(0, V, piece or V):
                    rows = slice(k, k + (piece or V))
                    cuda.dot(part[:, rows].T, r, gW[rows], more, scale)
            cuda.launch(dtype, 'total_loss', 1, THREADS,
                        (len(r), more, rows_loss, loss), THREADS * 8)

    def column_sums(self, x, out, more=False):
        """Sums the columns of x (rows, columns) into out (columns,)."""
        self._cuda.launch(
            x.dtype, 'column_sums', -(-x.shape[1] // 32), (32, 8),
            (*x.shape, more, x, out), 32 * 8 * x.dtype.itemsize)

    def scale(self, x, factor):
        """Multiplies x by factor (1,) in place; does nothing if the factor is 1."""
        blocks = min(-(-x.size // THREADS), 8 * self._cuda.multiprocessors)
        self._cuda.launch(x.dtype, 'scale', blocks, THREADS, (x.size, factor, x))
