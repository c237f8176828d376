"""Ids of a text in flat memory: an array, or a file mapped into memory.

A text is read once.  Its tokens are numbered by first appearance.  When all of them
have been counted, the numbers are replaced by ids of the vocabulary, in place.
"""
from __future__ import annotations

import array
import dataclasses
import hashlib
import mmap
from typing import IO, Any, Iterable, Iterator, Optional, Protocol, Sequence

import numpy

from rnnlm.data.tokens import Tokens, end_of, make_ids
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError

# Number of ids processed at a time.
BLOCK = 2 ** 20

# Number of ids of a mapped file that are read before their pages are released.
MOST_PAGED = 2 ** 22

# Minimum number of tokens to split 90/5/5 into three useful parts.
MIN_TOKENS = 20


@dataclasses.dataclass(frozen=True)
class Facts:
    """Properties of the ids of a text.

    Attributes:
        lengths: Number of ids of each part.
        n_tokens: Number of tokens of each part, including skipped unknown tokens.
        n_unknown: Number of unknown tokens of each part.
        min_count: How often a token must occur to be known; None if not applicable.
    """
    lengths: list[int]
    n_tokens: list[int]
    n_unknown: list[int]
    min_count: Optional[int]


class Store(Protocol):
    """Storage that ids are appended to."""

    def append(self, ids: numpy.ndarray) -> None:
        """Appends ids, int32 (N,)."""

    def read(self, start: int, stop: int) -> numpy.ndarray:
        """Returns the ids from `start` to `stop` - 1, int32 (stop - start,)."""

    def write(self, start: int, ids: numpy.ndarray) -> None:
        """Replaces the ids from `start` on, and appends the rest."""

    def __len__(self) -> int:
        """Returns the number of ids."""


class Memory:
    """`Store` in memory, an array that grows."""

    def __init__(self) -> None:
        self._ids = array.array('i')

    def append(self, ids: numpy.ndarray) -> None:
        self._ids.frombytes(numpy.ascontiguousarray(ids, 'i').data.cast('B'))

    def read(self, start: int, stop: int) -> numpy.ndarray:
        return self.array()[start:stop].copy()

    def write(self, start: int, ids: numpy.ndarray) -> None:
        more = start + len(ids) - len(self)
        if more > 0:
            self.append(numpy.zeros(more, 'i'))
        self.array()[start:start + len(ids)] = ids

    def __len__(self) -> int:
        return len(self._ids)

    def array(self) -> numpy.ndarray:
        """Returns all ids without a copy, int32 (N,)."""
        return numpy.frombuffer(self._ids, 'i')


class Disk:
    """`Store` in a file.

    Args:
        f: The file, open for reading and writing.
        offset: The byte at which the ids start.
    """

    def __init__(self, f: IO[bytes], offset: int) -> None:
        self._f, self._offset, self._n = f, offset, 0
        f.seek(offset)

    def append(self, ids: numpy.ndarray) -> None:
        self.write(self._n, ids)

    def read(self, start: int, stop: int) -> numpy.ndarray:
        self._f.seek(self._offset + 4 * start)
        return numpy.frombuffer(self._f.read(4 * (stop - start)), 'i')

    def write(self, start: int, ids: numpy.ndarray) -> None:
        place = self._offset + 4 * start
        if self._f.tell() != place:
            self._f.seek(place)
        self._f.write(numpy.ascontiguousarray(ids, 'i').data.cast('B'))
        self._n = max(self._n, start + len(ids))

    def __len__(self) -> int:
        return self._n


class Rule(Protocol):
    """Rule from tokens to ids; the rules are in `rnnlm.data.rules`.

    Attributes:
        tokens: 'word', 'char' or 'byte'.
        known: The tokens that have numbers; all others share the next number.  None if
            every token of the text gets its own number.
        min_count: As in `Facts`, after `fit`.
    """
    tokens: str
    known: Optional[Sequence[str]]
    min_count: Optional[int]

    def fit(self, store: Store, lengths: Sequence[int], names: Sequence[str]
            ) -> tuple[Vocabulary, numpy.ndarray]:
        """Returns the vocabulary, and the id of each number, int32 (V,); -1 to skip it.

        Args:
            store: The numbers of all tokens.
            lengths: Number of tokens of each part.
            names: The numbered tokens.
        """


def build(store: Store, parts: Iterable[Iterable[Tokens]], rule: Rule,
          split: Optional[str] = None) -> tuple[Vocabulary, Facts]:
    """Encodes a text into a store of ids.

    Args:
        store: An empty store.
        parts: The tokens of each part.
        rule: Rule from tokens to ids.
        split: If given, the single part is split 90/5/5 into three; the name of the
            text, for messages.

    Returns:
        The vocabulary, and the properties of the ids.

    Raises:
        rnnlm.errors.InputError: If there are too few tokens to split.
    """
    numbers = make_ids(rule.tokens, rule.known)
    lengths = []
    for part in parts:
        before = len(store)
        for some in part:
            store.append(numbers.encode(some))
        lengths.append(len(store) - before)
    if split is not None:
        lengths = _cut(lengths[0], split)
        # For a text of one line, which otherwise would have no end of line to learn.
        end, names = end_of(rule.tokens), numbers.names
        if end not in names or not count(
                store, 0, lengths[0], len(names) + 1)[names.index(end)]:
            lengths = _end_parts(store, lengths, int(numbers.encode([end])[0]))
    vocabulary, table = rule.fit(store, lengths, numbers.names)
    n_ids, n_unknown = _encode(store, lengths, table, vocabulary.unknown)
    return vocabulary, Facts(n_ids, lengths, n_unknown, rule.min_count)


