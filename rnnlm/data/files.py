"""The files that a text is read from: one, several, a folder, gzip, standard input."""
from __future__ import annotations

import gzip
import os
import sys
import zlib
from typing import Optional, Sequence, Union

from rnnlm.data.text import MOST_STREAMED, PARTS, read_text, split_text
from rnnlm.errors import InputError
from rnnlm.serializers import reading

# Standard input.
STDIN = '-'

# Beginnings and ends of the names of three files that belong together: of the Penn
# Treebank, of other texts, of WikiText.  The first are read as Chainer reads them.
PTB_NAMES = 'ptb.', '.txt'
NAMES = (PTB_NAMES, ('', '.txt'), ('wiki.', '.tokens'), ('wiki.', '.raw'))

# What a folder of documents is searched for.
DOCUMENTS = '.txt', '.txt.gz'

# Of folders in folders.
DEEPEST = 100


def read_any(path: Union[str, os.PathLike]) -> str:
    """The text of a file in UTF-8, which may be compressed (``.gz``); or of `STDIN`.

    Args:
        path: The file, or ``-``.

    Raises:
        rnnlm.errors.InputError: If it cannot be read, or is no text.
    """
    name = os.fsdecode(path)
    if name == STDIN:
        return reading.decode(_standard_input(), 'standard input')
    if not name.endswith('.gz'):
        return read_text(path)
    try:
        with reading.open_regular(name, 'a file compressed by gzip') as compressed, (
                gzip.open(compressed)) as f:
            data = f.read(MOST_STREAMED + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise InputError(
            f'{name}: expected a file compressed by gzip: '
            f'{getattr(e, "strerror", None) or e}') from None
    if len(data) > MOST_STREAMED:
        raise InputError(
            f'{name}: expected at most {MOST_STREAMED:,} bytes of text, found more')
    return reading.decode(data, name)


def _standard_input() -> bytes:
    stream = getattr(sys.stdin, 'buffer', None)
    if stream is None:  # what replaced it, in a notebook say, has text alone
        return sys.stdin.read().encode('utf-8', 'surrogatepass')
    data = stream.read(MOST_STREAMED + 1)
    if len(data) > MOST_STREAMED:
        raise InputError(
            f'standard input: expected at most {MOST_STREAMED:,} bytes, found more')
    return data


def tokenise(paths: Union[str, Sequence[str]], tokens: str,
             blank_lines: bool = True) -> Union[str, list[str]]:
    """Tokens of one file, or of several in a row: as of `split_text`.

    Raises:
        rnnlm.errors.InputError: If there is no text in one.
    """
    if isinstance(paths, str):
        paths = [paths]
    found: list[str] = []
    pieces = []  # by character
    for path in paths:
        text = read_any(path)
        name = 'standard input' if path == STDIN else path
        if not text:
            raise InputError(f'{name}: expected a text, but the file is empty')
        if text.isspace():
            raise InputError(f'{name}: expected a text, but it is whitespace only')
        if len(paths) > 1 and not text.endswith('\n'):
            text += '\n'
        some = split_text(text, tokens, blank_lines)
        if isinstance(some, str):
            pieces.append(some)
        else:
            found += some
    return ''.join(pieces) if tokens == 'char' else found


def part_files(directory: str) -> Optional[list[str]]:
    """Paths of the three files of the parts in a folder; None if it has documents.

    Raises:
        rnnlm.errors.InputError: If one or two of three are there, or no text at all.
    """
    complaints = []
    for prefix, suffix in NAMES:
        found = [_part_file(directory, prefix, part, suffix) for part in PARTS]
        missing = [f'{prefix}{part}{suffix}'
                   for part, path in zip(PARTS, found) if path is None]
        if not missing:
            return [path for path in found if path is not None]
        complaints.append((len(missing), prefix, suffix, missing))
    # The set of names that is nearer to complete is the one that was meant.
    n_missing, prefix, suffix, missing = min(complaints, key=lambda c: c[0])
    if n_missing == len(PARTS) and documents(directory):
        return None
    names = ', '.join(f'{prefix}{part}{suffix}' for part in PARTS)
    raise InputError(
        f'{directory}: expected a directory with {names}, or with documents that end '
        f'in .txt or .txt.gz; missing: {", ".join(missing)}')


def _part_file(directory: str, prefix: str, part: str, suffix: str) -> Optional[str]:
    for name in (part, 'val') if part == 'valid' else (part,):
        for end in '', '.gz':
            path = os.path.join(directory, f'{prefix}{name}{suffix}{end}')
            if os.path.exists(path):
                return path
    return None


def documents(directory: str) -> list[str]:
    """The documents in a folder and the folders in it, in the order of their paths.

    Those are all files that end in `DOCUMENTS`, hidden ones left out.

    Raises:
        rnnlm.errors.InputError: if folders are in each other more than `DEEPEST` times.
    """
    found = []
    for folder, inner, files in os.walk(directory):
        # From 1,000 on Python's own walk ends, before 3.12.
        if folder.count(os.sep) - directory.count(os.sep) > DEEPEST:
            raise InputError(
                f'{directory}: expected folders in each other at most {DEEPEST} times, '
                'found more; give a list of files, or put them into one folder')
        inner[:] = [name for name in inner if not name.startswith('.')]
        found += [os.path.join(folder, name) for name in files
                  if name.endswith(DOCUMENTS) and not name.startswith('.')]
    return sorted(found)


def is_ptb(path: str) -> bool:
    """Whether a path is that of a folder with the names of the Penn Treebank."""
    return all(_part_file(path, PTB_NAMES[0], part, PTB_NAMES[1]) for part in PARTS)
