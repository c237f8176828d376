"""The start of the command, before Chainer is imported.

Importing Chainer and NumPy takes most of the time in which `rnnlm --version`, a help or
a wrong option could be answered, and none of these needs them.  So in the command
`import rnnlm` imports neither, and `load` does when the options have been read.

Any other program gets all of it from `import rnnlm`.  What Chainer's functions were at
that moment is taken for Chainer's own (`rnnlm.unaltered`), so no code of a user may run
between the two.
"""
import importlib
import os
import sys

_COMMANDS = 'rnnlm', 'rnnlm.exe', 'rnnlm-script.py'

# Whether Chainer and the public names are left to `load`; None before `begin`.
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
    """Imports what `import rnnlm` left, and removes the handler of `begin`."""
    global waiting
    if waiting:
        waiting = False
        importlib.reload(sys.modules['rnnlm'])
    if sys.excepthook is _report:  # the command handles its errors itself
        sys.excepthook = sys.__excepthook__


def _is_console_script():
    """Returns whether the console script runs, and so no code of a user before it."""
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
