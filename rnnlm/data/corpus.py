"""Corpora: text -> tokens -> `Vocabulary` -> int32 ids.

`load` reads the Penn Treebank benchmark, any folder or text file, or the demo
corpus, and returns a `Corpus`: three arrays of ids and the vocabulary.
"""
from __future__ import annotations

import dataclasses
import os
from typing import Any, ClassVar, Optional, Sequence, Union

import numpy

from rnnlm.data import encoding, files, flat, rules, sources
from rnnlm.data.text import PARTS, UNITS, UNK
from rnnlm.data.vocabulary import Vocabulary, check_limit, parse
from rnnlm.errors import InputError, about, require, require_count, short_repr


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Text in three parts, as ids.

    `load_corpus` returns one.  Create one directly to train on your own ids.

    Attributes:
        name: Its name in reports.
        train: Training ids, int32 (N,).
        valid: Validation ids, int32 (N,), used to choose the best model.
        test: Test ids, int32 (N,).
        vocabulary: The vocabulary of the ids.
        tokens: 'word' or 'char', the kind of the tokens.
        perplexity_limit: The lowest possible perplexity per token, if known, as for
            the complete demo corpus.
        source: Arguments of `load_corpus` that load it again, from any working
            directory.

    Example:
        >>> vocabulary = rnnlm.Vocabulary('ab')
        >>> ids = vocabulary.encode('abba' * 25)
        >>> corpus = rnnlm.Corpus(
        ...     'mine', ids[:80], ids[80:90], ids[90:], vocabulary, tokens='char')
        >>> corpus.summary()
        'mine: 80 / 10 / 10 characters, vocabulary 2'
    """

    name: str
    train: numpy.ndarray
    valid: numpy.ndarray
    test: numpy.ndarray
    vocabulary: Vocabulary
    tokens: str = 'word'
    perplexity_limit: Optional[float] = None
    source: Optional[dict] = None

    # Known properties of ids that are mapped from the cache and cannot change.
    _kept: ClassVar[Optional[encoding.Kept]] = None

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self), _kept=None)  # arrays of a copy may be writable

    def with_source(self, source: Optional[dict]) -> Corpus:
        """Returns the same corpus with another `source`."""
        found = dataclasses.replace(self, source=source)
        object.__setattr__(found, '_kept', self._kept)
        return found

    def summary(self) -> str:
        """Returns name, numbers of tokens and vocabulary size in one line."""
        sizes = ' / '.join(f'{len(getattr(self, part)):,}' for part in PARTS)
        return (f'{self.name}: {sizes} {self.unit}s, vocabulary '
                f'{len(self.vocabulary):,}')

    @property
    def unit(self) -> str:
        """'word', 'character' or 'byte', the name of a token in reports."""
        return UNITS[self.tokens]

    def unknown_rate(self, part: str) -> float:
        """Returns the fraction of ``<unk>`` among the tokens of a part, from 0 to 1.

        Args:
            part: 'train', 'valid' or 'test'.
        """
        require('part', part, "'train', 'valid' or 'test'", lambda v: v in PARTS)
        ids, unknown = getattr(self, part), self.vocabulary.unknown
        if unknown is None or not len(ids):
            return 0.0
        n_unknown = (flat.count_of(ids, unknown) if self._kept is None
                     else self._kept.facts.n_unknown[PARTS.index(part)])
        return n_unknown / len(ids)

    def digest(self) -> str:
        """Computes the SHA-256 of the ids of the three parts, in hexadecimal."""
        if self._kept is not None and self._kept.digest is not None:
            return self._kept.digest
        return flat.digest_of([self.train, self.valid, self.test])


def load(spec: sources.Spec, tokens: str = 'word', vocab_limit: Optional[int] = None,
         min_count: Optional[int] = None,
         vocabulary: Union[Vocabulary, str, os.PathLike, None] = None, *,
         extend: bool = True, cache: bool = True,
         progress: Optional[encoding.Progress] = None) -> Corpus:
    r"""Loads a corpus and encodes it as ids.

    Words are split at whitespace, and each line ends with ``<eos>``.  With characters,
    every Unicode character is a token, including the newline.  Line ends `\r\n` and
    `\r` are read as `\n`.  The vocabulary is that of the training part.  ``<unk>``
    replaces tokens excluded by the limit or `min_count`, and tokens of the other parts
    that do not occur in the training part.

    Args:
        spec: One of

            - 'demo': the built-in demo corpus (see :mod:`rnnlm.data.demo`);
            - 'ptb': Penn Treebank, from Chainer's cache or downloaded by Chainer;
            - a folder with ptb.train.txt, ptb.valid.txt, ptb.test.txt, read as
              Chainer reads PTB: the ids are those of
              `chainer.datasets.get_ptb_words`, and an empty line is an ``<eos>``;
            - a folder with train.txt, valid.txt (or val.txt) and test.txt, or
              wiki.train.tokens and so on, in which an empty line is an ``<eos>`` too;
            - a text file in UTF-8, a list of files, or a folder of documents
              (\*.txt, sorted by path): the first 90% of the tokens are the training
              part, 5% the validation part, and the last 5% the test part.  Empty lines
              give no ``<eos>``.  If the text is a single line, each part ends with one;
            - '-', standard input, read like a single file.

            Files may be compressed (.gz).  Write ./demo for a file named demo.
        tokens: 'word' or 'char'.
        vocab_limit: If given, the maximum size of the vocabulary; see
            :meth:`Vocabulary.from_tokens`.
        min_count: Tokens that occur fewer times in the training part become
            ``<unk>``.  The default is 2 for a user's text without ``<unk>``, so that
            ``<unk>`` is trained, and 1 for 'demo', 'ptb' and ptb.train.txt.
        vocabulary: A vocabulary to use instead of that of the training part, or a
            file: vocabulary.json of a run, or a list of tokens, one per line.
        extend: Whether to add the end of a sentence and ``<unk>`` to `vocabulary` if
            they are needed; otherwise unknown tokens get the id of its ``<unk>``, or
            are skipped if it has none.
        cache: Whether to store the ids of a text of more than 16 MiB in the user's
            cache folder, ``~/.cache/rnnlm``, and map them into memory from there; the
            arrays are then read-only.
        progress: If given, a function that is called with the size of such a text in
            bytes and returns a context manager, :class:`tqdm.tqdm` for example, whose
            ``update`` is called with the number of bytes read since the last call.

    Returns:
        The ids of the three parts, and their vocabulary.

    Raises:
        rnnlm.InputError: If there is no such corpus, or it cannot be read.

    Example:
        >>> corpus = rnnlm.load_corpus('demo')
        >>> corpus.summary()
        'demo: 100,012 / 6,004 / 6,001 words, vocabulary 161'
        >>> corpus.vocabulary.decode(corpus.train[:4])
        ['if', 'the', 'witch', 'eats']
    """
    check_limit(vocab_limit)
    if tokens not in ('word', 'char'):
        raise InputError(f"tokens: expected 'word' or 'char', found {tokens!r}")
    if min_count is not None:
        require_count('min_count', min_count)
    given = None
    if vocabulary is not None:
        if vocab_limit is not None or min_count is not None:
            raise InputError(
                'vocabulary: cannot be combined with vocab_limit or min_count')
        with about('vocabulary'):
            given = read_vocabulary(vocabulary, tokens)
    text = sources.find(spec, tokens)
    rule: Union[rules.Fitted, rules.Given] = rules.Fitted(
        tokens, vocab_limit, min_count, text.own)
    if given is not None:
        rule = rules.Given(given, tokens, extend)
    kept = encoding.encode(text, rule, cache, progress)
    for part, ids in zip(PARTS, kept.parts):
        if len(ids) < 2:
            raise InputError(
                f'{text.path}: expected at least 2 tokens, one to read and one to '
                f'predict, in the {part} part, found {len(ids)}')
    source = {'corpus': text.paths, 'tokens': tokens, 'vocab_limit': vocab_limit,
              'min_count': kept.facts.min_count, 'vocabulary': None}
    if isinstance(vocabulary, (str, os.PathLike)):
        source['vocabulary'] = files.absolute(os.fsdecode(vocabulary))
    # The limit is that of the text without unknown words.
    limit = None if UNK in kept.vocabulary else text.limit
    train, valid, test = kept.parts
    corpus = Corpus(
        text.name, train, valid, test, kept.vocabulary, tokens, limit, source)
    if kept.digest is not None:
        object.__setattr__(corpus, '_kept', kept)
    return corpus


def read_vocabulary(vocabulary: Union[Vocabulary, str, os.PathLike],
                    tokens: str) -> Vocabulary:
    """Reads a vocabulary from a vocabulary.json or a list of tokens, one per line."""
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    name = files.name_of(os.fsdecode(vocabulary))
    text = files.read_any(vocabulary)
    if text.lstrip().startswith('{'):
        found = parse(text, name)
        ascii_only = found.by_byte and all(word.isascii() for word in found.words)
        if ascii_only:
            found = Vocabulary(found.words, 'char')
        if found.tokens != tokens:
            raise InputError(
                f'{name}: expected a vocabulary of {UNITS[tokens]}s, found one of '
                f'{UNITS[found.tokens]}s')
        return found
    words = [line.rstrip('\r') for line in text.split('\n')]
    if tokens == 'word':
        words = [word.strip() for word in words]
    for number, word in enumerate(words, 1):
        # Such as <unk>: a special token, which no text has.
        special = word.startswith('<') and word.endswith('>')
        if tokens == 'word' and len(word.split()) > 1:
            raise InputError(
                f'{name}:{number}: expected one word per line, found {word!r}')
        if tokens == 'char' and len(word) > 1 and not special:
            raise InputError(
                f'{name}:{number}: expected one character per line, found '
                f'{short_repr(word)}')
    try:
        return Vocabulary([word for word in words if word], tokens)
    except InputError as e:
        raise InputError(f'{name}: {e}') from None


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """Text encoded with a vocabulary that was not built from it.

    Attributes:
        ids: The ids, int32 (N,).
        n_tokens: Number of tokens of the text.
        n_unknown: Number of unknown tokens.  They have the id of ``<unk>``, or are not
            in `ids` if the vocabulary has no ``<unk>``.
    """
    ids: numpy.ndarray
    n_tokens: int
    n_unknown: int

    @property
    def rate(self) -> float:
        """Fraction of unknown tokens, from 0 to 1."""
        return self.n_unknown / max(1, self.n_tokens)


def encode(vocabulary: Vocabulary, tokens: Sequence[str]) -> Encoded:
    """Encodes tokens by a vocabulary that may lack some of them, and ``<unk>``."""
    if vocabulary.unknown is not None:
        ids = vocabulary.encode(tokens)
        return Encoded(ids, len(tokens), int((ids == vocabulary.unknown).sum()))
    ids = vocabulary.encode([token for token in tokens if token in vocabulary])
    return Encoded(ids, len(tokens), len(tokens) - len(ids))


def encode_source(source: sources.Source, vocabulary: Vocabulary, cache: bool = True,
                  progress: Optional[encoding.Progress] = None) -> list[Encoded]:
    """Encodes the parts of a text by a vocabulary that may lack some of its tokens.

    Args:
        source: The text.
        vocabulary: The vocabulary.
        cache, progress: As for `load`.

    Raises:
        rnnlm.InputError: If the text cannot be used.
    """
    kept = encoding.encode(
        source, rules.Given(vocabulary, vocabulary.tokens, False), cache, progress)
    return [Encoded(*one) for one in zip(
        kept.parts, kept.facts.n_tokens, kept.facts.n_unknown)]
