"""Safe reading of files from anywhere, with limits on their kind and size."""
from __future__ import annotations

import json
import os
import re
import stat
from typing import IO, Any, Union

from rnnlm.errors import InputError

Path = Union[str, os.PathLike]

# Default maximum of a JSON document, in bytes; and of the digits of a number.
MOST_JSON = 2 ** 22
MOST_DIGITS = 400

_KINDS = {stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a pipe', stat.S_IFSOCK: 'a socket',
          stat.S_IFCHR: 'a device', stat.S_IFBLK: 'a device'}


def open_regular(path: Path, expected: str = 'a file') -> IO[bytes]:
    """Opens a regular file for reading.

    Refuses pipes and devices, which may never end.

    Args:
        path: The file; symbolic links are followed.
        expected: What it should be, for the message.

    Raises:
        rnnlm.errors.InputError: If it does not exist or cannot be read.
    """
    try:
        # Checked before opening, which by itself can affect a pipe or a device.
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0)
                             | getattr(os, 'O_BINARY', 0))
            f = os.fdopen(handle, 'rb')
            mode = os.fstat(handle).st_mode
            if stat.S_ISREG(mode):
                return f
            f.close()
        reason = _KINDS.get(stat.S_IFMT(mode), 'something else')
    except FileNotFoundError:
        reason = 'nothing there'
    except (OSError, ValueError) as e:  # ValueError of a path with a NUL
        reason = f'none that can be read ({getattr(e, "strerror", None) or e})'
    raise InputError(f'{path}: expected {expected}, found {reason}')


def read_regular(path: Path, expected: str = 'a file', most: float = float('inf'),
                 memory: int = 2) -> bytearray:
    """Returns the content of a regular file.

    Args:
        path: The file.
        expected: What it should be, for the message.
        most: Maximum size in bytes.
        memory: Memory needed to use it, as a multiple of its size.

    Raises:
        rnnlm.errors.InputError: If it cannot be read, or is too large.
    """
    with open_regular(path, expected) as f:
        size = os.fstat(f.fileno()).st_size
        _require_size(path, expected, size, most)
        require_memory(path, memory * size)
        try:
            # The file may be growing, and files in /proc claim to be empty.
            data = bytearray(f.read(size))
            data += f.read(int(min(most, size + 2 ** 20)) - size + 1)
        except OSError as e:
            raise InputError(
                f'{path}: expected {expected}, found one that cannot be read '
                f'({e.strerror})') from None
        except MemoryError:
            raise _too_large(path, size, 'this process can allocate') from None
    _require_size(path, expected, len(data), most)
    return data


def _require_size(path: Path, expected: str, size: int, most: float) -> None:
    if size > most:
        raise InputError(
            f'{path}: expected {expected} of at most {most:,} bytes, found {size:,}')


def decode(data: Union[bytes, bytearray], source: str) -> str:
    """Decodes UTF-8, and removes a byte order mark.

    Raises:
        rnnlm.errors.InputError: If it is not UTF-8.
    """
    try:
        text = data.decode('utf-8')
    except UnicodeDecodeError as e:
        raise InputError(
            f'{source}: expected text in UTF-8, found byte 0x{data[e.start]:02x} at '
            f'offset {e.start} ({e.reason}); {remedy(data)}') from None
    return text[1:] if text.startswith('\ufeff') else text


def remedy(data: Union[bytes, bytearray], gzip: bool = True) -> str:
    """Says what to do with a text that is not UTF-8, for the end of a message.

    Args:
        data: The text, or at least its first 4 bytes; b'' if they are not known.
        gzip: Whether a file with a name in ``.gz`` would be decompressed.
    """
    if data.startswith(b'\x1f\x8b'):
        return ('it is compressed by gzip: decompress it, for example with gunzip -c'
                + (', or add .gz to its name' if gzip else ''))
    encoding = 'latin1'
    if data.startswith((b'\xff\xfe\0\0', b'\0\0\xfe\xff')):
        encoding = 'utf-32'
    elif data.startswith((b'\xff\xfe', b'\xfe\xff')):
        encoding = 'utf-16'
    if encoding != 'latin1':  # by its byte order mark
        return f'convert it, for example with iconv -f {encoding} -t utf-8'
    return ('convert it, for example with iconv -f latin1 -t utf-8, with the encoding '
            'that it has')


