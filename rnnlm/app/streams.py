"""Standard streams that are closed, on a full disk, or no longer read."""
import contextlib
import os
import sys
from typing import Any, List

from rnnlm.errors import printable


def open_closed_streams() -> List[str]:
    """Opens the null device in place of the standard streams that are closed.

    Otherwise the next file to be opened, a snapshot for example, would get the file
    descriptor of a standard stream, and libraries would print into it.

    Returns:
        Names of the streams that were closed, such as 'stdout'.
    """
    closed = []
    for number, (name, mode) in enumerate((('stdin', 'r'), ('stdout', 'w'),
                                           ('stderr', 'w'))):
        if getattr(sys, name) is None:
            closed.append(name)
            if not _is_open(number):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))
    return closed


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def complain(text: str) -> None:
    """Prints lines on standard error, if that is possible."""
    with contextlib.suppress(OSError, ValueError):
        print(printable(text, keep='\n'), file=sys.stderr, flush=True)
    discard_unwritten(sys.stderr)


def discard_unwritten(stream: Any) -> None:
    """Drops output that a stream cannot write; else Python fails again at exit."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
