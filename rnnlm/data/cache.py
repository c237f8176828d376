"""Cache of the ids of long texts, as files that are mapped into memory.

A cache file consists of a header of 64 bytes with the lengths of the other parts, the
ids, and a JSON document with the source files, the rule that made the ids, the
vocabulary and properties of the ids.  Everything is verified before use.
"""
from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import hashlib
import json
import logging
import os
import shutil
import stat
import struct
import sys
import time
import unicodedata
from typing import IO, Any, Callable, Iterable, Iterator, Optional, Sequence

import filelock
import numpy

from rnnlm.data import files, flat
from rnnlm.data.vocabulary import Vocabulary
from rnnlm.errors import InputError
from rnnlm.serializers.atomic import make_folder, writing

logger = logging.getLogger(__name__)

# Minimum size of a text in bytes; reading a shorter one is as fast as using the cache.
LEAST = 2 ** 24

# Factor for the size of a compressed file.
PACKED = 4

FORMAT = 1
_MAGIC = b'rnnlm ids\n'

# Magic number, number of ids, bytes of the document, its SHA-256.
_HEADER = struct.Struct('<16sQQ32s')

# Nanoseconds within which a file can change without a new modification time.
_GRAIN = 2 * 10 ** 9

# Seconds to wait for another process that reads the same text.
PATIENCE = 600.0


@dataclasses.dataclass(frozen=True)
class Kept:
    """Ids of a text, with the vocabulary.

    Attributes:
        parts: The ids of each part, int32 (N,).
        vocabulary: Their vocabulary.
        facts: Properties of the ids.
        digest: Result of `flat.digest_of` for all parts, if mapped from a file.
    """
    parts: list[numpy.ndarray]
    vocabulary: Vocabulary
    facts: flat.Facts
    digest: Optional[str] = None


# Function that fills a store, given a function that reads files; see `flat.build`.
Build = Callable[[flat.Store, Callable[[str], Iterator[bytes]]],
                 'tuple[Vocabulary, flat.Facts]']


class Cache:
    """Entry of one text in the cache.

    Args:
        paths: The files that the text is read from.
        how: Everything else that the ids depend on; JSON.

    Attributes:
        path: The cache file.

    Raises:
        OSError: If there is no cache folder that belongs to the user alone.
    """

    def __init__(self, paths: Sequence[str], how: dict[str, Any]) -> None:
        self._paths = [files.absolute(path) for path in paths]
        # Which characters are blanks depends on the version of Unicode.
        self._key = {**how, 'paths': self._paths, 'format': FORMAT,
                     'unicode': unicodedata.unidata_version, 'order': sys.byteorder}
        name = hashlib.sha256(json.dumps(self._key).encode()).hexdigest()[:40]
        self.path = os.path.join(_folder(), f'{name}.ids')

    def get(self, build: Build, progress: Optional[Callable[[int], object]] = None
            ) -> Kept:
        """Returns the ids of the text, from the cache or computed.

        Args:
            build: Function that computes them.
            progress: As for `files.read_blocks`.

        Raises:
            rnnlm.errors.InputError: If the text cannot be read, or changes while it is
                read.
            OSError: If the ids cannot be written.
        """
        with _alone(self.path) as alone:
            found = self._find()
            if found is None:
                if alone:
                    _remove_parts(self.path)
                self._make(build, progress)
                found = self._find()
        if found is None:
            raise OSError(f'the text, or {self.path}, has changed since it was read')
        return found

    def _find(self) -> Optional[Kept]:
        """Loads the entry if the text is unchanged; None if there is none."""
        try:
            f = _open(self.path)
        except FileNotFoundError:
            return None
        with f:
            try:
                return self._read(f)
            except InputError:  # the text cannot be read
                raise
            except (OSError, ValueError, LookupError, TypeError, struct.error) as e:
                logger.warning(
                    '%s is damaged (%s); the text is read again', self.path, e)
                return None

    def _read(self, f: IO[bytes]) -> Optional[Kept]:
        magic, n, size, digest = _HEADER.unpack(f.read(_HEADER.size))
        if magic.rstrip(b'\0') != _MAGIC:
            raise ValueError('not a cache file')
        if os.fstat(f.fileno()).st_size != _HEADER.size + 4 * n + size:
            raise ValueError('wrong length')
        f.seek(_HEADER.size + 4 * n)
        document = f.read(size)
        if hashlib.sha256(document).digest() != digest:
            raise ValueError('wrong checksum')
        found = json.loads(document)
        if found['key'] != self._key:
            raise ValueError('made from another text')
        if not self._is_of_now(found):
            return None
        facts = flat.Facts(**found['facts'])
        if flat.digest_in(flat.Disk(f, _HEADER.size), facts.lengths) != found['digest']:
            raise ValueError('other ids')
        vocabulary = Vocabulary(found['words'], found['kind'])
        ids = numpy.memmap(f, 'i', 'r', _HEADER.size, (n,))
        return Kept(
            flat.parts_of(ids, facts.lengths), vocabulary, facts, found['digest'])

    def _is_of_now(self, found: dict[str, Any]) -> bool:
        """Returns whether the files are unchanged; reads them if their times differ."""
        states = [_state(path) for path in self._paths]
        if found['states'] == states and found['settled']:
            return True
        if [then[0] for then in found['states']] != [now[0] for now in states]:
            return False
        content: list[str] = []
        for path in self._paths:
            for _ in _noted(files.read_blocks(path), content):
                pass
        return bool(found['content'] == content)

    def _make(self, build: Build,
              progress: Optional[Callable[[int], object]]) -> None:
        if os.path.isdir(self.path):
            raise IsADirectoryError(f'{self.path} is a folder')
        size = sum(map(os.path.getsize, self._paths))  # ids take about as many bytes
        if shutil.disk_usage(os.path.dirname(self.path)).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        states, now = [_state(path) for path in self._paths], time.time_ns()
        content: list[str] = []

        def read(path: str) -> Iterator[bytes]:
            return _noted(files.read_blocks(path, progress), content)

        with writing(self.path, follow=False) as f:
            store = flat.Disk(f, _HEADER.size)
            vocabulary, facts = build(store, read)
            for path, before in zip(self._paths, states):
                if _state(path) != before:
                    raise files.changed(path)
            document = json.dumps({
                'key': self._key, 'states': states, 'content': content,
                'settled': all(now - max(state[1:3]) > _GRAIN for state in states),
                'facts': dataclasses.asdict(facts), 'kind': vocabulary.tokens,
                'digest': flat.digest_in(store, facts.lengths),
                'words': vocabulary.words}, ensure_ascii=False
            ).encode('utf-8', 'surrogatepass')  # in names that are not UTF-8
            n = sum(facts.lengths)
            f.seek(_HEADER.size + 4 * n)
            f.write(document)
            f.truncate()
            f.seek(0)
            f.write(_HEADER.pack(
                _MAGIC, n, len(document), hashlib.sha256(document).digest()))