def is_stream(path: Path) -> bool:
    """Returns whether a path names a stream given to this process, as by ``<(cmd)``."""
    return re.fullmatch(r'/dev/(stdin|fd/\d+)|/proc/self/fd/\d+',
                        os.fspath(path)) is not None and not os.path.isfile(path)


def open_stream(path: Path) -> IO[bytes]:
    """Opens a pipe or a terminal that this process was given.

    Args:
        path: One for which `is_stream`.

    Raises:
        rnnlm.errors.InputError: If it cannot be opened.
    """
    try:
        f = open(path, 'rb')
    except OSError as e:
        raise InputError(
            f'{path}: expected a file that can be read: {e.strerror}') from None
    mode = os.fstat(f.fileno()).st_mode
    if stat.S_ISFIFO(mode) or os.isatty(f.fileno()):
        return f
    f.close()
    found = _KINDS.get(stat.S_IFMT(mode), 'something else')
    raise InputError(f'{path}: expected a file or a pipe, found {found}')


def require_memory(path: Path, n_bytes: int) -> None:
    """Raises InputError for a file that needs more memory than is free.

    Args:
        path: The file, for the message.
        n_bytes: Memory that it needs, at least.

    Raises:
        rnnlm.errors.InputError: If this process cannot have as much.
    """
    if n_bytes > 2 ** 26 and n_bytes > free_memory():  # finding it takes time
        raise _too_large(path, n_bytes, f'the {free_memory():,.0f} that are free')


def _too_large(path: Path, n_bytes: int, limit: str) -> InputError:
    return InputError(
        f'{path}: expected a file that fits into memory, found one that needs '
        f'{n_bytes:,} bytes, more than {limit}; use a machine with more memory')


def free_memory() -> float:
    """Returns the bytes of memory that this process can still have, or infinity."""
    limits = [float('inf')]
    try:
        with open('/proc/meminfo', encoding='ascii') as f:
            found = dict(re.findall(r'(\w+): +(\d+) kB', f.read()))
        limits.append(1024.0 * (int(found['MemAvailable']) + int(found['SwapFree'])))
        with open('/proc/self/statm', encoding='ascii') as f:
            pages = int(f.read().split()[0])
        import resource
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            limits.append(soft - pages * resource.getpagesize())
    except (ImportError, OSError, LookupError, ValueError):  # not Linux
        pass
    try:
        with open('/sys/fs/cgroup/memory.max', encoding='ascii') as f:
            limits.append(float(f.read()))
    except (OSError, ValueError):  # no limit, or another system
        pass
    return min(limits)


def parse_json(text: Union[str, bytes, bytearray], most: int = MOST_JSON,
               constants: bool = False) -> Any:
    """Parses a JSON document.

    Args:
        text: The document.
        most: Maximum number of characters.
        constants: Whether to allow NaN and infinities, which Python writes.

    Raises:
        ValueError: If it is not JSON, is too long or nested too deep, has a number of
            very many digits or a duplicate key.
    """
    if len(text) > most:
        raise ValueError(f'{len(text):,} characters of JSON')
    try:
        return json.loads(text, object_pairs_hook=_once, parse_int=_integer,
                          parse_constant=None if constants else _refuse)
    except RecursionError:
        raise ValueError('JSON nested too deep') from None


def _once(pairs: list) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError('the same name twice')
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:  # conversion takes quadratic time
        raise ValueError(f'a number of {len(digits):,} digits')
    return int(digits)


def _refuse(constant: str) -> None:
    raise ValueError(f'{constant}, which is not a JSON number')


def read_json(path: Path, expected: str, most: int = MOST_JSON) -> Any:
    """Parses a JSON file.

    Args:
        path: The file, in UTF-8.
        expected: What it should be, for the message.
        most: Maximum size in bytes.

    Raises:
        rnnlm.errors.InputError: If it cannot be read, or is not JSON.
    """
    data = read_regular(path, expected, most)
    text = decode(data, str(path))
    try:
        return parse_json(text, most)
    except ValueError as e:
        raise InputError(
            f'{path}: expected {expected} in JSON, but it does not parse: {e}'
        ) from None
