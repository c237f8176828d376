"""The standard streams: closed ones, full disks, readers that have exited."""
import contextlib
import os
import sys
from typing import Any, List

from rnnlm.errors import printable


def open_closed_streams() -> List[str]:
    """Opens the null device in place of the standard streams that are closed.

    Else the next file that is opened, a snapshot say, would get the number of one, and
    what some library prints would go into it.

    Returns:
        The names of those that were closed, 'stdout' for example.
    """
    closed = []
    for number, (name, mode) in enumerate((('stdin', 'r'), ('stdout', 'w'),
                                           ('stderr', 'w'))):
        if getattr(sys, name) is None:
            closed.append(name)
            if not _is_open(number):
                os.open(os.devnull, os.O_RDWR)  # which has this number, the lowest
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
    let_go(sys.stderr)


def let_go(stream: Any) -> None:
    """Drops what a stream cannot write, which else fails once more at the exit."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
