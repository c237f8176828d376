"""Text -> tokens -> `Vocabulary` -> int32 ids.

`load` reads the Penn Treebank benchmark, any directory or text file, or the demo
corpus, and answers with a `Corpus`: three id arrays and the vocabulary.
"""
from __future__ import annotations

import dataclasses
import difflib
import os
from typing import Optional, Sequence, Union

import numpy

from rnnlm.data import demo, files
from rnnlm.data.ptb import load_ptb
from rnnlm.data.text import EOS, PARTS, UNK
from rnnlm.data.vocabulary import Vocabulary, check_limit
from rnnlm.errors import InputError, about, require, require_count

# Fewer tokens than this cannot be cut 90/5/5 into three parts that mean anything.
MIN_TOKENS = 20

# In a text of one's own, tokens that occur fewer times stand for unknown ones.
MIN_COUNT = 2

# What `load` is given: a name or path, or several paths.
Spec = Union[str, os.PathLike, Sequence[Union[str, os.PathLike]]]


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three parts, as ids.

    `load_corpus` makes one; make one yourself to train on ids of your own.

    Attributes:
        name: Its name in reports.
        train: int32 (N,), the ids to train on.
        valid: int32 (N,), the ids to choose the best model by.
        test: int32 (N,), the ids to test with.
        vocabulary: The tokens of the ids.
        tokens: 'word' or 'char', what the tokens are.
        perplexity_limit: The lowest perplexity per token that a model can have, where
            it is known: for the whole demo corpus.
        source: The arguments of `load_corpus` that load it again, from any folder.

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

    def summary(self) -> str:
        """One line: name, tokens of the three parts, size of the vocabulary."""
        sizes = ' / '.join(f'{len(getattr(self, part)):,}' for part in PARTS)
        return (f'{self.name}: {sizes} {self.unit}s, vocabulary '
                f'{len(self.vocabulary):,}')

    @property
    def unit(self) -> str:
        """'word' or 'character', a token in reports."""
        return 'word' if self.tokens == 'word' else 'character'

    def unknown_rate(self, part: str) -> float:
        """The share of the tokens of a part that are ``<unk>``, from 0 to 1.

        Args:
            part: 'train', 'valid' or 'test'.
        """
        require('part', part, "'train', 'valid' or 'test'", lambda v: v in PARTS)
        return rate_of(getattr(self, part), self.vocabulary)


def load(spec: Spec, tokens: str = 'word', vocab_limit: Optional[int] = None,
         min_count: Optional[int] = None,
         vocabulary: Union[Vocabulary, str, os.PathLike, None] = None) -> Corpus:
    r"""Loads a corpus and encodes it as ids.

    By word, a text is split at whitespace and each line ends with ``<eos>``; by
    character, every Unicode character is a token, the newline too.  Line ends
    `\r\n` and `\r` count as `\n`.  The vocabulary is that of the training part.
    ``<unk>`` stands for the tokens that the limit or `min_count` drops, and for those
    of the other parts that the training part lacks.

    Args:
        spec: One of

            - 'demo': the built-in demo corpus (see :mod:`rnnlm.data.demo`);
            - 'ptb': Penn Treebank, from Chainer's cache or its download;
            - a directory with ptb.train.txt, ptb.valid.txt, ptb.test.txt, read as
              Chainer reads PTB: the ids are those of
              `chainer.datasets.get_ptb_words`, and an empty line is an ``<eos>``;
            - a directory with train.txt, valid.txt (or val.txt) and test.txt, or
              wiki.train.tokens and so on, in which an empty line is an ``<eos>`` too;
            - a text file in UTF-8, a list of them, or a directory of documents
              (\*.txt, in the order of their paths): the first 90% of the tokens to
              train, 5% to validate, the last 5% to test; empty lines give no
              ``<eos>``.  A text of one line gets one at the end of each part;
            - '-', standard input, as one such file.

            Files may be compressed (.gz).  One that is called demo or ptb is reached
            as ./demo.
        tokens: 'word' or 'char'.
        vocab_limit: If given, the largest size of the vocabulary; see
            :meth:`Vocabulary.from_tokens`.
        min_count: Tokens that occur fewer times in the training part become
            ``<unk>``.  By default 2 for a text of one's own without ``<unk>``, so that
            ``<unk>`` is trained; 1 for 'demo', 'ptb' and ptb.train.txt.
        vocabulary: A vocabulary to take instead of that of the training part, or a
            file: vocabulary.json of a run, or a list of tokens, one a line.  The
            end of a sentence and ``<unk>`` are added at its end if they are needed.

    Returns:
        The ids of the three parts, and their vocabulary.

    Raises:
        rnnlm.InputError: If there is no such corpus, or it cannot be used.

    Example:
        >>> corpus = rnnlm.load_corpus('demo')
        >>> corpus.summary()
        'demo: 100,012 / 6,004 / 6,001 words, vocabulary 161'
        >>> corpus.vocabulary.decode(corpus.train[:4])
        ['if', 'the', 'witch', 'eats']
    """
    check_limit(vocab_limit)
    if min_count is not None:
        require_count('min_count', min_count)
    given = None
    if vocabulary is not None:
        if vocab_limit is not None or min_count is not None:
            raise InputError(
                'vocabulary: expected no limit and no min_count beside it, found one')
        with about('vocabulary'):
            given = read_vocabulary(vocabulary, tokens)
    text = read(spec, tokens)
    if min_count is None:
        min_count = MIN_COUNT if text.own and UNK not in text.parts[0] else 1
    if given is None:
        fitted = Vocabulary.from_tokens(
            text.parts[0], vocab_limit, min_count=min_count, kind=tokens)
        if _needs_unknown(fitted, text.parts[1:]):
            fitted = Vocabulary.from_tokens(
                text.parts[0], vocab_limit, True, min_count, tokens)
    else:
        end = EOS if tokens == 'word' else '\n'
        more = [end] if end not in given and any(
            end in part for part in text.parts) else []
        if UNK not in given and _needs_unknown(
                Vocabulary([*given.words, *more], tokens), text.parts):
            more.append(UNK)
        fitted = Vocabulary([*given.words, *more], tokens)
    source = {'corpus': text.paths, 'tokens': tokens, 'vocab_limit': vocab_limit,
              'min_count': min_count, 'vocabulary': None}
    if isinstance(vocabulary, (str, os.PathLike)):
        source['vocabulary'] = os.path.abspath(os.fsdecode(vocabulary))
    limit = None if UNK in fitted else text.limit  # that of the words themselves
    train, valid, test = (fitted.encode(part) for part in text.parts)
    return Corpus(text.name, train, valid, test, fitted, tokens, limit, source)


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """A text as tokens, in three parts.

    Attributes:
        name: Its name in reports.
        parts: The tokens of the three parts.
        limit: As `Corpus.perplexity_limit`.
        own: Whether it is a text of the user's, not read as Chainer reads PTB.
        paths: What it was read from, from any folder.
    """
    name: str
    parts: Sequence[Sequence[str]]
    limit: Optional[float]
    own: bool
    paths: Union[str, list[str]]


