"""Dropout masks from NumPy's random state, compiled for the CPU.

The kernel computes ``scale * (numpy.random.rand(count) >= ratio)``, and leaves the
random state as NumPy would.  So a run has the same masks with and without it.  NumPy's
generator is MT19937, whose words x of 32 bits follow the recurrence

    x[k + 624] = x[k + 397] ^ A(upper bit of x[k] | lower 31 bits of x[k + 1])

with A(y) = y >> 1, XORed with `MATRIX` if y is odd.  Each word is then tempered by
shifts and masks, and two words p, q give a number, ((p >> 5) 2^26 + (q >> 6)) / 2^53.

- Vectors.  The recurrence reaches back at least 227 words, so the words of a vector do
  not depend on each other.
- No floating-point numbers.  ``rand >= ratio`` is compared in integers, first the high
  27 bits, then the low 26 bits, with those of ceil(ratio 2^53).  This is exact.

References:
    Matsumoto and Nishimura, "Mersenne Twister: A 623-dimensionally equidistributed
    uniform pseudorandom number generator" (1998), equation (2.1) and section 2.1
"""
import functools
import math

import numpy
from llvmlite import ir

from rnnlm.kernels import buffers
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import WORD, Kernel

# Words of the state, offset of the other word in the recurrence, and bit masks of the
# recurrence and of the tempering.
SIZE, AHEAD = 624, 397
UPPER, LOWER, MATRIX = 0x80000000, 0x7FFFFFFF, 0x9908B0DF
TEMPER_B, TEMPER_C = 0x9D2C5680, 0xEFC60000

# Bits of a number that come from the first and from the second word.
HIGH_BITS, LOW_BITS = 27, 26

# state: the present state of `SIZE` words, and space for the next one.  words: space
# for the tempered words of a state, after one left over from the previous state.
MASKS = (('i', 'count'), ('w', 'state'), ('b', 'position'), ('w', 'words'),
         ('i', 'high'), ('i', 'low'), ('f', 'scale'), ('p', 'out'))

_rand = numpy.random.rand


def masks(count, ratio, scale):
    """Computes ``scale * (numpy.random.rand(count) >= ratio)``.

    Args:
        count (int): Number of elements.
        ratio (float): Ratio of elements that are 0, in (0, 1).
        scale: float32, the value of the others.

    Returns:
        array: (count,) float32; None, without drawing, if `numpy.random` was replaced
        or has another generator.
    """
    random = getattr(_rand, '__self__', None)
    if numpy.random.rand is not _rand or type(random) is not numpy.random.RandomState:
        return None
    lanes = machine().lanes
    limit = math.ceil(float(ratio) * 2 ** (HIGH_BITS + LOW_BITS))
    out = buffers.empty(numpy, (count + lanes,), numpy.float32)
    words = buffers.empty(numpy, (SIZE + 4 * lanes,), numpy.uint32)
    state = buffers.empty(numpy, (2 * SIZE + lanes,), numpy.uint32)
    with random._bit_generator.lock:  # NumPy holds it while it draws
        found = random.get_state(legacy=False)
        if found['bit_generator'] != 'MT19937':
            return None
        state[:SIZE] = found['state']['key']
        position = numpy.array([found['state']['pos']], numpy.int64)
        words[...] = 0
        _compiled()(
            count, state.ctypes.data, position.ctypes.data, words.ctypes.data,
            limit >> LOW_BITS, limit & (2 ** LOW_BITS - 1), scale, out.ctypes.data)
        found['state'] = {'key': state[:SIZE].copy(), 'pos': int(position[0])}
        random.set_state(found)
    return out[:count]


@functools.lru_cache(maxsize=None)
def _compiled():
    kernel, = machine().functions(module(machine()), {'masks': MASKS})
    return kernel


def module(machine):
    """Builds the LLVM module of the kernel."""
    written = ir.Module('twister')
    _write(written, machine.lanes)
    return written


