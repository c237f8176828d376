"""Masks of dropout from NumPy's own stream of random numbers, compiled.

What ``numpy.random.rand(n) >= ratio`` finds, of the same numbers, which the Mersenne
Twister MT19937 makes; a vector at a time, and without the numbers themselves.

References:
    Matsumoto and Nishimura, "Mersenne Twister: A 623-dimensionally equidistributed
    uniform pseudorandom number generator" (1998).
"""
import functools
import math

import numpy
from llvmlite import ir

from rnnlm.kernels import buffers
from rnnlm.kernels.machine import machine
from rnnlm.kernels.vector import WORD, Kernel

# Words of the state; how far ahead the recurrence looks; what it and the tempering
# shift and mask.
SIZE, AHEAD = 624, 397
UPPER, LOWER, MATRIX = 0x80000000, 0x7FFFFFFF, 0x9908B0DF
TEMPER_B, TEMPER_C = 0x9D2C5680, 0xEFC60000

# A number is a / 2^53 with 27 bits of one word and 26 of the next.
HIGH_BITS, LOW_BITS = 27, 26

# state: two states of `SIZE` words, the present one first.  words: room for the words
# of one state, one left over of the state before, and a few beyond.
MASKS = (('i', 'count'), ('w', 'state'), ('b', 'position'), ('w', 'words'),
         ('i', 'high'), ('i', 'low'), ('f', 'scale'), ('p', 'out'))

_rand = numpy.random.rand


def masks(count, ratio, scale):
    """``scale * (numpy.random.rand(count) >= ratio)``, drawn from the same stream.

    Args:
        count (int): How many.
        ratio (float): In (0, 1).
        scale: float32.

    Returns:
        array: (count,) float32; None if `numpy.random` is not as NumPy made it, nothing
        being drawn then.
    """
    random = getattr(_rand, '__self__', None)
    if numpy.random.rand is not _rand or type(random) is not numpy.random.RandomState:
        return None
    lanes = machine().lanes
    limit = math.ceil(float(ratio) * 2 ** (HIGH_BITS + LOW_BITS))
    out = buffers.empty(numpy, (count + lanes,), numpy.float32)
    words = buffers.empty(numpy, (SIZE + 4 * lanes,), numpy.uint32)
    state = buffers.empty(numpy, (2 * SIZE + lanes,), numpy.uint32)
    with random._bit_generator.lock:  # as while NumPy draws
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
    """The kernel, for a processor."""
    written = ir.Module('twister')
    _write(written, machine.lanes)
    return written


class _Words:
    """Vectors of words, said in short.

    Args:
        k: The kernel.
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
        """The word after next `SIZE`: of two that follow each other, and one ahead."""
        both = self._b.or_(self.masked(now, UPPER), self.masked(next_, LOWER))
        odd = self._b.sub(self.constant(0), self.masked(next_, 1))
        return self._b.xor(self._b.xor(ahead, self.right(both, 1)),
                           self.masked(odd, MATRIX))

    def tempered(self, words):
        xor = self._b.xor
        words = xor(words, self.right(words, 11))
        words = xor(words, self.masked(self.left(words, 7), TEMPER_B))
        words = xor(words, self.masked(self.left(words, 15), TEMPER_C))
        return xor(words, self.right(words, 18))


def _write(module, lanes):
    k = Kernel(module, 'masks', MASKS, lanes)
    a, b, vectors = k.arguments, k.builder, _Words(k)
    state, words = a['state'], a['words']
    high, low = (k.spread(b.trunc(a[name], WORD)) for name in ('high', 'low'))
    scale, zero = k.spread(a['scale']), k.constant(0)
    # A round makes masks of the words left of a state, and first the next state where
    # none are; `extra` is 1 if a word is left over of the round before, the first of
    # `words`.  Enough rounds for all masks, and one for the rest of the first state.
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
        pairs = k.smaller(b.sdiv(k.add(fresh, extra), k.int(2)),
                          k.sub(a['count'], done))
        with k.loop(0, k.blocks(pairs)) as vector:
            i = k.mul(vector.index, k.int(lanes))
            first, second = _deinterleaved(
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
        # What follows the words that were used: of an odd number one is left over.
        left = k.sub(k.add(fresh, extra), k.mul(pairs, k.int(2)))
        b.store(b.load(k.at(words, (pairs, 2))), words)
        position = k.sub(k.int(SIZE), left)
        loop.again(done, b.select(is_wanted, left, k.int(0)),
                   b.select(is_wanted, k.int(SIZE), position))
    b.store(loop.values[2], a['position'])
    b.ret_void()


def _deinterleaved(k, one, other):
    """The words at even places, and those at odd ones, of two vectors in a row."""
    return [k.builder.shuffle_vector(one, other, ir.Constant(
        ir.VectorType(WORD, k.lanes), list(range(start, 2 * k.lanes, 2))))
        for start in (0, 1)]
