"""Reading text, and writing a file whole or not at all."""
import contextlib
import io
import os
import tempfile

from rnnlm.errors import InputError


@contextlib.contextmanager
def writing(path):
    """A new binary file that takes the place of `path` when it is whole.

    Whatever happens, `path` is the old file or the new one, never a part of it.
    A link is followed; what is no plain file, a pipe say, is written as it is.

    Args:
        path (str or os.PathLike): the file.

    Raises:
        OSError: if it cannot be written; the old file is then untouched.
    """
    path = os.path.realpath(os.fspath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        data = io.BytesIO()  # zip files want to go back, and a pipe cannot
        yield data
        with open(path, 'wb') as f:
            f.write(data.getvalue())
        return
    handle, temporary = tempfile.mkstemp(
        prefix=f'.{os.path.basename(path)}.', dir=os.path.dirname(path) or '.')
    try:
        with os.fdopen(handle, 'wb') as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        # mkstemp lets nobody else read.
        mode = os.stat(path).st_mode if os.path.exists(path) else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def require_writable(path):
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


def _umask():
    mask = os.umask(0)  # there is no way to read it but to set it
    os.umask(mask)
    return mask


def read_text(path):
    """Text of a UTF-8 file, with or without a byte order mark."""
    try:
        with open(path, 'rb') as f:
            data = f.read()
    except (OSError, ValueError) as e:  # of a path with a NUL
        reason = getattr(e, 'strerror', e)
        raise InputError(
            f'{path}: expected a file that can be read: {reason}') from e
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError as e:
        raise InputError(
            f'{path}: expected text in UTF-8, found byte 0x{data[e.start]:02x} at '
            f'offset {e.start} ({e.reason}); convert it, for example with '
            'iconv -t utf-8') from None
    return text[1:] if text.startswith('\ufeff') else text