def is_long(paths: Sequence[str]) -> bool:
    """Returns whether a text is long enough for the cache."""
    return LEAST <= sum(os.path.getsize(path) * (PACKED if path.endswith('.gz') else 1)
                        for path in paths)


def _noted(blocks: Iterable[bytes], digests: list[str]) -> Iterator[bytes]:
    """Yields the blocks of a file, and then appends their SHA-256 to `digests`."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        yield block
    digests.append(digest.hexdigest())


def _state(path: str) -> list[int]:
    """Returns size, times and inode of a file, to detect changes."""
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino,
            found.st_dev]


def _folder() -> str:
    """Returns the folder of the cache, and creates it if missing.

    Raises:
        OSError: If it cannot be created, or belongs to another user.
    """
    base = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser('~'), '.cache')
    if not os.path.isabs(base):
        raise FileNotFoundError('there is no home folder; set XDG_CACHE_HOME')
    folder = os.path.join(base, 'rnnlm')
    make_folder(base)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    for found in os.lstat(folder), os.stat(folder):
        if hasattr(os, 'geteuid') and found.st_uid != os.geteuid():
            raise PermissionError(f'{folder} belongs to another user')
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f'{folder} is not a folder')
    if os.name == 'posix' and found.st_mode & 0o022:
        raise PermissionError(f'other users may write to {folder}')
    return folder


def _open(path: str) -> IO[bytes]:
    """Opens a file that belongs to the user; refuses links.

    Raises:
        FileNotFoundError: If there is none.
    """
    flags = (getattr(os, name, 0) for name in ('O_NOFOLLOW', 'O_NONBLOCK', 'O_BINARY'))
    try:
        f = os.fdopen(os.open(path, sum(flags, os.O_RDONLY)), 'rb')
    except OSError as e:
        raise FileNotFoundError(path) from e
    found = os.fstat(f.fileno())
    if stat.S_ISREG(found.st_mode) and (
            not hasattr(os, 'geteuid') or found.st_uid == os.geteuid()):
        return f
    f.close()
    raise FileNotFoundError(path)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[bool]:
    """Locks a file that is being written, if possible; yields whether it is locked.

    Without a lock two processes may each write a complete file, and one replaces the
    other.
    """
    name = f'{path}.lock'
    lock = filelock.FileLock(name, thread_local=False)
    try:
        try:
            lock.acquire(timeout=1)
        except filelock.Timeout:
            logger.warning('waiting for another process that reads the same text')
            lock.acquire(timeout=PATIENCE)
    except (filelock.Timeout, NotImplementedError, OSError):
        pass
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked:
            # Deleted while the lock is held, because then another process may own it.
            with contextlib.suppress(OSError):
                os.unlink(name)
            lock.release()


def _remove_parts(path: str) -> None:
    """Deletes an incomplete file of a killed process, unless another is writing it."""
    folder, name = os.path.split(path)
    for part in glob.glob(os.path.join(glob.escape(folder), f'.{name[:40]}.*.part')):
        with contextlib.suppress(OSError):
            os.unlink(part)
