"""Atomic writing of files."""
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


# Errors of file systems that cannot flush a folder at all.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def writing(path: Union[str, os.PathLike], follow: bool = True) -> Iterator[IO[bytes]]:
    """Opens a new binary file that replaces `path` once it is completely written.

    If the process is killed, `path` is the old file or the complete new one.

    Args:
        path: The file.
        follow: If true, symbolic links are followed, and something that is not a
            regular file, such as a pipe, is written directly.  If false, both are
            replaced, and the target of a link is not changed.

    Raises:
        OSError: If it cannot be written.  Then either the old file is unchanged, or the
            new one is complete but perhaps not flushed to the disk.
    """
    path = os.fspath(path)
    if follow:
        path = os.path.realpath(path)
        if os.path.exists(path) and not os.path.isfile(path):
            data = io.BytesIO()  # writing a zip file seeks, which a pipe cannot
            yield data
            with open(path, 'wb') as f:
                f.write(data.getvalue())
            return
    folder, name = os.path.split(os.path.abspath(path))
    # Shortened, because the temporary name could be too long for the file system.
    temporary = os.path.join(folder, f'.{name[:40]}.{secrets.token_hex(4)}.part')
    try:
        with open(temporary, 'xb') as f:
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
    """Copies the permissions of the regular file that will be replaced."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode):
            os.chmod(temporary, stat.S_IMODE(mode))


def sync_folder(folder: str) -> None:
    """Flushes a folder to the disk, so that its entries survive a power cut.

    Does nothing on systems that cannot do this.

    Raises:
        OSError: If the disk reports an error.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # any folder on Windows; elsewhere an unreadable one
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
    """Creates a folder and its parents, so that they survive a power cut.

    Raises:
        OSError: If it cannot be created.
    """
    folder = os.path.abspath(folder)
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    if parent != folder:
        make_folder(parent)
    with contextlib.suppress(FileExistsError):  # another process may be first
        os.mkdir(folder)
    if not os.path.isdir(folder):
        raise NotADirectoryError(
            errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    sync_folder(parent)


def remove_parts(folder: str) -> None:
    """Deletes temporary files that `writing` left when its process was killed."""
    for name in os.listdir(folder):
        if re.fullmatch(r'(?s)\..+\.[0-9a-f]{8}\.part', name):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))


@contextlib.contextmanager
def best_effort(what: str) -> Iterator[None]:
    """Logs a file that cannot be written as a warning, instead of ending the training.

    Args:
        what: Name of what is written, for the message.
    """
    try:
        yield
    except OSError as e:
        logger.warning('%s could not be written (%s); training continues, and the next '
                       'attempt may succeed', what, e.strerror or e)


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
    """Raises InputError for output files that exist already, or that are the input.

    Args:
        paths: The files that will be written.
        source: The file that is read.  None of `paths` may be the same file, even by
            another name.
        overwrite: Whether existing files other than `source` may be replaced.

    Raises:
        rnnlm.InputError: If one of the files must not be written.
    """
    for path in paths:
        require_writable(path)
        if same_file(path, source):
            raise InputError(
                f'{path}: expected a file other than the input {source}, found the '
                'same file; choose another name for the output')
        if os.path.lexists(path) and not overwrite:
            raise InputError(
                f'{path}: expected no file of that name, found one; choose another '
                'name, or replace it with --overwrite')


def same_file(path: str, other: str) -> bool:
    """Returns whether two paths lead to the same existing file, also through links."""
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False
