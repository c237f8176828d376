"""Writing a file whole or not at all."""
from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import secrets
import stat
from typing import IO, Iterator, Sequence, Union

from rnnlm.errors import InputError

logger = logging.getLogger(__name__)


# What a file system answers that cannot flush a folder at all.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def writing(path: Union[str, os.PathLike], follow: bool = True) -> Iterator[IO[bytes]]:
    """A new binary file that takes the place of `path` when it is whole.

    Whatever happens, `path` is the old file or the new one, never a part of it.  What
    was written can be read from it too, unless `path` is no plain file.

    Args:
        path: The file.
        follow: If true, a link is followed, and what is no plain file, a pipe say, is
            written as it is.  If false, both are replaced, and the target of the link
            stays as it is.

    Raises:
        OSError: If it cannot be written; the old file is then untouched, or the new
            one is there whole but perhaps not on the disk yet.
    """
    path = os.fspath(path)
    if follow:
        path = os.path.realpath(path)
        if os.path.exists(path) and not os.path.isfile(path):
            data = io.BytesIO()  # zip files want to go back, and a pipe cannot
            yield data
            with open(path, 'wb') as f:
                f.write(data.getvalue())
            return
    folder, name = os.path.split(os.path.abspath(path))
    # A part of the name: with all of it this one could be too long.
    temporary = os.path.join(folder, f'.{name[:40]}.{secrets.token_hex(4)}.part')
    try:
        with open(temporary, 'x+b') as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        _keep_mode(path, temporary)
        os.replace(temporary, path)
        temporary = ''
        sync_folder(folder)
    except BaseException as e:
        if isinstance(e, OSError) and e.errno and e.filename in (
                None, temporary, folder):
            e.filename = path
        with contextlib.suppress(OSError):
            if temporary:
                os.unlink(temporary)
        raise


def _keep_mode(path: str, temporary: str) -> None:
    """Gives a new file the permissions of the plain file that it replaces."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode):
            os.chmod(temporary, stat.S_IMODE(mode))


def sync_folder(folder: str) -> None:
    """Makes the names in a folder survive a power cut, where the system can.

    Raises:
        OSError: If the disk reports an error.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # all folders on Windows; here one that may not be read
        return
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in _CANNOT_FLUSH:
            e.filename = folder
            raise
    finally:
        os.close(handle)


def make_folder(folder: str) -> None:
    """Makes a folder and those above it, so that they survive a power cut.

    Raises:
        OSError: If that cannot be done.
    """
    folder = os.path.abspath(folder)
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        make_folder(parent)
    with contextlib.suppress(FileExistsError):  # another process may be faster
        os.mkdir(folder)
    if not os.path.isdir(folder):
        raise NotADirectoryError(
            errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    sync_folder(parent)


def remove_parts(folder: str) -> None:
    """Deletes what `writing` left in a folder when its process was killed."""
    for name in os.listdir(folder):
        if re.fullmatch(r'(?s)\..+\.[0-9a-f]{8}\.part', name):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))


@contextlib.contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Work that training does not depend on: a file that cannot be written is logged.

    Args:
        what: What is being written, for the message.
    """
    try:
        yield
    except OSError as e:
        logger.warning('%s could not be written (%s); the training goes on, and it is '
                       'tried again', what, e.strerror or e)


def require_writable(path: str) -> None:
    """Raises InputError unless a file could be written at `path`."""
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        found = 'a folder'
    elif not os.path.isdir(folder):
        found = f'no folder {folder}'
    elif not os.access(folder, os.W_OK):
        found = f'no permission to write into {folder}'
    else:
        return
    raise InputError(f'{path}: expected a file that can be written, found {found}')


def require_new(paths: Sequence[str], source: str, overwrite: bool) -> None:
    """Refuses to write files that are there already, or are what is read.

    Args:
        paths: The files that will be written.
        source: The file that is read; none of them may be it, also by another name.
        overwrite: Whether the others may be replaced.

    Raises:
        rnnlm.InputError: If one of them may not be written.
    """
    for path in paths:
        require_writable(path)
        if same_file(path, source):
            raise InputError(
                f'{path}: expected another file than {source}, which is read, found '
                'the same one; choose another name for the output')
        if os.path.lexists(path) and not overwrite:
            raise InputError(
                f'{path}: expected no file of that name, found one; choose another '
                'name, or replace it with --overwrite')


def same_file(path: str, other: str) -> bool:
    """Whether two paths lead to one file that is there, also through links."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False
