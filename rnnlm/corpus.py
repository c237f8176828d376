"""Text -> tokens -> `Vocabulary` -> int32 ids.

`load` reads the Penn Treebank benchmark, any directory or text file, or the demo
corpus, and answers with a `Corpus`: three id arrays and the vocabulary.
"""
import dataclasses
import difflib
import hashlib
import os
import socket
from typing import Optional

import numpy as np

from rnnlm import grammar
from rnnlm.errors import InputError
from rnnlm.files import read_text
from rnnlm.vocabulary import EOS, UNK, Vocabulary, check_limit

# Fewer tokens than this cannot be cut 90/5/5 into three parts that mean anything.
MIN_TOKENS = 20

PARTS = ('train', 'valid', 'test')

# What Chainer's PTB loader gives: tokens with <eos> in each part, and the vocabulary.
PTB_WORDS = (929589, 73760, 82430)
PTB_VOCABULARY = 10000

# Seconds without an answer after which a download is given up.
DOWNLOAD_TIMEOUT = 15.


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """A text in three parts, as ids.

    Attributes:
        name (str): what it is called in reports.
        train (numpy.ndarray): (N,) int32 ids.
        valid (numpy.ndarray): (N,) int32 ids.
        test (numpy.ndarray): (N,) int32 ids.
        vocabulary (Vocabulary): their tokens.
        tokens (str): 'word' or 'char'.
        perplexity_limit (float or None): lowest expected perplexity per token any
            model can reach, where it is known: on the whole demo corpus.
        source (dict or None): the arguments of `load` that give it again, from any
            folder.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: Vocabulary
    tokens: str = 'word'
    perplexity_limit: Optional[float] = None
    source: Optional[dict] = None

    def summary(self):
        """One line: name, tokens of the three parts, size of the vocabulary."""
        sizes = ' / '.join(f'{len(getattr(self, part)):,}' for part in PARTS)
        unit = 'words' if self.tokens == 'word' else 'characters'
        return f'{self.name}: {sizes} {unit}, vocabulary {len(self.vocabulary):,}'


def load(spec, tokens='word', vocab_limit=None):
    r"""Load a corpus.

    By word, a text is split at whitespace and each line ends with `<eos>`; by
    character, every Unicode character is a token, the newline too.  Line ends
    `\r\n` and `\r` count as `\n`.  The vocabulary is that of the training part.
    `<unk>` is added only when the limit drops tokens or when the other parts hold
    tokens that the training part lacks.

    Args:
        spec (str or os.PathLike): one of

            - 'demo': the built-in demo corpus (see :mod:`rnnlm.grammar`);
            - 'ptb': Penn Treebank, from Chainer's cache or its download;
            - a directory with ptb.train.txt, ptb.valid.txt, ptb.test.txt (or
              train.txt, valid.txt, test.txt), read as Chainer reads PTB: the ids
              are those of `chainer.datasets.get_ptb_words`, and an empty line is an
              `<eos>`;
            - a text file in UTF-8: the first 90% of its tokens to train, 5% to
              validate, the last 5% to test; empty lines give no `<eos>`.

            A file that is called demo or ptb is reached as ./demo.
        tokens (str): 'word' or 'char'.
        vocab_limit (int or None): see :meth:`Vocabulary.from_tokens`.

    Returns:
        Corpus

    Raises:
        InputError: if there is no such corpus, or it cannot be used.
    """
    if tokens not in ('word', 'char'):
        raise InputError(f"tokens: expected 'word' or 'char', got {tokens!r}")
    check_limit(vocab_limit)
    try:
        spec = os.fsdecode(spec)
    except TypeError:
        raise InputError(
            f'corpus: expected a name or a path, got {spec!r}') from None
    limit = None
    if spec == 'demo':
        name = spec
        parts = grammar.corpus()
        if tokens == 'char':
            parts = [' '.join(part).replace(f' {EOS} ', '\n').replace(f' {EOS}', '\n')
                     for part in parts]
        limit = grammar.demo().perplexity(tokens)
    elif spec == 'ptb':
        name = spec
        parts = _ptb(tokens)
    elif os.path.exists(spec):
        name = os.path.basename(os.path.abspath(spec)) or spec
        if os.path.isdir(spec):
            parts = [_tokenise(path, tokens) for path in _part_files(spec)]
        else:
            parts = _split(_tokenise(spec, tokens, blank_lines=False), spec)
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
    vocabulary, arrays = _encode(parts, vocab_limit)
    if UNK in vocabulary:
        limit = None  # It holds for the words themselves only.
    source = {'corpus': spec if spec in ('demo', 'ptb') else os.path.abspath(spec),
              'tokens': tokens, 'vocab_limit': vocab_limit}
    return Corpus(name, *arrays, vocabulary, tokens, limit, source)


def _encode(parts, limit):
    """(Vocabulary of the first part, [(N,) int32 ids of each part])."""
    vocabulary = Vocabulary.from_tokens(parts[0], limit)
    if UNK not in vocabulary:
        known = set(vocabulary.words)
        if any(not known.issuperset(part) for part in parts[1:]):
            vocabulary = Vocabulary.from_tokens(parts[0], limit, unknown=True)
    return vocabulary, [vocabulary.encode(part) for part in parts]


def _tokenise(path, tokens, blank_lines=True):
    """Tokens of a file: list of str by word, a str by character.

    `blank_lines` tells if a line without a word gives an `<eos>`.
    """
    text = read_text(path)
    if not text:
        raise InputError(f'{path}: expected a text, but the file is empty')
    if text.isspace():
        raise InputError(f'{path}: expected a text, but it is whitespace only')
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    if tokens == 'char':
        return text
    if not text.endswith('\n'):
        text += '\n'
    if not blank_lines:
        text = ''.join(f'{line}\n' for line in text.split('\n') if line.strip())
    return text.replace('\n', f' {EOS} ').split()


def _split(tokens, path):
    """Contiguous parts 90/5/5."""
    n = len(tokens)
    if n < MIN_TOKENS:
        raise InputError(
            f'{path}: expected at least {MIN_TOKENS} tokens, to be cut 90/5/5 into '
            f'training, validation and test text, found {n}; give a longer text')
    held_out = max(2, n // 20)
    return (tokens[:n - 2 * held_out], tokens[n - 2 * held_out:n - held_out],
            tokens[n - held_out:])


def _part_files(directory):
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


def _ptb(tokens):
    """Penn Treebank: three lists of words, or three str by character."""
    # Not at the top: the rest of this file works without Chainer.
    from chainer.dataset import download
    from chainer.datasets import ptb
    root = download.get_dataset_root()
    urls = [getattr(ptb, f'_{part}_url') for part in PARTS]
    # Chainer keeps what it downloads, the text itself, under the MD5 of the address
    # (a name, no protection) and the ids made from it as npz files elsewhere.
    paths = [os.path.join(root, '_dl_cache', hashlib.md5(url.encode()).hexdigest())
             for url in urls]
    made = [os.path.join(root, 'pfnet', 'chainer', 'ptb', name)
            for name in ('train.npz', 'valid.npz', 'test.npz', 'vocab.txt')]
    ways = (
        "'demo' is a corpus that needs no download; to get Penn Treebank, put "
        'ptb.train.txt, ptb.valid.txt and ptb.test.txt in a directory and give that '
        "directory instead of 'ptb', or place the texts where Chainer looks for "
        'them: ' + ', '.join(f'ptb.{part}.txt as {path}'
                             for part, path in zip(PARTS, paths))
        + '; they are at ' + ', '.join(urls))
    if not all(map(os.path.exists, paths)):
        if tokens == 'word' and all(map(os.path.exists, made)):
            return _ptb_from_npz(made, ways)
        _download(download, paths, urls, ways)
    try:
        texts = [_tokenise(path, 'word') for path in paths]
        _check_ptb(texts, paths)
        if tokens == 'char':
            texts = [_tokenise(path, 'char') for path in paths]
    except InputError as e:
        raise InputError(
            f"corpus 'ptb': Chainer's cache in {os.path.dirname(paths[0])} is not "
            f'usable: {e}; delete the bad file, or: {ways}') from None
    return texts


def _check_ptb(parts, paths):
    """Refuse a file that was cut short, or a web page in its place."""
    for path, part, n in zip(paths, parts, PTB_WORDS):
        if len(part) != n:
            raise InputError(f'{path}: expected {n:,} words, found {len(part):,}')
    words = len(set(parts[0]))
    if words != PTB_VOCABULARY:
        raise InputError(
            f'{paths[0]}: expected {PTB_VOCABULARY:,} different words, found {words:,}')


def _ptb_from_npz(made, ways):
    """Words from the ids that Chainer has made earlier, without the texts."""
    parts = []
    try:
        words = Vocabulary(read_text(made[-1]).split())
        for path in made[:-1]:
            # Not by Chainer's loader, which leaves the file open.
            with open(path, 'rb') as f, np.load(f, allow_pickle=False) as arrays:
                parts.append(words.decode(arrays['x']))
        _check_ptb(parts, made)
    except Exception as e:  # A damaged npz raises whatever zipfile and zlib do.
        raise InputError(
            f"corpus 'ptb': Chainer's cache in {os.path.dirname(made[0])} is not "
            'usable: '
            f'{type(e).__name__}: {e}; delete that directory, or: {ways}') from e
    return parts


def _download(download, paths, urls, ways):
    """Let Chainer download the texts that its cache lacks."""
    # urlretrieve takes no timeout of its own, and without one waits for ever on a
    # network that swallows packets.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        for path, url in zip(paths, urls):
            if not os.path.exists(path):
                download.cached_download(url)
    except Exception as e:  # urllib, http, ssl, filelock and OS errors alike.
        raise InputError(
            "corpus 'ptb': it is not in Chainer's cache and cannot be downloaded: "
            f'{type(e).__name__}: {e}; {ways}') from e
    finally:
        socket.setdefaulttimeout(before)