def _cut(n: int, name: str) -> list[int]:
    """Returns the lengths of contiguous parts 90/5/5 of n tokens."""
    if n < MIN_TOKENS:
        raise InputError(
            f'{name}: expected at least {MIN_TOKENS} tokens, to be split 90/5/5 into '
            f'training, validation and test text, found {n}; give a longer text')
    held_out = max(2, n // 20)
    return [n - 2 * held_out, held_out, held_out]


def _end_parts(store: Store, lengths: Sequence[int], end: int) -> list[int]:
    """Appends `end` to the parts that do not end with it; returns their lengths."""
    stops = numpy.cumsum(lengths).tolist()
    lacking = [int(store.read(stop - 1, stop)[0] != end) for stop in stops]
    # From last to first, because each part moves to where the next one was.
    for k in reversed(range(len(stops))):
        shift = sum(lacking[:k])
        if lacking[k]:
            store.write(stops[k] + shift, numpy.array([end], 'i'))
        if shift:
            for start, stop in reversed(list(_blocks(stops[k] - lengths[k], stops[k]))):
                store.write(start + shift, store.read(start, stop))
    return [length + more for length, more in zip(lengths, lacking)]


def _blocks(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for begin in range(start, stop, BLOCK):
        yield begin, min(begin + BLOCK, stop)


def count(store: Store, start: int, stop: int, n: int) -> numpy.ndarray:
    """Counts each number from 0 to n - 1 between two positions; returns int64 (n,)."""
    found = numpy.zeros(n, numpy.int64)
    for block in _blocks(start, stop):
        found += numpy.bincount(store.read(*block), minlength=n)
    return found


def contains(store: Store, stop: int, numbers: Sequence[int]) -> bool:
    """Returns whether the given numbers occur consecutively before a position."""
    for begin, end in _blocks(0, stop):
        block = store.read(begin, min(end + len(numbers) - 1, stop))
        n = max(0, len(block) - len(numbers) + 1)
        here = numpy.ones(n, bool)
        for k, number in enumerate(numbers):
            here &= block[k:k + n] == number
        if here.any():
            return True
    return False


def _encode(store: Store, lengths: Sequence[int], table: numpy.ndarray,
            unknown: Optional[int]) -> tuple[list[int], list[int]]:
    """Replaces numbers by ids, and removes those without an id.

    Returns the numbers of ids and of unknown tokens of each part.
    """
    start = place = 0
    found, n_unknown = [], []
    for length in lengths:
        first, known = place, 0
        for block in _blocks(start, start + length):
            ids = table[store.read(*block)]
            if unknown is None:
                ids = ids[ids >= 0]
                known += len(ids)
            else:
                known += int((ids != unknown).sum())
            store.write(place, ids)
            place += len(ids)
        start += length
        found.append(place - first)
        n_unknown.append(length - known)
    return found, n_unknown


def parts_of(ids: numpy.ndarray, lengths: Sequence[int]) -> list[numpy.ndarray]:
    """Splits ids into consecutive parts, without a copy."""
    ends = numpy.cumsum(lengths).tolist()
    return [ids[end - length:end] for end, length in zip(ends, lengths)]


def digest_in(store: Store, lengths: Sequence[int]) -> str:
    """Computes `digest_of` for the parts in a store."""
    digest, start = hashlib.sha256(), 0
    for length in lengths:
        digest.update(f'{length} '.encode())
        for block in _blocks(start, start + length):
            digest.update(numpy.ascontiguousarray(store.read(*block), '<i4').data)
        start += length
    return digest.hexdigest()


def ring(ids: numpy.ndarray, start: int, stop: int) -> numpy.ndarray:
    """Returns the ids from `start` to `stop` - 1, wrapping around at the end."""
    return ids[numpy.arange(start, stop) % len(ids)]


def blocks_of(ids: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """Yields ids (N,) in blocks; few pages of a mapped file stay in memory."""
    for begin, end in _blocks(0, len(ids)):
        yield ids[begin:end]
        release_pages(ids)


def release_pages(ids: Any) -> None:
    """Releases the pages of a mapped file; the system reads them again if needed.

    Otherwise they would count as memory of this process.
    """
    while isinstance(ids, numpy.ndarray):
        ids = ids.base
    if hasattr(ids, 'madvise'):
        ids.madvise(mmap.MADV_DONTNEED)


def digest_of(parts: Iterable[numpy.ndarray]) -> str:
    """Computes the SHA-256 of the ids of some parts, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f'{len(part)} '.encode())
        for block in blocks_of(part):
            digest.update(numpy.ascontiguousarray(block, '<i4').data)
    return digest.hexdigest()


def count_of(ids: numpy.ndarray, number: int) -> int:
    """Counts the occurrences of a number among ids (N,)."""
    return sum(int((numpy.asarray(block) == number).sum()) for block in blocks_of(ids))