def read(spec: Spec, tokens: str = 'word') -> Text:
    """The tokens of a corpus; arguments and errors as of `load`."""
    if tokens not in ('word', 'char'):
        raise InputError(f"tokens: expected 'word' or 'char', found {tokens!r}")
    paths = _paths(spec)
    limit, own = None, True
    parts: Sequence[Sequence[str]]
    path = paths[0]
    name = os.path.basename(os.path.abspath(path)) or path
    if len(paths) > 1:
        name = f'{len(paths)} files'
        for path in paths:
            _require_there(path)
        parts = _split(files.tokenise(paths, tokens, blank_lines=False), name)
    elif path == 'demo':
        parts, limit, own = _demo(tokens), demo.demo().perplexity(tokens), False
    elif path == 'ptb':
        parts, own = load_ptb(tokens), False
    elif path == files.STDIN:
        name = 'standard input'
        parts = _split(files.tokenise(path, tokens, blank_lines=False), name)
    else:
        _require_there(path)
        of_parts = files.part_files(path) if os.path.isdir(path) else None
        if of_parts:
            parts = [files.tokenise(one, tokens) for one in of_parts]
            own = not files.is_ptb(path)
        else:
            found = files.documents(path) if os.path.isdir(path) else path
            parts = _split(files.tokenise(found, tokens, blank_lines=False), path)
    for part, text in zip(PARTS, parts):
        if len(text) < 2:
            raise InputError(
                f'{path}: expected at least 2 tokens, one to read and one to predict, '
                f'in the {part} part, found {len(text)}')
    known = [one if one in ('demo', 'ptb', files.STDIN) else os.path.abspath(one)
             for one in paths]
    return Text(name, parts, limit, own, known if len(known) > 1 else known[0])


def is_chainers(spec: Spec) -> bool:
    """Whether a corpus is read as Chainer's example reads it: the Penn Treebank."""
    paths = _paths(spec)
    return len(paths) == 1 and (paths[0] == 'ptb' or files.is_ptb(paths[0]))


def read_vocabulary(vocabulary: Union[Vocabulary, str, os.PathLike],
                    tokens: str) -> Vocabulary:
    """A vocabulary: as it is, of a vocabulary.json, or of a list, one token a line."""
    if isinstance(vocabulary, Vocabulary):
        return vocabulary
    path = os.fsdecode(vocabulary)
    text = files.read_any(path)
    if text.lstrip().startswith('{'):
        return Vocabulary.load(path)
    words = [line.rstrip('\r') for line in text.split('\n')]
    if tokens == 'word':
        words = [word.strip() for word in words]
        for number, word in enumerate(words, 1):
            if len(word.split()) > 1:
                raise InputError(
                    f'{path}:{number}: expected one word a line, found {word!r}')
    try:
        return Vocabulary([word for word in words if word], tokens)
    except InputError as e:
        raise InputError(f'{path}: {e}') from None


