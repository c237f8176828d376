"""The two small products of every step: h W^T forward, gz W backward.

Nothing else of a window is as far from what the processor could do: one operand has
only B rows, and BLAS packs the other, all lateral weights, anew at each step.  What
is fastest depends on the BLAS and on whether the weights stay in the cache.
"""
import functools

import numpy
import threadpoolctl

from rnnlm.kernels import buffers, threads

# Lateral weights of more bytes than this are not found in the cache at the next step.
CACHE = 2 ** 24

# OpenBLAS multiplies matrices of up to these sizes as they lie, without packing, on
# processors of these architectures; kernel/x86_64/sgemm_small_kernel_permit_skylakex.c.
SMALL_PRODUCT = 10 ** 6  # rows times columns times inner length
SMALL_RESULT = 1200  # rows times columns
SMALL_ON = ('skylakex', 'cooperlake', 'sapphirerapids')

# Every thread reads all weights; more of them leave that to BLAS, which divides them.
MOST_THREADS = 4

# Below so many multiplications a step, threads wait for Python more than they work.
WORTH_BLOCKS = 4 * 10 ** 6


def in_blocks(xp, W, B):
    """Whether many small products are faster than one, for B rows."""
    return (xp is numpy and B > 1 and W.nbytes <= CACHE
            and W.size * B > WORTH_BLOCKS and threads.count() <= MOST_THREADS
            and _blas_takes_small())


def split_rows(function, xp, W, B):
    """Calls ``function(rows, blocks)`` with slices of range(B), each on a thread.

    The rows of a batch, its streams, are independent of each other.  Whether the
    products are made in blocks is decided here, once for all B rows, and passed on: a
    thread that decided again for its own few rows might call BLAS, whose threads would
    compete with the others.
    """
    if in_blocks(xp, W, B):
        threads.split(lambda start, stop: function(slice(start, stop), True), B,
                      grain=2)
    else:
        function(slice(0, B), False)


def products(xp, W, B, blocks):
    """The pair of functions, for B rows.

    Args:
        xp: numpy or cupy.
        W: (4n, n), the lateral weights.
        B (int): Number of rows.
        blocks (bool): Whether each product is made of many small ones, as
            `split_rows` says.

    Returns:
        tuple: forward, h (B, n) -> (B, 4n), and backward, gz (B, 4n) -> (B, n).
        The arrays they return are overwritten by the next call.
    """
    return (_by_blocks if blocks else _by_blas)(xp, W, B)


def _by_blas(xp, W, B):
    wide = buffers.empty(xp, W.shape[:1] + (B,), W.dtype)
    narrow = buffers.empty(xp, W.shape[1:] + (B,), W.dtype)

    def forward(h):
        # The small matrix is the one to transpose: W h^T is 1.7 times as fast.
        return xp.dot(W, h.T, out=wide).T

    def backward(gz):
        # Likewise, 1.1 times; but weights from memory go 1.4 times as fast in order.
        if W.nbytes > CACHE:
            return xp.dot(gz, W, out=narrow.reshape(B, -1))
        return xp.dot(W.T, gz.T, out=narrow).T

    return forward, backward


def _by_blocks(xp, W, B):
    four_n, n = W.shape
    # Forward, the result is in blocks of columns; backward, a sum over blocks of
    # gates.  Rows of W that are left over are a small product of their own.
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
    """The size, at most `most`, of blocks that divide a length about equally."""
    most = max(1, most)
    return length // -(-length // most)


@functools.lru_cache(maxsize=None)
def _blas_takes_small():
    return any(
        library['internal_api'] == 'openblas'
        and library.get('architecture', '').lower() in SMALL_ON
        for library in loaded_libraries())


def loaded_libraries():
    """list of dict: threadpoolctl's; none where the system does not tell them."""
    try:
        return threadpoolctl.threadpool_info()
    except OSError:  # no /proc
        return []
