"""Random numbers for dropout: `numpy.random` on the CPU, Philox on a GPU.

Philox4x32-10 is a counter-based generator: number 4c + i is word i of a block of 128
bits that depends only on the key and the counter c.  Each window draws its key from
`numpy.random`.  So a GPU needs no random state: `numpy.random.seed` repeats a run there
too, and NumPy's random state is enough to resume from a snapshot.

References:
    Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (2011)
"""
import numpy

# Constants of Philox4x32-10.
ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85


def uniform(xp, shape):
    """Draws random numbers, uniform in [0, 1).

    Args:
        xp: numpy or cupy.
        shape (tuple of int): Shape of the result.

    Returns:
        array: float64 on NumPy, float32 of 24 bits on CuPy.
    """
    if xp is numpy:
        return numpy.random.rand(*shape)
    return numbers(xp, draw_key(), shape)


def numbers(xp, key, shape):
    """Computes the first numbers of a key, uniform in [0, 1), float32 of 24 bits.

    This is the reference of the CUDA kernel of dropout.
    """
    bits = philox(xp, key, int(numpy.prod(shape)))
    return ((bits >> 8).astype(numpy.float32) * numpy.float32(2 ** -24)).reshape(shape)


def draw_key():
    """Draws the key of a window, uint32 (2,), from NumPy's random state."""
    return numpy.random.randint(0, 2 ** 32, 2, dtype=numpy.uint32)


def philox(xp, key, n):
    """Computes the first `n` numbers of the generator.

    Args:
        xp: numpy or cupy.
        key (tuple of int): Two integers of 32 bits.
        n (int): How many numbers.

    Returns:
        array: (n,) uint32.
    """
    # A round multiplies two words of the counter to 64 bits each; the low halves become
    # words of the result, the high halves are XORed with the other words and the key.
    low = 0xFFFFFFFF
    block = xp.arange(-(-n // 4), dtype=numpy.uint64)
    c0, c1, c2, c3 = block & low, block >> 32, 0 * block, 0 * block
    k0, k1 = map(int, key)
    for _ in range(ROUNDS):
        p, q = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q & low, (p >> 32) ^ c3 ^ k1, p & low
        k0, k1 = (k0 + KEY_STEPS[0]) & low, (k1 + KEY_STEPS[1]) & low
    return xp.stack([c0, c1, c2, c3], axis=1).ravel()[:n].astype(numpy.uint32)
