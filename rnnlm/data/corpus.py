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

from rnnlm.data import demo
from rnnlm.data.ptb import load_ptb
from rnnlm.data.text import EOS, PARTS, UNK, tokenise
from rnnlm.data.vocabulary import Vocabulary, check_limit
from rnnlm.errors import InputError

# Fewer tokens than this cannot be cut 90/5/5 into three parts that mean anything.
MIN_TOKENS = 20


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
        unit = 'words' if self.tokens == 'word' else 'characters'
        return f'{self.name}: {sizes} {unit}, vocabulary {len(self.vocabulary):,}'


def load(spec: Union[str, os.PathLike], tokens: str = 'word',
         vocab_limit: Optional[int] = None) -> Corpus:
    r"""Loads a corpus and encodes it as ids.

    By word, a text is split at whitespace and each line ends with ``<eos>``; by
    character, every Unicode character is a token, the newline too.  Line ends
    `\r\n` and `\r` count as `\n`.  The vocabulary is that of the training part.
    ``<unk>`` is added only when the limit drops tokens or when the other parts hold
    tokens that the training part lacks.

    Args:
        spec: One of

            - 'demo': the built-in demo corpus (see :mod:`rnnlm.data.demo`);
            - 'ptb': Penn Treebank, from Chainer's cache or its download;
            - a directory with ptb.train.txt, ptb.valid.txt, ptb.test.txt (or
              train.txt, valid.txt, test.txt), read as Chainer reads PTB: the ids
              are those of `chainer.datasets.get_ptb_words`, and an empty line is an
              ``<eos>``;
            - a text file in UTF-8: the first 90% of its tokens to train, 5% to
              validate, the last 5% to test; empty lines give no ``<eos>``.

            A file that is called demo or ptb is reached as ./demo.
        tokens: 'word' or 'char'.
        vocab_limit: If given, the largest size of the vocabulary; see
            :meth:`Vocabulary.from_tokens`.

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
    if tokens not in ('word', 'char'):
        raise InputError(f"tokens: expected 'word' or 'char', found {tokens!r}")
    check_limit(vocab_limit)
    try:
        name = spec = os.fsdecode(spec)
    except TypeError:
        raise InputError(
            f'corpus: expected a name or a path, found {spec!r}') from None
    limit = None
    parts: Sequence[Sequence[str]]
    if spec == 'demo':
        parts = demo.corpus()
        if tokens == 'char':
            parts = [' '.join(part).replace(f' {EOS} ', '\n').replace(f' {EOS}', '\n')
                     for part in parts]
        limit = demo.demo().perplexity(tokens)
    elif spec == 'ptb':
        parts = load_ptb(tokens)
    elif os.path.exists(spec):
        name = os.path.basename(os.path.abspath(spec)) or spec
        if os.path.isdir(spec):
            parts = [tokenise(path, tokens) for path in _part_files(spec)]
        else:
            parts = _split(tokenise(spec, tokens, blank_lines=False), spec)
    else:
        hint = difflib.get_close_matches(spec.lower(), ['demo', 'ptb'], 1)
        raise InputError(
            f"corpus {spec!r}: expected 'demo', 'ptb', a directory with ptb.train.txt, "
            'ptb.valid.txt and ptb.test.txt, or a text file, but '
            f'{os.path.abspath(spec)} does not exist'
            + (f'; did you mean {hint[0]!r}?' if hint else ''))
    for part, text in zip(PARTS, parts):
        if len(text) < 2:
            raise InputError(
                f'{spec}: expected at least 2 tokens, one to read and one to predict, '
                f'in the {part} part, found {len(text)}')
    vocabulary, (train, valid, test) = _encode(parts, vocab_limit)
    if UNK in vocabulary:
        limit = None  # It holds for the words themselves only.
    source = {'corpus': spec if spec in ('demo', 'ptb') else os.path.abspath(spec),
              'tokens': tokens, 'vocab_limit': vocab_limit}
    return Corpus(name, train, valid, test, vocabulary, tokens, limit, source)


def _encode(parts: Sequence[Sequence[str]],
            limit: Optional[int]) -> tuple[Vocabulary, list[numpy.ndarray]]:
    """(Vocabulary of the first part, [(N,) int32 ids of each part])."""
    vocabulary = Vocabulary.from_tokens(parts[0], limit)
    if UNK not in vocabulary:
        known = set(vocabulary.words)
        if any(not known.issuperset(part) for part in parts[1:]):
            vocabulary = Vocabulary.from_tokens(parts[0], limit, unknown=True)
    return vocabulary, [vocabulary.encode(part) for part in parts]


def _split(tokens: Sequence[str], path: str) -> Sequence[Sequence[str]]:
    """Contiguous parts 90/5/5."""
    n = len(tokens)
    if n < MIN_TOKENS:
        raise InputError(
            f'{path}: expected at least {MIN_TOKENS} tokens, to be cut 90/5/5 into '
            f'training, validation and test text, found {n}; give a longer text')
    held_out = max(2, n // 20)
    return (tokens[:n - 2 * held_out], tokens[n - 2 * held_out:n - held_out],
            tokens[n - held_out:])


def _part_files(directory: str) -> list[str]:
    """Paths of the three files in a directory."""
    complaints = []
    for prefix in 'ptb.', '':
        names = [f'{prefix}{part}.txt' for part in PARTS]
        missing = [name for name in names
                   if not os.path.exists(os.path.join(directory, name))]
        if not missing:
            return [os.path.join(directory, name) for name in names]
        complaints.append((len(missing), names, missing))
    # The set of names that is nearer to complete is the one that was meant.
    _, names, missing = min(complaints, key=lambda complaint: complaint[0])
    raise InputError(
        f'{directory}: expected a directory with {", ".join(names)}; missing: '
        f'{", ".join(missing)}')
