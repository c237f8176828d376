"""The gradient of the matrix of an output layer, a chunk of a window at a time."""
import numpy

from rnnlm.functions.embedding import add_rows
from rnnlm.kernels import buffers

# Elements of the gradient of W that a chunk makes at a time, to add them to those of
# the chunks before (8 MiB of float32).
SUM_ELEMENTS = 2 ** 21

# Parts of W begin at multiples of so many rows, where tiles of a BLAS begin, so that
# each number is computed by the same instructions as in the whole product.
TILE = 192


def product(xp, out, y, rows, single=None):
    """Makes the gradient of W, or of some rows of it.

    Args:
        out: (V, n), written.
        y: (M, V), the gradient of the logits, or its part that is not in `single`.
        rows: (M, n).
        single: Rows to add besides: int (M,), which ones; and (M, n).
    """
    xp.dot(y.T, rows, out=out)
    if single is not None:
        add_rows(xp, out, *single)


def add_product(xp, gW, y, rows, single=None):
    """Adds what `product` makes to gW.

    On NumPy it makes a part at a time, so that it stays in the cache.
    """
    V, n = gW.shape
    count = max(1, gW.size // SUM_ELEMENTS) if xp is numpy else 1
    edges = sorted({0, V, *(V * k // count // TILE * TILE for k in range(count))})
    parts = list(zip(edges, edges[1:]))
    scratch = buffers.empty(
        xp, (max(stop - start for start, stop in parts), n), gW.dtype)
    for start, stop in parts:
        sums, some = gW[start:stop], single
        if single is not None and count > 1:
            targets, more = single
            here = (start <= targets) & (targets < stop)
            some = (targets[here] - start, more[here]) if here.any() else None
        part = scratch[:len(sums)]
        product(xp, part, y[:, start:stop], rows, some)
        sums += part
