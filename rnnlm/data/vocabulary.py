"""`Vocabulary`: the tokens of a language model, and their ids."""
from __future__ import annotations

import collections
import difflib
import json
import os
from typing import Iterable, Mapping, Optional, Sequence, Union

import numpy

from rnnlm.data.text import EOS, UNITS, UNK, Ids
from rnnlm.errors import InputError, require, require_count, short_repr
from rnnlm.serializers import reading
from rnnlm.serializers.atomic import writing

_FORMAT = 'rnnlm vocabulary'
_VERSION = 1

# Maximum bytes of a file; enough for tens of millions of words.
MOST_BYTES = 2 ** 28


class Vocabulary:
    """Ordered list of distinct tokens; the id of a token is its position.

    Args:
        words: The tokens, at least one, all different.
        tokens: 'word', 'char' or 'byte', the kind of the tokens.  A byte of UTF-8 is
            represented by the character with its number, as in char-rnn.  By default
            'char' if each token is one character (or ``<unk>``), otherwise 'word'.

    Attributes:
        words (tuple of str): The tokens in the order of their ids.
        tokens (str): 'word', 'char' or 'byte', the kind of the tokens.
        by_byte (bool): Whether the tokens are bytes.

    Raises:
        rnnlm.InputError: If there is no token, or if a token is not a str, is empty,
            cannot be encoded as UTF-8 or occurs twice.

    Example:
        >>> vocabulary = rnnlm.Vocabulary.from_tokens('a dog sees a cat'.split())
        >>> vocabulary
        <Vocabulary of 4: 'a', 'dog', 'sees', 'cat'>
        >>> vocabulary.encode(['a', 'cat']).tolist()
        [0, 3]
        >>> vocabulary.decode([1, 2])
        ['dog', 'sees']
        >>> rnnlm.Vocabulary('a\\xa4\\xc3', 'byte').split('ä')
        'Ã¤'
    """

    def __init__(self, words: Iterable[str], tokens: Optional[str] = None) -> None:
        try:
            self.words = tuple(words)
        except TypeError:
            raise InputError(
                f'vocabulary: expected a list of strings, found {short_repr(words)}'
            ) from None
        if not self.words:
            raise InputError('vocabulary: expected at least one token, found none')
        for i, word in enumerate(self.words):
            if not isinstance(word, str) or not word:
                raise InputError(
                    f'vocabulary: expected non-empty strings, found {short_repr(word)} '
                    f'as token {i}')
        try:
            ''.join(self.words).encode('utf-8')
        except UnicodeEncodeError as e:
            raise InputError(
                'vocabulary: expected tokens that UTF-8 can hold, found the lone '
                f'surrogate {e.object[e.start]!r}; decode the text with its true '
                'encoding') from None
        if tokens is None:
            single = all(len(word) == 1 or word == UNK for word in self.words)
            tokens = 'char' if single else 'word'
        require('tokens', tokens, "'word', 'char' or 'byte'",
                lambda v: v in ('word', 'char', 'byte'))
        self.tokens = tokens
        self.by_byte = tokens == 'byte'
        if self.by_byte and not all(
                len(word) == 1 and word < '\u0100' for word in self.words):
            raise InputError(
                'vocabulary: expected tokens of one byte each, characters up to '
                "'\\xff', found others")
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            word, n = collections.Counter(self.words).most_common(1)[0]
            raise InputError(
                f'vocabulary: expected different tokens, found {short_repr(word)} {n} '
                'times')

    @classmethod
    def from_tokens(cls, tokens: Iterable[str], limit: Optional[int] = None,
                    unknown: bool = False, min_count: int = 1,
                    kind: Optional[str] = None) -> Vocabulary:
        """Builds the vocabulary of a text, in order of first appearance.

        Args:
            tokens: The tokens of the text.
            limit: If given, the maximum size of the vocabulary, at least 2.  If the
                text has more tokens, the `limit - 1` most frequent are kept (earlier
                ones first if equally frequent), and the others become ``<unk>``, at
                the position of the first of them.
            unknown: If true, the vocabulary always has ``<unk>``: at the end, unless
                it has a position because of the text or the limit.
            min_count: Tokens that occur fewer times than this become ``<unk>`` too,
                except the end of a sentence.
            kind: 'word' or 'char', the kind of the tokens, as for `Vocabulary`.

        Returns:
            The vocabulary.

        Raises:
            rnnlm.InputError: If `limit` is not an int of at least 2, `min_count` is
                less than 1, or the text is empty.

        Example:
            >>> text = 'a dog sees a cat and a cat'.split()
            >>> rnnlm.Vocabulary.from_tokens(text, min_count=2).words
            ('a', '<unk>', 'cat')
        """
        check_limit(limit)
        require_count('min_count', min_count)
        counts: dict[str, int]
        if limit is None and min_count == 1:
            counts = dict.fromkeys(tokens, 1)
        else:
            counts = collections.Counter(tokens)
        found = numpy.fromiter(counts.values(), numpy.int64, len(counts))
        return cls.from_counts(list(counts), found, limit, unknown, min_count, kind)

    @classmethod
    def from_counts(cls, tokens: Sequence[str], counts: numpy.ndarray,
                    limit: Optional[int] = None, unknown: bool = False,
                    min_count: int = 1, kind: Optional[str] = None) -> Vocabulary:
        """Builds the vocabulary from token counts, like `from_tokens`.

        Args:
            tokens: The different tokens, in order of first appearance.
            counts: Count of each token, int (V,); tokens with count 0 are skipped.
            limit, unknown, min_count, kind: As for `from_tokens`.

        Returns:
            The vocabulary.

        Raises:
            rnnlm.InputError: As for `from_tokens`.
        """
        there = counts > 0
        kept = counts >= max(1, min_count)
        for i, token in enumerate(tokens):
            if token in (UNK, EOS, '\n'):
                kept[i] = token != UNK and there[i]
        unknown = unknown or bool((there & ~kept).any())
        if limit is not None and kept.sum() + unknown > limit:
            places = numpy.flatnonzero(kept)
            ranked = places[numpy.argsort(-counts[places], kind='stable')]
            kept[ranked[limit - 1:]], unknown = False, True
        dropped = numpy.flatnonzero(there & ~kept)
        first = dropped[0] if len(dropped) else len(tokens)
        words = [tokens[i] for i in numpy.flatnonzero(kept).tolist()]
        if unknown:
            words.insert(int(kept[:first].sum()), UNK)
        return cls(words, kind)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (self.words, self.by_byte) == (other.words, other.by_byte)

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        first = ', '.join(map(repr, self.words[:4]))
        more = ', ...' if len(self) > 4 else ''
        return f'<Vocabulary of {len(self)}: {first}{more}>'

    @property
    def by_character(self) -> bool:
        """Whether tokens are characters (and perhaps ``<unk>``)."""
        return self.tokens in ('char', 'byte')

    @property
    def unit(self) -> str:
        """'word', 'character' or 'byte', the name of a token in reports."""
        return UNITS[self.tokens]

    @property
    def ids(self) -> Mapping[str, int]:
        """Id of each token."""
        return self._ids

    @property
    def unknown(self) -> Optional[int]:
        """Id of ``<unk>``; None if there is none."""
        return self._ids.get(UNK)

    def split(self, text: str) -> Union[str, list[str]]:
        """Splits a text into words, characters or bytes, like the vocabulary's tokens.

        Args:
            text: The text; a single line, if it is split into words.

        Returns:
            list of str; or a str, each character of which is a token.
        """
        if self.by_byte:
            return text.encode('utf-8', 'surrogateescape').decode('latin-1')
        return text if self.by_character else text.split()

    def encode(self, tokens: Iterable[str]) -> numpy.ndarray:
        """Encodes tokens as ids.

        Args:
            tokens: N tokens; a str means its N characters.

        Returns:
            int32 (N,).  A token that is not in the vocabulary gets the id of
            ``<unk>``, if there is one.

        Raises:
            rnnlm.InputError: If a token is not in the vocabulary and there is no
                ``<unk>``, or if it is not a str.
        """
        tokens = tokens if isinstance(tokens, (str, list, tuple)) else list(tokens)
        try:
            return numpy.fromiter(
                map(self._ids.__getitem__, tokens), numpy.int32, len(tokens))
        except (KeyError, TypeError):
            pass  # the search below finds the token, for the message
        unknown = self._ids.get(UNK)
        ids = numpy.empty(len(tokens), numpy.int32)
        for i, token in enumerate(tokens):
            if not isinstance(token, str):
                raise InputError(f'token {i}: expected a str, found {token!r}')
            number = self._ids.get(token, unknown)
            if number is None:
                close = difflib.get_close_matches(token, self.words, 3)
                hint = f'; close to it: {", ".join(map(repr, close))}' if close else ''
                raise InputError(
                    f'token {i}: {token!r} is not among the {len(self)} tokens of '
                    f'the vocabulary, which has no {UNK!r}{hint}')
            ids[i] = number
        return ids

    def decode(self, ids: Ids) -> list[str]:
        """Decodes ids as tokens.

        Args:
            ids: Ids (N,), from 0 to ``len(self) - 1``.

        Returns:
            N tokens.

        Raises:
            rnnlm.InputError: If `ids` is not one-dimensional, not of an integer type,
                or an id is out of range.
        """
        array = numpy.asarray(ids)
        if array.shape == (0,):
            return []
        if array.ndim != 1 or array.dtype.kind not in 'iu':
            raise InputError(
                'ids: expected one dimension of integers, found shape '
                f'{array.shape} of {array.dtype}')
        wrong = numpy.flatnonzero((array < 0) | (array >= len(self)))
        if len(wrong):
            raise InputError(
                f'id {array[wrong[0]]} at position {wrong[0]}: expected 0 to '
                f'{len(self) - 1}, the ids of this vocabulary')
        return [self.words[i] for i in array.tolist()]

    def to_bytes(self) -> bytes:
        """Returns the content of the file that `save` writes."""
        found = {'format': _FORMAT, 'version': _VERSION, 'tokens': self.tokens,
                 'words': self.words}
        if self.by_byte:  # which an older version would read as characters
            found['version'] = _VERSION + 1
        return json.dumps(found, ensure_ascii=False, indent=0).encode('utf-8')

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes the vocabulary to a JSON file in UTF-8.

        The file is written atomically; an existing file is replaced.

        Args:
            path: The file.

        Raises:
            rnnlm.InputError: If the file cannot be written.
        """
        path = os.fspath(path)
        try:
            with writing(path) as f:
                f.write(self.to_bytes())
        except OSError as e:
            raise InputError(
                f'{path}: the vocabulary cannot be written: {e.strerror}; choose a '
                'file in an existing folder with write permission') from e

    @classmethod
    def load(cls, path: Union[str, os.PathLike]) -> Vocabulary:
        """Loads a vocabulary that was written by `save`.

        Args:
            path: The file.

        Returns:
            The vocabulary.

        Raises:
            rnnlm.InputError: If the file cannot be read or is not a vocabulary.
        """
        path = os.fspath(path)
        return parse(reading.decode(
            reading.read_regular(path, 'a vocabulary', MOST_BYTES), path), path)


def parse(text: str, path: str) -> Vocabulary:
    """Returns the vocabulary in the text of a file; `path` is its name in messages.

    Raises:
        rnnlm.InputError: If it is not a vocabulary.
    """
    try:
        data = reading.parse_json(text, MOST_BYTES)
    except ValueError as e:
        raise InputError(
            f'{path}: expected a vocabulary in JSON, but it does not parse: {e}'
        ) from None
    if not isinstance(data, dict) or data.get('format') != _FORMAT:
        raise InputError(
            f'{path}: expected a vocabulary, a JSON object with "format": '
            f'"{_FORMAT}", found another kind of file')
    version = data.get('version')
    by_byte = data.get('tokens') == 'byte'
    if type(version) is not int or version != _VERSION + by_byte:
        raise InputError(
            f'{path}: expected version {_VERSION} of the vocabulary format, '
            f'found {short_repr(version)}; a newer rnnlm may read it')
    if not isinstance(data.get('words'), list):
        raise InputError(f'{path}: expected a list under "words"')
    try:
        return Vocabulary(data['words'], data.get('tokens'))
    except InputError as e:
        raise InputError(f'{path}: {e}') from None


def check_limit(limit: Optional[int]) -> None:
    """Refuses a size of a vocabulary that is not None or an int of at least 2."""
    if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, numpy.integer))
            or limit < 2):
        raise InputError(
            f'expected an integer of at least 2, found {limit!r}', 'vocab_limit')