class _Words:
    """Operations on vectors of 32-bit words.

    Args:
        k (Kernel): The kernel.
    """

    def __init__(self, k):
        self._k, self._b = k, k.builder
        self._type = ir.VectorType(WORD, k.lanes)

    def constant(self, value):
        return ir.Constant(self._type, [value] * self._k.lanes)

    def load(self, pointer):
        return self._b.load(self._b.bitcast(pointer, self._type.as_pointer()), align=4)

    def store(self, words, pointer):
        self._b.store(words, self._b.bitcast(
            pointer, self._type.as_pointer()), align=4)

    def right(self, words, bits):
        return self._b.lshr(words, self.constant(bits))

    def left(self, words, bits):
        return self._b.shl(words, self.constant(bits))

    def masked(self, words, mask):
        return self._b.and_(words, self.constant(mask))

    def twisted(self, now, next_, ahead):
        """Builds the recurrence: x[k + 624] from x[k], x[k + 1] and x[k + 397]."""
        both = self._b.or_(self.masked(now, UPPER), self.masked(next_, LOWER))
        odd = self._b.sub(self.constant(0), self.masked(next_, 1))
        return self._b.xor(self._b.xor(ahead, self.right(both, 1)),
                           self.masked(odd, MATRIX))

    def tempered(self, words):
        """Builds the tempering, a transform of each word."""
        xor = self._b.xor
        words = xor(words, self.right(words, 11))
        words = xor(words, self.masked(self.left(words, 7), TEMPER_B))
        words = xor(words, self.masked(self.left(words, 15), TEMPER_C))
        return xor(words, self.right(words, 18))


def _write(module, lanes):
    """Builds the kernel."""
    k = Kernel(module, 'masks', MASKS, lanes)
    a, b, vectors = k.arguments, k.builder, _Words(k)
    state, words = a['state'], a['words']
    high, low = (k.splat(b.trunc(a[name], WORD)) for name in ('high', 'low'))
    scale, zero = k.splat(a['scale']), k.constant(0)
    # Each round computes the next state if the present one is used up, tempers the rest
    # of the state, and computes an element of the mask from each pair of words.  The
    # first of `words` is one that the previous round left over, if `extra` is 1.  There
    # are enough rounds for all elements, and one for the rest of the first state.
    rounds = k.add(b.sdiv(k.mul(a['count'], k.int(2)), k.int(SIZE)), k.int(2))
    start = b.load(a['position'])
    with k.loop(0, rounds, k.int(0), k.int(0), start) as loop:
        done, extra, position = loop.values
        is_used_up = b.icmp_signed('>=', position, k.int(SIZE))
        is_wanted = b.icmp_signed('<', done, a['count'])
        with b.if_then(b.and_(is_used_up, is_wanted)):
            with k.loop(0, SIZE // lanes) as vector:
                i = k.mul(vector.index, k.int(lanes))
                vectors.store(vectors.twisted(
                    vectors.load(k.at(state, i)), vectors.load(k.at(state, i, 1)),
                    vectors.load(k.at(state, i, AHEAD))), k.at(state, i, SIZE))
            with k.loop(0, SIZE // lanes) as vector:
                i = k.mul(vector.index, k.int(lanes))
                vectors.store(vectors.load(k.at(state, i, SIZE)), k.at(state, i))
        position = b.select(b.and_(is_used_up, is_wanted), k.int(0), position)
        fresh = k.sub(k.int(SIZE), position)
        with k.loop(0, k.blocks(fresh)) as vector:
            i = k.mul(vector.index, k.int(lanes))
            vectors.store(vectors.tempered(vectors.load(k.at(state, position, i))),
                          k.at(words, extra, i))
        pairs = k.minimum_int(b.sdiv(k.add(fresh, extra), k.int(2)),
                              k.sub(a['count'], done))
        with k.loop(0, k.blocks(pairs)) as vector:
            i = k.mul(vector.index, k.int(lanes))
            first, second = _deinterleaved(  # the two words of each number
                k, vectors.load(k.at(words, (i, 2))),
                vectors.load(k.at(words, (i, 2), lanes)))
            first = vectors.right(first, 32 - HIGH_BITS)
            second = vectors.right(second, 32 - LOW_BITS)
            is_kept = b.or_(b.icmp_unsigned('>', first, high), b.and_(
                b.icmp_unsigned('==', first, high),
                b.icmp_unsigned('>=', second, low)))
            k.store(b.select(is_kept, scale, zero), k.at(a['out'], done, i))
        done = k.add(done, pairs)
        is_wanted = b.icmp_signed('<', done, a['count'])
        # Of an odd number of words one is left over, for the next round.
        left = k.sub(k.add(fresh, extra), k.mul(pairs, k.int(2)))
        b.store(b.load(k.at(words, (pairs, 2))), words)
        position = k.sub(k.int(SIZE), left)
        loop.again(done, b.select(is_wanted, left, k.int(0)),
                   b.select(is_wanted, k.int(SIZE), position))
    b.store(loop.values[2], a['position'])
    b.ret_void()


def _deinterleaved(k, one, other):
    """Returns the words at even and at odd positions of two adjacent vectors."""
    return [k.builder.shuffle_vector(one, other, ir.Constant(
        ir.VectorType(WORD, k.lanes), list(range(start, 2 * k.lanes, 2))))
        for start in (0, 1)]
