"""Dropout, and the rows of an embedding with the sum of their gradients, on a GPU."""
from rnnlm.kernels.cuda.launch import THREADS

# Ids that a block looks through at a time: a window of any size fits.
TILE = 2048


class Rows:
    """Launches of the kernels of `rows.cu`.

    Args:
        cuda: `rnnlm.kernels.cuda.launch.Cuda`.
    """

    def __init__(self, cuda):
        self._cuda = cuda

    def dropout(self, x, out, key, ratio, start, stride):
        """``out = dropout(x)``; the same call on gradients is its backward.

        Args:
            x, out: (T, B, n); they may be the same.
            key: (2,) uint32, of the window.
            ratio (float): How much is dropped.
            start, stride (int): The numbers of step t begin at ``t stride + start``.
        """
        T, B, n = x.shape
        blocks = B * n // 4 + 2  # of four numbers, that a step may touch
        self._cuda.launch(
            x.dtype, 'dropout', -(-T * blocks // THREADS), THREADS,
            (T * blocks, blocks, B * n, start, stride, key, ratio, 1 / (1 - ratio), x,
             out))

    def take(self, W, ids, out):
        """``out = W[ids]``: ids (K,) int32, out (K, n); NaN for ids not in [0, V)."""
        self._cuda.launch(W.dtype, 'take_rows', len(ids), THREADS,
                          (*W.shape, ids, W, out))

    def clear(self, ids, gW):
        """``gW[ids] = 0``."""
        self._cuda.launch(gW.dtype, 'clear_rows', len(ids), THREADS,
                          (*gW.shape, ids, gW))

    def sum(self, ids, gy, first, gW, more=False):
        """``gW[id]`` = the sum of the rows of this id, always in the same order.

        Args:
            ids: (K,) int32.
            gy: (K, n).
            first: (K,) int32, written: 1 where an id stands for the first time.
            gW: (V, n), written in the rows that are named.
            more (bool): Whether it is added to what stands there.
        """
        K, n = gy.shape
        tile = min(K, TILE)
        self._cuda.launch(gy.dtype, 'sum_rows', K, THREADS,
                          (K, len(gW), n, more, tile, ids, gy, first, gW),
                          (2 * tile + 2) * ids.dtype.itemsize)