def rate_of(ids: numpy.ndarray, vocabulary: Vocabulary) -> float:
    """The share of ids (N,) that are that of ``<unk>``, from 0 to 1."""
    if vocabulary.unknown is None or not len(ids):
        return 0.0
    return float(numpy.mean(numpy.asarray(ids) == vocabulary.unknown))


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """A text as ids of a vocabulary that was not made for it.

    Attributes:
        ids: int32 (N,).
        n_tokens: Tokens of the text.
        n_unknown: How many are unknown: they have the id of ``<unk>``; or, if there is
            none, they are left out of `ids`.
    """
    ids: numpy.ndarray
    n_tokens: int
    n_unknown: int

    @property
    def rate(self) -> float:
        """The share of the tokens that are unknown, from 0 to 1."""
        return self.n_unknown / max(1, self.n_tokens)


def encode(vocabulary: Vocabulary, tokens: Sequence[str]) -> Encoded:
    """Encodes tokens by a vocabulary that may lack some, and even ``<unk>``."""
    if vocabulary.unknown is not None:
        ids = vocabulary.encode(tokens)
        return Encoded(ids, len(tokens), int((ids == vocabulary.unknown).sum()))
    ids = vocabulary.encode([token for token in tokens if token in vocabulary])
    return Encoded(ids, len(tokens), len(tokens) - len(ids))


def _paths(spec: Spec) -> list[str]:
    given = [spec] if isinstance(spec, (str, bytes, os.PathLike)) else spec
    try:
        paths = [os.fsdecode(one) for one in given]
    except TypeError:
        paths = []
    if not paths:
        raise InputError(f'corpus: expected a name or a path, found {spec!r}')
    return paths


def _require_there(path: str) -> None:
    if not os.path.exists(path):
        hint = difflib.get_close_matches(path.lower(), ['demo', 'ptb'], 1)
        raise InputError(
            f"{path!r}: expected 'demo', 'ptb', a directory with ptb.train.txt, "
            'ptb.valid.txt and ptb.test.txt, or a text file, but '
            f'{os.path.abspath(path)} does not exist'
            + (f'; did you mean {hint[0]!r}?' if hint else ''), 'corpus')


def _demo(tokens: str) -> Sequence[Sequence[str]]:
    parts = demo.corpus()
    if tokens == 'word':
        return parts
    return [' '.join(part).replace(f' {EOS} ', '\n').replace(f' {EOS}', '\n')
            for part in parts]


def _needs_unknown(vocabulary: Vocabulary, parts: Sequence[Sequence[str]]) -> bool:
    known = set(vocabulary.words)
    return UNK not in known and any(not known.issuperset(part) for part in parts)


def _split(tokens: Sequence[str], path: str) -> Sequence[Sequence[str]]:
    """Contiguous parts 90/5/5."""
    n = len(tokens)
    if n < MIN_TOKENS:
        raise InputError(
            f'{path}: expected at least {MIN_TOKENS} tokens, to be cut 90/5/5 into '
            f'training, validation and test text, found {n}; give a longer text')
    held_out = max(2, n // 20)
    parts = [tokens[:n - 2 * held_out], tokens[n - 2 * held_out:n - held_out],
             tokens[n - held_out:]]
    # A text of one line, else the model would not know where one ends.
    end = '\n' if isinstance(tokens, str) else EOS
    if end not in parts[0]:
        parts = [part if part[-1] == end else _and(part, end) for part in parts]
    return parts


def _and(tokens: Sequence[str], end: str) -> Sequence[str]:
    return tokens + end if isinstance(tokens, str) else [*tokens, end]


def read_whole(spec: Spec, tokens: str) -> Sequence[str]:
    """The tokens of a file, several, a folder of documents or standard input.

    Args:
        spec: Paths.
        tokens: 'word' or 'char'.

    Raises:
        rnnlm.InputError: If there is no text.
    """
    paths: list[str] = []
    for path in _paths(spec):
        if path != files.STDIN and not os.path.exists(path):
            raise InputError(
                f'{path}: expected a file, or a folder of documents, found nothing '
                'there')
        found = files.documents(path) if os.path.isdir(path) else [path]
        if not found:
            raise InputError(
                f'{path}: expected a file, or a folder of documents that end in .txt '
                'or .txt.gz, found a folder without')
        paths += found
    return files.tokenise(paths, tokens, blank_lines=False)
