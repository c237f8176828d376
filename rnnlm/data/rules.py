"""Rules from tokens to ids, by the text's own vocabulary or a given one."""
from __future__ import annotations

import hashlib
import itertools
from typing import Any, Optional, Sequence

import numpy

from rnnlm.data import flat
from rnnlm.data.text import UNK
from rnnlm.data.tokens import end_of
from rnnlm.data.vocabulary import Vocabulary

# In a user's text, tokens that occur fewer times are replaced by <unk>.
MIN_COUNT = 2


class Fitted:
    """Rule that builds the vocabulary from the training part.

    The vocabulary has ``<unk>`` if another part has tokens that it lacks.

    Args:
        tokens: 'word' or 'char'.
        limit: The maximum size of the vocabulary, or None.
        min_count: Tokens that occur fewer times in the training part are unknown.  By
            default `MIN_COUNT` for a user's own text without ``<unk>``, otherwise 1.
        own: Whether the text is a user's own.

    Attributes:
        min_count: The value that was used, after `fit`.
    """
    known: Optional[Sequence[str]] = None

    def __init__(self, tokens: str, limit: Optional[int], min_count: Optional[int],
                 own: bool) -> None:
        self.tokens, self.limit, self.own = tokens, limit, own
        self.min_count = min_count
        self.key: dict[str, Any] = {
            'tokens': tokens, 'limit': None if limit is None else int(limit),
            'min_count': None if min_count is None else int(min_count), 'own': own}

    def fit(self, store: flat.Store, lengths: Sequence[int], names: Sequence[str]
            ) -> tuple[Vocabulary, numpy.ndarray]:
        counts = flat.count(store, 0, lengths[0], len(names))
        if self.min_count is None:
            marked = not self.own or self._has_unknown(store, lengths[0], names, counts)
            self.min_count = 1 if marked else MIN_COUNT
        fitted = Vocabulary.from_counts(
            names, counts, self.limit, False, self.min_count, self.tokens)
        if fitted.unknown is None and not counts.all():
            fitted = Vocabulary.from_counts(
                names, counts, self.limit, True, self.min_count, self.tokens)
        return fitted, _table(names, fitted)

    def _has_unknown(self, store: flat.Store, length: int, names: Sequence[str],
                     counts: numpy.ndarray) -> bool:
        """Returns whether the training part has ``<unk>``, also in characters."""
        if self.tokens == 'word':
            return UNK in names and bool(counts[names.index(UNK)])
        return set(UNK) <= set(names) and flat.contains(
            store, length, [names.index(character) for character in UNK])


class Given:
    """Rule that uses a given vocabulary.

    Args:
        vocabulary: The vocabulary.
        tokens: 'word', 'char' or 'byte', how the text is split.
        extended: Whether to append the end of a line and ``<unk>`` to the vocabulary if
            they are needed.  Otherwise unknown tokens are skipped if the vocabulary has
            no ``<unk>``.
    """
    min_count: Optional[int] = None

    def __init__(self, vocabulary: Vocabulary, tokens: str, extended: bool) -> None:
        self.vocabulary, self.tokens, self.extended = vocabulary, tokens, extended
        end = end_of(tokens)
        more = [] if end in vocabulary else [end]
        self.known: Optional[Sequence[str]] = [*vocabulary.words, *more]
        self.key: dict[str, Any] = {
            'tokens': tokens, 'extended': extended,
            'vocabulary': hashlib.sha256(vocabulary.to_bytes()).hexdigest()}

    def fit(self, store: flat.Store, lengths: Sequence[int], names: Sequence[str]
            ) -> tuple[Vocabulary, numpy.ndarray]:
        fitted = self.vocabulary
        if self.extended:
            counts = flat.count(store, 0, sum(lengths), len(names) + 1)
            more = [name for name, n in zip(names, counts)
                    if name not in fitted and n]  # the end of a line
            if UNK not in fitted and counts[-1]:
                more.append(UNK)
            fitted = Vocabulary([*fitted.words, *more], self.tokens)
        # The last number is shared by all unknown tokens.
        return fitted, _table([*names, ''], fitted)


def _table(names: Sequence[str], vocabulary: Vocabulary) -> numpy.ndarray:
    """Returns the ids of tokens, int32 (V,); unknown ones are ``<unk>`` or else -1."""
    unknown = -1 if vocabulary.unknown is None else vocabulary.unknown
    return numpy.fromiter(
        map(vocabulary.ids.get, names, itertools.repeat(unknown)), 'i', len(names))
