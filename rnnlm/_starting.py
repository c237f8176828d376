"""Ctrl-C while the command line is still being imported: a line, not a traceback."""
import os
import sys

_COMMANDS = 'rnnlm', 'rnnlm.exe', 'rnnlm-script.py'


def begin():
    """Called before all other imports; does nothing in any other program."""
    if _is_command():
        sys.excepthook = _report


def over():
    """Called when the command line handles its errors itself."""
    if sys.excepthook is _report:
        sys.excepthook = sys.__excepthook__


def _is_command():
    name = sys.argv[0] if sys.argv else ''
    if name == '-m':  # of python, which is looking for the module
        # Before Python 3.10 it does not say for which.
        given = getattr(sys, 'orig_argv', ['-m', 'rnnlm'])
        return ('-m', 'rnnlm') in zip(given, given[1:])
    return os.path.basename(name) in _COMMANDS


def _report(kind, error, where):
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write('rnnlm: interrupted\n')
    else:
        sys.__excepthook__(kind, error, where)
