"""A short message for Ctrl-C while the command line is being imported."""
import os
import sys

_COMMANDS = 'rnnlm', 'rnnlm.exe', 'rnnlm-script.py'


def begin():
    """Installs the handler; must run before all other imports.

    Does nothing unless the program is the `rnnlm` command.
    """
    if _is_command():
        sys.excepthook = _report


def over():
    """Removes the handler, once the command line handles its errors itself."""
    if sys.excepthook is _report:
        sys.excepthook = sys.__excepthook__


def _is_command():
    name = sys.argv[0] if sys.argv else ''
    if name == '-m':  # set by Python while it looks for the module
        # Python before 3.10 does not say which module.
        given = getattr(sys, 'orig_argv', ['-m', 'rnnlm'])
        return ('-m', 'rnnlm') in zip(given, given[1:])
    return os.path.basename(name) in _COMMANDS


def _report(kind, error, where):
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write('rnnlm: interrupted\n')
    else:
        sys.__excepthook__(kind, error, where)
