"""`read_lines`: the lines of a file or of standard input, as they arrive."""
from __future__ import annotations

import contextlib
import io
import sys
from typing import IO, ContextManager, Iterator, NamedTuple, Optional

from rnnlm.errors import InputError
from rnnlm.serializers.reading import remedy

# Maximum bytes of a line; a file with longer lines is not a text of sentences.
LONGEST_LINE = 2 ** 24

# Bytes requested per read.
_BLOCK = 2 ** 16

STANDARD_INPUT = 'standard input'


class Line(NamedTuple):
    """Line of a text.

    Attributes:
        number: Line number, from 1.
        text: The text without the line end; None if it is not UTF-8.
        size: Number of bytes, including the line end.
        problem: Error message; '' if the line could be read.
    """
    number: int
    text: Optional[str]
    size: int
    problem: str = ''


def name_of(path: Optional[str]) -> str:
    """Returns the name of a text in messages."""
    return STANDARD_INPUT if path in (None, '-') else str(path)


def read_lines(path: Optional[str], most: int) -> Iterator[list[Line]]:
    r"""Yields the lines of a UTF-8 text in groups, as many as are available.

    Only ``\n`` and ``\r\n`` end a line.  A byte order mark at the start is skipped.  A
    line that is not UTF-8 has a `problem`, and reading continues after it.

    Args:
        path: A file, which is not decompressed; None or '-' for standard input.
        most: Maximum number of lines in a group.

    Yields:
        Groups of 1 to `most` lines.

    Raises:
        rnnlm.InputError: If the file cannot be read, or a line is longer than
            `LONGEST_LINE`.
    """
    number, rest = 0, b''
    try:
        with _opened(path) as stream:
            while True:
                block = stream.read1(_BLOCK)  # type: ignore[attr-defined]
                # Only the new block is searched, so a long line takes linear time.
                if block and b'\n' not in block:
                    rest += block
                    _require_length(path, number + 1, rest)
                    continue
                *found, rest = (rest + block).split(b'\n')
                sizes = [len(line) + 1 for line in found]
                if not block and rest:
                    found, sizes = [rest], [len(rest)]
                lines = [_line(path, number + k, line, size) for k, (line, size)
                         in enumerate(zip(found, sizes), 1)]
                number += len(lines)
                for start in range(0, len(lines), most):
                    yield lines[start:start + most]
                if not block:
                    return
    except (OSError, ValueError) as e:  # ValueError for a path with a NUL
        if isinstance(e, (InputError, UnicodeError)):
            raise
        reason = getattr(e, 'strerror', None) or e
        raise InputError(
            f'{name_of(path)}: expected a text that can be read, found: {reason}'
        ) from None


def _opened(path: Optional[str]) -> ContextManager[IO[bytes]]:
    if path is not None and path != '-':
        return open(path, 'rb')
    stream = getattr(sys.stdin, 'buffer', None)
    if stream is None:  # its replacement in a notebook only has text
        stream = io.BytesIO(sys.stdin.read().encode('utf-8', 'surrogatepass'))
    return contextlib.nullcontext(stream)


def _require_length(path: Optional[str], number: int, line: bytes) -> None:
    if len(line) > LONGEST_LINE:
        raise InputError(
            f'{name_of(path)}:{number}: expected one sentence per line, found over '
            f'{LONGEST_LINE:,} bytes without an end of line')


def _line(path: Optional[str], number: int, line: bytes, size: int) -> Line:
    if number == 1 and line.startswith(b'\xef\xbb\xbf'):
        line = line[3:]
    line = line[:-1] if line.endswith(b'\r') else line
    try:
        return Line(number, line.decode('utf-8'), size)
    except UnicodeDecodeError as e:
        return Line(number, None, size, (
            f'{name_of(path)}:{number}: expected text in UTF-8, found byte '
            f'0x{line[e.start]:02x} ({e.reason}); '
            + remedy(line if number == 1 else b'', gzip=False)))
