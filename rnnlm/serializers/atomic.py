"""Writing a file whole or not at all."""
from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import secrets
from typing import IO, Iterator, Union

from rnnlm.errors import InputError

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def writing(path: Union[str, os.PathLike]) -> Iterator[IO[bytes]]:
    """A new binary file that takes the place of `path` when it is whole.

    Whatever happens, `path` is the old file or the new one, never a part of it.
    A link is followed; what is no plain file, a pipe say, is written as it is.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be written; the old file is then untouched.
    """
    path = os.path.realpath(os.fspath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        data = io.BytesIO()  # zip files want to go back, and a pipe cannot
        yield data
        with open(path, 'wb') as f:
            f.write(data.getvalue())
        return
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f'.{name}.{secrets.token_hex(4)}.part')
    try:
        with open(temporary, 'xb') as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(path).st_mode)
        os.replace(temporary, path)
    except BaseException as e:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(e, OSError) and e.errno and e.filename in (None, temporary):
            e.filename = path
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Makes a new name in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_parts(folder: str) -> None:
    """Deletes what `writing` left in a folder when its process was killed."""
    for name in os.listdir(folder):
        if re.fullmatch(r'\..+\.[0-9a-f]{8}\.part', name):
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
