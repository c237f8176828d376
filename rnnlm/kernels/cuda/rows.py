"""Dropout and embedding lookup with its gradient, on a GPU."""
from rnnlm.kernels.cuda.launch import THREADS

# Ids that a block reads at a time, so that a window of any size fits.
TILE = 2048


class Rows:
    """Launcher of the kernels of `rows.cu`.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.
    """

    def __init__(self, cuda):
        self._cuda = cuda

    def dropout(self, x, out, key, ratio, start, stride):
        """Computes ``out = dropout(x)``; called on gradients, it is the backward.

        Args:
            x, out: (T, B, n); may be the same array.
            key: (2,) uint32, the random key of the window.
            ratio (float): Dropout ratio.
            start, stride (int): The random numbers of step t start at
                ``t stride + start``.
        """
        T, B, n = x.shape
        blocks = B * n // 4 + 2  # Philox blocks of 4 numbers that a step can touch
        self._cuda.launch(
            x.dtype, 'dropout', -(-T * blocks // THREADS), THREADS,
            (T * blocks, blocks, B * n, start, stride, key, ratio, 1 / (1 - ratio), x,
             out))

    def take(self, W, ids, out):
        """Computes ``out = W[ids]``: ids (K,) int32, out (K, n); NaN for bad ids."""
        self._cuda.launch(W.dtype, 'take_rows', len(ids), THREADS,
                          (*W.shape, ids, W, out))

    def clear(self, ids, gW):
        """Sets ``gW[ids] = 0``."""
        self._cuda.launch(gW.dtype, 'clear_rows', len(ids), THREADS,
                          (*gW.shape, ids, gW))

    def sum(self, ids, gy, first, gW, more=False):
        """Sums the rows of each id into ``gW[id]``, always in the same order.

        Args:
            ids: (K,) int32.
            gy: (K, n).
            first: (K,) int32, written: 1 at the first occurrence of an id.
            gW: (V, n), written in the rows of `ids`.
            more (bool): Whether to add to what `gW` holds.
        """
        K, n = gy.shape
        tile = min(K, TILE)
        self._cuda.launch(gy.dtype, 'sum_rows', K, THREADS,
                          (K, len(gW), n, more, tile, ids, gy, first, gW),
                          (2 * tile + 2) * ids.dtype.itemsize)
