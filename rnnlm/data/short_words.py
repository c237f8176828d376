"""Hash table of short words, looked up many at a time.

With a large vocabulary, each look-up in a dictionary waits for memory.  NumPy overlaps
these waits for many words.
"""
from __future__ import annotations

from typing import Callable

import numpy

from rnnlm.data.text import EOS

# Maximum bytes of a word in the table; with its length they fit into 64 bits.
LONGEST = 8

# ASCII characters at which `str.split` splits.
_BLANK = numpy.array([chr(c).isspace() for c in range(256)]) & (numpy.arange(256) < 128)

# Masks for the first n of 8 bytes, by the length n of a word; 0 for longer words.
_MASKS = numpy.array([2 ** (8 * k) - 1 for k in range(LONGEST + 1)] + [0], 'u8')

# Maximum number of slots that are probed for a word.  If all are occupied, the word is
# kept in the dictionary only, so that words made to collide cost no more than this.
MOST_LOOKS = 32

# Knuth's multiplier: the golden ratio in 64 bits.
_MULTIPLIER = numpy.uint64(0x9E3779B97F4A7C15)


def fits(text: str) -> bool:
    """Returns whether the words of a text can be looked up here."""
    return text.isascii() and '\0' not in text


class ShortWords:
    """Hash table of words of at most `LONGEST` bytes, with open addressing.

    Args:
        number: Function that returns the numbers of words that are not in the table.
    """

    def __init__(self, number: Callable[[list[str]], numpy.ndarray]) -> None:
        self._number = number
        self._end = -1  # the number of the end of a line, once it has one
        self._make(16)

    def _make(self, bits: int) -> None:
        self._shift = numpy.uint64(64 - bits)
        self._keys = numpy.zeros(2 ** bits, 'u8')  # 0 where there is none
        self._numbers = numpy.zeros(2 ** bits, 'i')
        self._n = 0  # occupied slots

    def encode(self, text: str) -> numpy.ndarray:
        """Returns the numbers of the words and line ends of a text, int32 (N,).

        Args:
            text: A text that `fits`, with complete words separated by blanks.
        """
        data = text.encode() + bytes(LONGEST)
        codes = numpy.frombuffer(data, 'u1', len(text))
        blank = numpy.concatenate([[True], _BLANK[codes], [True]])
        begins = blank[:-1] > blank[1:]  # one more position than bytes
        ends = codes == ord('\n')
        starts = numpy.flatnonzero(begins[:-1] | ends)
        is_end = ends[starts]
        lengths = numpy.zeros(len(starts), int)
        lengths[~is_end] = (
            numpy.flatnonzero(blank[1:] > blank[:-1]) - starts[~is_end])
        eights = numpy.ndarray(len(text), '<u8', data, strides=(1,))
        keys = eights[starts] & _MASKS[numpy.minimum(lengths, LONGEST + 1)]
        numbers = self._look_up(keys)
        numbers[is_end] = self._end
        left = numpy.flatnonzero(numbers < 0)
        if len(left):
            words = [text[start:start + length] or EOS for start, length in zip(
                starts[left].tolist(), lengths[left].tolist())]
            numbers[left] = self._number(words)
            if self._end < 0 and is_end.any():
                self._end = int(numbers[numpy.argmax(is_end)])
            self._add(keys[left], numbers[left])
        return numbers

    def _look_up(self, keys: numpy.ndarray) -> numpy.ndarray:
        """Returns the numbers of keys, int32 (N,); -1 for those not in the table."""
        numbers = numpy.full(len(keys), -1, 'i')
        places = numpy.arange(len(keys))
        slots = self._slots(keys)
        for _ in range(MOST_LOOKS):
            found = self._keys[slots]
            hit = found == keys[places]
            numbers[places[hit]] = self._numbers[slots[hit]]
            on = numpy.flatnonzero(~hit & (found != 0))
            if not len(on):
                break
            places, slots = places[on], self._next(slots[on])
        numbers[keys == 0] = -1
        return numbers

    def _add(self, keys: numpy.ndarray, numbers: numpy.ndarray) -> None:
        keys, first = numpy.unique(keys, return_index=True)
        numbers = numbers[first]
        if len(keys) and not keys[0]:  # of long words, and ends of lines
            keys, numbers = keys[1:], numbers[1:]
        if 2 * (self._n + len(keys)) > len(self._keys):
            old = numpy.flatnonzero(self._keys)
            keys = numpy.concatenate([self._keys[old], keys])
            numbers = numpy.concatenate([self._numbers[old], numbers])
            self._make((4 * len(keys)).bit_length())
        slots = self._slots(keys)
        for _ in range(MOST_LOOKS):
            free = self._keys[slots] == 0
            self._keys[slots[free]] = keys[free]  # the last of several in one slot
            placed = self._keys[slots] == keys
            self._numbers[slots[placed]] = numbers[placed]
            self._n += int(placed.sum())
            if placed.all():
                break
            keys, numbers = keys[~placed], numbers[~placed]
            slots = self._next(slots[~placed])

    def _slots(self, keys: numpy.ndarray) -> numpy.ndarray:
        """Returns the slots at which keys are looked up first, int (N,)."""
        return ((keys * _MULTIPLIER) >> self._shift).astype(int)

    def _next(self, slots: numpy.ndarray) -> numpy.ndarray:
        return (slots + 1) & (len(self._keys) - 1)
