"""Startup of the `rnnlm` command, before Chainer is imported.

Importing Chainer and NumPy would take most of the time of `rnnlm --version`, of help
and of errors about options, which do not need them.  So in the command `import rnnlm`
imports neither, and `load` imports them after the options have been read.

In any other program `import rnnlm` imports everything.  The functions of Chainer that
are found then count as unchanged (`rnnlm.unaltered`), so user code must not run between
`import rnnlm` and `load`.
"""
import importlib
import os
import sys

_COMMANDS = 'rnnlm', 'rnnlm.exe', 'rnnlm-script.py'

# Whether `load` must import Chainer and the public names; None before `begin`.
waiting = None


def begin():
    """Decides what `import rnnlm` imports; must run before all other imports.

    In the `rnnlm` command, it also installs a short message for Ctrl-C.
    """
    global waiting
    if waiting is None:
        waiting = _is_console_script()
        if _is_command():
            sys.excepthook = _report


def load():
    """Imports what `import rnnlm` skipped, and removes the handler of `begin`."""
    global waiting
    if waiting:
        waiting = False
        importlib.reload(sys.modules['rnnlm'])
    if sys.excepthook is _report:  # the command handles its errors itself
        sys.excepthook = sys.__excepthook__


def _is_console_script():
    """Returns whether the console script is running, without user code before it."""
    script = sys.modules.get('rnnlm_command')
    return bool(getattr(script, 'running', False))


def _is_command():
    name = sys.argv[0] if sys.argv else ''
    if name == '-m':
        # Python before 3.10 does not say which module.
        argv = getattr(sys, 'orig_argv', ['-m', 'rnnlm'])
        return argv[argv.index('-m') + 1:][:1] == ['rnnlm']
    return os.path.basename(name) in _COMMANDS


def _report(kind, error, where):
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write('rnnlm: interrupted\n')
    else:
        sys.__excepthook__(kind, error, where)
