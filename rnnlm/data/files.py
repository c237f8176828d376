"""Reading the files of a text: one, several, a folder, gzip, standard input."""
from __future__ import annotations

import contextlib
import functools
import gzip
import io
import os
import stat
import sys
import zlib
from typing import (
    IO, Callable, ContextManager, Iterable, Iterator, Optional, Sequence, Union)

from rnnlm.data.text import PARTS
from rnnlm.data.tokens import Tokens, tokens_of
from rnnlm.errors import InputError
from rnnlm.serializers import reading

# Standard input.
STDIN = '-'

# Prefixes and suffixes of the names of the three parts: of the Penn Treebank, of other
# texts, of WikiText.  The first are read as Chainer reads them.
PTB_NAMES = 'ptb.', '.txt'
NAMES = (PTB_NAMES, ('', '.txt'), ('wiki.', '.tokens'), ('wiki.', '.raw'))

# Suffixes of documents in a folder.
DOCUMENTS = '.txt', '.txt.gz'

# Maximum depth of nested folders.
DEEPEST = 100

# Bytes per read; small enough for the words of a block to fit into the processor's
# cache.
BLOCK = 2 ** 16

# Maximum bytes of a stream, whose size is unknown; and maximum ratio of a text to its
# compressed file, if that allows more.
MOST_STREAMED = 2 ** 30
MOST_PACKED = 20


def read_any(path: Union[str, os.PathLike], most: int = MOST_STREAMED) -> str:
    """Reads the text of a UTF-8 file, compressed (``.gz``) or not, or of `STDIN`.

    Args:
        path: The file, or ``-``.
        most: Maximum number of bytes.

    Raises:
        rnnlm.errors.InputError: If it cannot be read, is not text, or is too large.
    """
    name = os.fsdecode(path)
    data = bytearray()
    for block in read_blocks(name):
        data += block
        if len(data) > most:
            raise InputError(
                f'{name_of(name)}: expected at most {most:,} bytes, found more')
    return reading.decode(data, name_of(name))


def absolute(path: str) -> str:
    """Returns an absolute path to the same file.

    `os.path.abspath` removes ``link/..``, which is wrong for a symbolic link.  Such a
    path is resolved instead.
    """
    if os.pardir in path.replace(os.altsep or os.sep, os.sep).split(os.sep):
        folder, name = os.path.split(path)
        if name not in (os.curdir, os.pardir):
            return os.path.join(os.path.realpath(folder), name)
        return os.path.realpath(path)
    return os.path.abspath(path)


def name_of(path: str) -> str:
    """Returns the name of a file in messages."""
    return 'standard input' if path == STDIN else path


def read_blocks(path: str, progress: Optional[Callable[[int], object]] = None
                ) -> Iterator[bytes]:
    """Yields the bytes of a file, compressed (``.gz``) or not, or of `STDIN`.

    Args:
        path: A regular file; a stream of this process, such as ``/dev/stdin`` or the
            shell's ``<(command)``; or ``-``.
        progress: Function called with the number of bytes read since the last call;
            for a compressed file, compressed bytes.

    Yields:
        Blocks of at most `BLOCK` bytes.

    Raises:
        rnnlm.errors.InputError: If it cannot be read, is too large for a stream, or
            changes while it is read.
    """
    name, packed = name_of(path), path.endswith('.gz')
    with _opened(path) as stream:
        before = _state(stream)
        most = float('inf') if before else MOST_STREAMED
        if packed:
            most = max(MOST_STREAMED, MOST_PACKED * before[0])
        n_bytes = place = 0
        for block in _blocks(stream, name, packed):
            n_bytes += len(block)
            if n_bytes > most:
                raise InputError(
                    f'{name}: expected at most {most:,.0f} bytes of text, found more'
                    + ('' if before else '; write the text to a file'))
            yield block
            if progress and before:
                place, last = stream.tell(), place
                progress(place - last)
        if before != _state(stream):
            raise changed(path)


def _opened(path: str) -> ContextManager[IO[bytes]]:
    if path == STDIN:
        stream = getattr(sys.stdin, 'buffer', None)
        if stream is None:  # its replacement in a notebook only has text
            stream = io.BytesIO(sys.stdin.read().encode('utf-8', 'surrogatepass'))
        return contextlib.nullcontext(stream)
    if reading.is_stream(path):
        return reading.open_stream(path)
    expected = 'a file compressed by gzip' if path.endswith('.gz') else (
        'a file that can be read')
    return reading.open_regular(path, expected)


