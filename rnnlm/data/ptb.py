"""The Penn Treebank, from Chainer's cache or downloaded."""
from __future__ import annotations

import hashlib
import os
import socket
from typing import Any, Sequence

import numpy

from rnnlm.data.files import read_any, tokenise
from rnnlm.data.text import PARTS
from rnnlm.data.tokens import Tokens, words_of
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError

# Sizes from Chainer's PTB loader: tokens with <eos> in each part, and the vocabulary.
PTB_WORDS = (929589, 73760, 82430)

PTB_VOCABULARY = 10000

# Seconds without an answer after which a download is aborted.
DOWNLOAD_TIMEOUT = 15.


def load_ptb(tokens: str) -> Sequence[Tokens]:
    """Loads the Penn Treebank: three lists of words, or three str of characters.

    Args:
        tokens: 'word'; or 'char' or 'byte', both as characters.
    """
    # Imported here because the rest of this file works without Chainer.
    from chainer.dataset import download
    from chainer.datasets import ptb
    root = download.get_dataset_root()
    urls = [getattr(ptb, f'_{part}_url') for part in PARTS]
    # Chainer stores downloaded texts under the MD5 of their URL (used as a name, not
    # for protection), and the ids made from them as npz files elsewhere.
    paths = [os.path.join(root, '_dl_cache', hashlib.md5(url.encode()).hexdigest())
             for url in urls]
    made = [os.path.join(root, 'pfnet', 'chainer', 'ptb', name)
            for name in ('train.npz', 'valid.npz', 'test.npz', 'vocab.txt')]
    ways = (
        "'demo' is a corpus that needs no download; to get Penn Treebank, put "
        'ptb.train.txt, ptb.valid.txt and ptb.test.txt in a folder and give that '
        "folder instead of 'ptb', or place the texts where Chainer looks for "
        'them: ' + ', '.join(f'ptb.{part}.txt as {path}'
                             for part, path in zip(PARTS, paths))
        + '; they are at ' + ', '.join(urls))
    if not all(map(os.path.exists, paths)):
        if tokens == 'word' and all(map(os.path.exists, made)):
            return _ptb_from_npz(made, ways)
        _download(download, paths, urls, ways)
    try:
        texts: list[Tokens] = [_words_of(path) for path in paths]
        _check_ptb(texts, paths)
        if tokens != 'word':
            texts = [''.join(map(''.join, tokenise(path, tokens))) for path in paths]
    except InputError as e:
        raise InputError(
            f"corpus 'ptb': Chainer's cache in {os.path.dirname(paths[0])} is not "
            f'usable: {e}; delete the bad file, or: {ways}') from None
    return texts


def _words_of(path: str) -> list[str]:
    return words_of(''.join(map(''.join, tokenise(path, 'word'))))


def _check_ptb(parts: Sequence[Sequence[str]], paths: Sequence[str]) -> None:
    """Refuses a truncated file, or a web page that was downloaded instead."""
    for path, part, n in zip(paths, parts, PTB_WORDS):
        if len(part) != n:
            raise InputError(f'{path}: expected {n:,} words, found {len(part):,}')
    words = len(set(parts[0]))
    if words != PTB_VOCABULARY:
        raise InputError(
            f'{paths[0]}: expected {PTB_VOCABULARY:,} different words, found {words:,}')


def _ptb_from_npz(made: Sequence[str], ways: str) -> Sequence[Sequence[str]]:
    """Decodes the ids in Chainer's cache, if it does not have the texts."""
    parts = []
    try:
        words = Vocabulary(read_any(made[-1]).split())
        for path in made[:-1]:
            # Chainer's own loader would leave the file open.
            with open(path, 'rb') as f, numpy.load(f, allow_pickle=False) as arrays:
                parts.append(words.decode(arrays['x']))
        _check_ptb(parts, made)
    except Exception as e:  # zipfile and zlib can raise anything
        raise InputError(
            f"corpus 'ptb': Chainer's cache in {os.path.dirname(made[0])} is not "
            'usable: '
            f'{type(e).__name__}: {e}; delete that folder, or: {ways}') from e
    return parts


def _download(download: Any, paths: Sequence[str], urls: Sequence[str],
              ways: str) -> None:
    """Downloads the texts that Chainer's cache lacks, with Chainer."""
    # urlretrieve has no timeout argument, and would wait forever on a network that
    # drops packets.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        for path, url in zip(paths, urls):
            if not os.path.exists(path):
                download.cached_download(url)
    except Exception as e:  # errors of urllib, http, ssl, filelock and the OS
        raise InputError(
            "corpus 'ptb': it is not in Chainer's cache and cannot be downloaded: "
            f'{type(e).__name__}: {e}; {ways}') from e
    finally:
        socket.setdefaulttimeout(before)
