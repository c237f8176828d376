"""`Vocabulary`: which tokens there are, and their ids."""
import collections
import difflib
import json
import os

import numpy as np

from rnnlm.data.text import UNK, read_text
from rnnlm.errors import InputError, short_repr
from rnnlm.serializers.atomic import writing

_FORMAT = 'rnnlm vocabulary'
_VERSION = 1


class Vocabulary:
    """An ordered list of distinct tokens; the id of a token is its position.

    Args:
        words (iterable of str): the tokens, at least one, all different.

    Attributes:
        words (tuple of str): the tokens in the order of their ids.

    Raises:
        InputError: if there is no token, or one is not a str, is empty, cannot be
            written as UTF-8 or occurs twice.
    """

    def __init__(self, words):
        try:
            self.words = tuple(words)
        except TypeError:
            raise InputError(
                f'vocabulary: expected a list of strings, got {short_repr(words)}'
            ) from None
        if not self.words:
            raise InputError('vocabulary: expected at least one token, got none')
        for i, word in enumerate(self.words):
            if not isinstance(word, str) or not word:
                raise InputError(
                    f'vocabulary: expected non-empty strings, got {short_repr(word)} '
                    f'as token {i}')
        try:
            ''.join(self.words).encode('utf-8')
        except UnicodeEncodeError as e:
            raise InputError(
                'vocabulary: expected tokens that UTF-8 can hold, found the lone '
                f'surrogate {e.object[e.start]!r}; decode the text with its true '
                'encoding') from None
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) < len(self.words):
            word, n = collections.Counter(self.words).most_common(1)[0]
            raise InputError(
                f'vocabulary: expected different tokens, got {short_repr(word)} {n} '
                'times')

    @classmethod
    def from_tokens(cls, tokens, limit=None, unknown=False):
        """The vocabulary of a text, in order of first appearance.

        Args:
            tokens (iterable of str): the text.
            limit (int or None): most tokens the vocabulary may have, at least 2.
                If the text has more, the `limit - 1` most frequent stay (of equally
                frequent ones the earlier) and `<unk>` stands for the others; the ids
                are those of the text with `<unk>` written in their place.
            unknown (bool): if True, the vocabulary has `<unk>` in any case; at the
                end, unless the text or the limit gives it another place.

        Returns:
            Vocabulary

        Raises:
            InputError: if `limit` is not an int of at least 2, or the text is empty.
        """
        check_limit(limit)
        if limit is None:
            counts = dict.fromkeys(tokens, 1)
        else:
            counts = collections.Counter(tokens)
        size = len(counts) + (unknown and UNK not in counts)
        if limit is None or size <= limit:
            words = list(counts)
            if unknown and UNK not in counts:
                words.append(UNK)
            return cls(words)
        counts.setdefault(UNK, 0)
        ranked = sorted((w for w in counts if w != UNK), key=counts.get, reverse=True)
        kept = set(ranked[:limit - 1])
        return cls(dict.fromkeys(w if w in kept else UNK for w in counts))

    def __len__(self):
        return len(self.words)

    def __contains__(self, word):
        return word in self._ids

    def __eq__(self, other):
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.words == other.words

    def __hash__(self):
        return hash(self.words)

    def __repr__(self):
        short_repr = ', '.join(map(repr, self.words[:4]))
        more = ', ...' if len(self) > 4 else ''
        return f'<Vocabulary of {len(self)}: {short_repr}{more}>'

    @property
    def by_character(self):
        """bool: whether the tokens are characters (and perhaps `<unk>`)."""
        return all(len(word) == 1 or word == UNK for word in self.words)

    def encode(self, tokens):
        """Ids of tokens.

        Args:
            tokens (iterable of str): N tokens.  A str is taken as N characters.

        Returns:
            numpy.ndarray: (N,) int32.  A token that is not in the vocabulary gets
            the id of `<unk>`, if there is one.

        Raises:
            InputError: if a token is not in the vocabulary and there is no `<unk>`,
                or if it is not a str.
        """
        tokens = tokens if isinstance(tokens, (str, list, tuple)) else list(tokens)
        try:
            return np.fromiter(
                map(self._ids.__getitem__, tokens), np.int32, len(tokens))
        except (KeyError, TypeError):
            pass  # The slow way finds out which token it is.
        unknown = self._ids.get(UNK)
        ids = np.empty(len(tokens), np.int32)
        for i, token in enumerate(tokens):
            if not isinstance(token, str):
                raise InputError(f'token {i}: expected a str, got {token!r}')
            number = self._ids.get(token, unknown)
            if number is None:
                close = difflib.get_close_matches(token, self.words, 3)
                hint = f'; close to it: {", ".join(map(repr, close))}' if close else ''
                raise InputError(
                    f'token {i}: {token!r} is not among the {len(self)} tokens of '
                    f'the vocabulary, which has no {UNK!r} for such{hint}')
            ids[i] = number
        return ids

    def decode(self, ids):
        """Tokens of ids.

        Args:
            ids (array_like of int): (N,) ids from 0 to `len(self) - 1`.

        Returns:
            list of str: N tokens.

        Raises:
            InputError: if `ids` is not one-dimensional, not of an integer type, or
                an id is out of range.
        """
        ids = np.asarray(ids)
        if ids.shape == (0,):
            return []
        if ids.ndim != 1 or ids.dtype.kind not in 'iu':
            raise InputError(
                'ids: expected one dimension of integers, got shape '
                f'{ids.shape} of {ids.dtype}')
        wrong = np.flatnonzero((ids < 0) | (ids >= len(self)))
        if len(wrong):
            raise InputError(
                f'id {ids[wrong[0]]} at position {wrong[0]}: expected 0 to '
                f'{len(self) - 1}, the ids of this vocabulary')
        return [self.words[i] for i in ids.tolist()]

    def save(self, path):
        """Write the vocabulary to a JSON file in UTF-8.

        The file appears whole or not at all; an old one is replaced.

        Args:
            path (str or os.PathLike): the file.

        Raises:
            InputError: if the file cannot be written.
        """
        data = json.dumps(
            {'format': _FORMAT, 'version': _VERSION, 'words': self.words},
            ensure_ascii=False, indent=0).encode('utf-8')
        path = os.fspath(path)
        try:
            with writing(path) as f:
                f.write(data)
        except OSError as e:
            raise InputError(
                f'{path}: the vocabulary cannot be written: {e.strerror}; give a '
                'file in a directory that exists and that you may write') from e

    @classmethod
    def load(cls, path):
        """Read a vocabulary that `save` wrote.

        Args:
            path (str or os.PathLike): the file.

        Returns:
            Vocabulary

        Raises:
            InputError: if the file cannot be read or is not such a file.
        """
        path = os.fspath(path)
        text = read_text(path)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise InputError(
                f'{path}: expected a vocabulary in JSON, but it does not parse: '
                f'{e}') from None
        if not isinstance(data, dict) or data.get('format') != _FORMAT:
            raise InputError(
                f'{path}: expected a vocabulary, a JSON object with "format": '
                f'"{_FORMAT}"; this is another kind of file')
        version = data.get('version')
        if type(version) is not int or version != _VERSION:
            raise InputError(
                f'{path}: expected version {_VERSION} of the vocabulary format, '
                f'found {short_repr(version)}; a newer rnnlm may read it')
        if not isinstance(data.get('words'), list):
            raise InputError(f'{path}: expected a list under "words"')
        try:
            return cls(data['words'])
        except InputError as e:
            raise InputError(f'{path}: {e}') from None


def check_limit(limit):
    if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, (int, np.integer))
            or limit < 2):
        raise InputError(
            f'vocabulary limit: expected None or an int of at least 2, got {limit!r}')
