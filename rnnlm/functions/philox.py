"""Random numbers for dropout, from one stream whatever the device.

On NumPy they are `numpy.random`'s own, in Chainer's order.  On a GPU each window
takes a key from `numpy.random`, and its numbers are a function of the key and of
their places: they need no state on the device, so that `numpy.random.seed` repeats a
run there too, and a snapshot of NumPy's stream is enough to go on from.
"""
import numpy

# The numbers of the generator Philox4x32 of ten rounds: Salmon, Moraes, Dror and
# Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (2011).
ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85


def uniform(xp, shape):
    """Random numbers of the given shape, uniform in [0, 1).

    Args:
        xp: numpy or cupy.
        shape (tuple of int): Their shape.

    Returns:
        array: float64 on NumPy, float32 of 24 bits on CuPy.
    """
    if xp is numpy:
        return numpy.random.rand(*shape)
    return numbers(xp, draw_key(), shape)


def numbers(xp, key, shape):
    """float32 of 24 bits in [0, 1), in the order of their places under a key.

    What the CUDA kernel of dropout finds at its places, in plain functions of `xp`.
    """
    bits = philox(xp, key, int(numpy.prod(shape)))
    return ((bits >> 8).astype(numpy.float32) * numpy.float32(2 ** -24)).reshape(shape)


def draw_key():
    """(2,) uint32: the key of a window, from NumPy's stream."""
    return numpy.random.randint(0, 2 ** 32, 2, dtype=numpy.uint32)


def philox(xp, key, n):
    """The first `n` numbers of the generator, as the kernel finds them.

    Args:
        xp: numpy or cupy.
        key (tuple of int): Two of 32 bits.
        n (int): How many.

    Returns:
        array: (n,) uint32.
    """
    low = 0xFFFFFFFF
    block = xp.arange(-(-n // 4), dtype=numpy.uint64)
    c0, c1, c2, c3 = block & low, block >> 32, 0 * block, 0 * block
    k0, k1 = map(int, key)
    for _ in range(ROUNDS):
        p, q = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q & low, (p >> 32) ^ c3 ^ k1, p & low
        k0, k1 = (k0 + KEY_STEPS[0]) & low, (k1 + KEY_STEPS[1]) & low
    return xp.stack([c0, c1, c2, c3], axis=1).ravel()[:n].astype(numpy.uint32)
