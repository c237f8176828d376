"""Matrix products of the recurrence, without the compiled kernels.

Each step needs one product forward and one backward, with the lateral weights W_l:

    forward     h_{t-1} W_l^T     (B, n) (n, 4n)
    backward    gz_t W_l          (B, 4n) (4n, n)

They are the least efficient part of a window: one factor has only B rows, and BLAS
packs the other one (all lateral weights, copied into the order in which its inner loop
reads them) again in each step.  So which way is fastest depends on the BLAS, and on
whether the weights stay in the cache between steps.
"""
import functools

import numpy
import threadpoolctl

from rnnlm.kernels import buffers, threads

# Bytes of lateral weights that are assumed to stay in the cache until the next step.
CACHE = 2 ** 24

# OpenBLAS multiplies matrices up to these sizes without packing, on processors of these
# architectures; see its kernel/x86_64/sgemm_small_kernel_permit_skylakex.c.
SMALL_PRODUCT = 10 ** 6  # rows times columns times inner dimension
SMALL_RESULT = 1200  # rows times columns
SMALL_ON = ('skylakex', 'cooperlake', 'sapphirerapids')

# Maximum number of threads for products in blocks, since each reads all weights; BLAS
# divides the weights among its threads.
MOST_THREADS = 4

# Multiplications per step from which on threads pay off, in spite of Python's lock.
WORTH_BLOCKS = 4 * 10 ** 6


def in_blocks(xp, W, B):
    """Returns whether many small products are faster than one, for B rows."""
    return (xp is numpy and B > 1 and W.nbytes <= CACHE
            and W.size * B > WORTH_BLOCKS and threads.count() <= MOST_THREADS
            and _blas_takes_small())


def split_rows(function, xp, W, B):
    """Calls ``function(rows, blocks)`` with slices of range(B), each in a thread.

    The rows of a batch, its streams, are independent of each other.  `blocks` says
    whether to compute products in blocks.  It is the same for all threads, because a
    thread that decided for its own few rows might call BLAS, whose threads would
    compete with the others.
    """
    if in_blocks(xp, W, B):
        threads.split(lambda start, stop: function(slice(start, stop), True), B,
                      grain=2)
    else:
        function(slice(0, B), False)


def products(xp, W, B, blocks):
    """Returns two functions that multiply B rows by the lateral weights.

    Args:
        xp: numpy or cupy.
        W: (4n, n), the lateral weights.
        B (int): Number of rows.
        blocks (bool): Whether to compute each product in blocks; see `split_rows`.

    Returns:
        tuple: Forward, h (B, n) -> (B, 4n), and backward, gz (B, 4n) -> (B, n).
        The arrays that they return are overwritten by the next call.
    """
    return (_by_blocks if blocks else _by_blas)(xp, W, B)


def _by_blas(xp, W, B):
    """Like `products`, with one product of BLAS per step."""
    wide = buffers.empty(xp, W.shape[:1] + (B,), W.dtype)
    narrow = buffers.empty(xp, W.shape[1:] + (B,), W.dtype)

    def forward(h):
        # (W h^T)^T, because it is 1.7 times as fast as h W^T: the small factor is
        # transposed, not the large one.
        return xp.dot(W, h.T, out=wide).T

    def backward(gz):
        # Likewise 1.1 times as fast, unless W comes from memory: reading it in order is
        # then 1.4 times as fast.
        if W.nbytes > CACHE:
            return xp.dot(gz, W, out=narrow.reshape(B, -1))
        return xp.dot(W.T, gz.T, out=narrow).T

    return forward, backward


def _by_blocks(xp, W, B):
    """Like `products`, in blocks small enough that OpenBLAS does not pack them.

    A block is some rows of W.  Forward, each block gives as many columns of the result;
    backward, the result is a sum over the blocks.  Remaining rows are one more product.
    """
    four_n, n = W.shape
    m = _block(four_n, min(SMALL_PRODUCT // (B * n), SMALL_RESULT // B))
    whole = four_n - four_n % m
    blocks = W[:whole].reshape(-1, m, n).transpose(0, 2, 1)
    wide = buffers.empty(xp, (B, four_n), W.dtype)
    wide_blocks = wide[:, :whole].reshape(B, -1, m).transpose(1, 0, 2)

    def forward(h):
        xp.matmul(h, blocks, out=wide_blocks)
        if whole < four_n:
            xp.matmul(h, W[whole:].T, out=wide[:, whole:])
        return wide

    k = _block(four_n, SMALL_PRODUCT // (B * n))
    summed = four_n - four_n % k
    factors = W[:summed].reshape(-1, k, n)
    parts = buffers.empty(xp, (-(-four_n // k), B, n), W.dtype)
    narrow = buffers.empty(xp, (B, n), W.dtype)

    def backward(gz):
        xp.matmul(gz[:, :summed].reshape(B, -1, k).transpose(1, 0, 2), factors,
                  out=parts[:len(factors)])
        if summed < four_n:
            xp.matmul(gz[:, summed:], W[summed:], out=parts[-1])
        return xp.add.reduce(parts, axis=0, out=narrow)

    return forward, backward


def _block(length, most):
    """Returns the size of at most `most` of blocks that divide a length evenly."""
    most = max(1, most)
    return length // -(-length // most)


@functools.lru_cache(maxsize=None)
def _blas_takes_small():
    """Returns whether NumPy's BLAS multiplies small matrices without packing."""
    return any(
        library['internal_api'] == 'openblas'
        and library.get('architecture', '').lower() in SMALL_ON
        for library in loaded_libraries())


def loaded_libraries():
    """Returns threadpoolctl's list of libraries (dicts); [] if it is not available."""
    try:
        return threadpoolctl.threadpool_info()
    except OSError:  # no /proc
        return []