def _state(stream: IO[bytes]) -> Sequence[int]:
    """Returns size and modification time of a regular file; () for anything else."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:  # a replacement of standard input, not a file
        return ()
    if not stat.S_ISREG(found.st_mode):
        return ()
    return found.st_size, found.st_mtime_ns


def _blocks(stream: IO[bytes], name: str, packed: bool) -> Iterator[bytes]:
    try:
        f = gzip.open(stream) if packed else stream
        yield from iter(functools.partial(f.read, BLOCK), b'')
    except (OSError, EOFError, zlib.error) as e:
        expected = 'a file compressed by gzip' if packed else 'a file that can be read'
        raise InputError(
            f'{name}: expected {expected}: {getattr(e, "strerror", None) or e}'
        ) from None


def changed(path: str) -> InputError:
    """Returns the error for a file that changes while it is read."""
    return InputError(
        f'{path}: the text changed while it was read; wait until it is complete, and '
        'start again')


def tokenise(paths: Union[str, Sequence[str]], tokens: str, blank_lines: bool = True,
             read: Callable[[str], Iterable[bytes]] = read_blocks) -> Iterator[Tokens]:
    """Yields the tokens of one or several files, like `tokens_of`.

    Args:
        paths: The files.
        tokens, blank_lines: As for `tokens_of`.
        read: Function that yields the bytes of a file, in blocks.

    Raises:
        rnnlm.errors.InputError: If a file contains no text.
    """
    paths = [paths] if isinstance(paths, str) else paths
    return tokens_of(((name_of(path), read(path)) for path in paths), tokens,
                     blank_lines, several=len(paths) > 1)


def part_files(folder: str) -> Optional[list[str]]:
    """Returns the paths of the three parts in a folder; None if it has documents.

    Raises:
        rnnlm.errors.InputError: If only one or two of the parts exist, or if there is
            no text.
    """
    complaints = []
    for prefix, suffix in NAMES:
        found = [_part_file(folder, prefix, part, suffix) for part in PARTS]
        missing = [f'{prefix}{part}{suffix}'
                   for part, path in zip(PARTS, found) if path is None]
        if not missing:
            return [path for path in found if path is not None]
        complaints.append((len(missing), prefix, suffix, missing))
    # The message lists what the most complete set of names lacks.
    n_missing, prefix, suffix, missing = min(complaints, key=lambda c: c[0])
    if n_missing == len(PARTS) and documents(folder):
        return None
    if n_missing == len(PARTS):
        raise InputError(
            f'{folder}: expected a folder with documents that end in .txt or .txt.gz, '
            'or with train.txt, valid.txt and test.txt, also as ptb.train.txt, ... or '
            'wiki.train.tokens, ..., found none of these')
    names = ', '.join(f'{prefix}{part}{suffix}' for part in PARTS)
    raise InputError(
        f'{folder}: expected a folder with {names}; missing: {", ".join(missing)}')


def _part_file(folder: str, prefix: str, part: str, suffix: str) -> Optional[str]:
    for name in (part, 'val') if part == 'valid' else (part,):
        for end in '', '.gz':
            path = os.path.join(folder, f'{prefix}{name}{suffix}{end}')
            if os.path.exists(path):
                return path
    return None


def documents(folder: str) -> list[str]:
    """Lists the documents in a folder and its subfolders, sorted by path.

    Documents are all files with a suffix in `DOCUMENTS`, except hidden files.  Hidden
    folders and links to folders are skipped.

    Raises:
        rnnlm.errors.InputError: If folders are nested deeper than `DEEPEST`, or one
            cannot be read.
    """
    def refuse(e: OSError) -> None:
        raise InputError(
            f'{folder}: expected folders that can be read, found one that cannot '
            f'({e.strerror}); change its permissions, or give a list of files: '
            f'{e.filename}') from None

    found = []
    for inside, inner, files in os.walk(folder, onerror=refuse):
        # os.walk fails at a depth of 1,000 before Python 3.12.
        if inside.count(os.sep) - folder.count(os.sep) > DEEPEST:
            raise InputError(
                f'{folder}: expected folders nested at most {DEEPEST} deep, '
                'found deeper ones; give a list of files, or put them into one folder')
        inner[:] = [name for name in inner if not name.startswith('.')]
        found += [os.path.join(inside, name) for name in files
                  if name.endswith(DOCUMENTS) and not name.startswith('.')]
    return sorted(found)


def is_ptb(path: str) -> bool:
    """Returns whether a path is a folder with the file names of the Penn Treebank."""
    return all(_part_file(path, PTB_NAMES[0], part, PTB_NAMES[1]) for part in PARTS)
