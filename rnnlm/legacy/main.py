"""Running of a script as `__main__`, exactly as Python itself would.

It runs in a process started by `runner`, from `site/run_script.py`.  The script sees no
trace of that: no argument, no path, no frame of a traceback.
"""
import ast
import builtins
import importlib.machinery
import os
import runpy
import sys
import types

_first = sys.modules['__main__']  # a reference, or its variables would be cleared
_OURS = {__file__, getattr(_first, '__file__', None)}


def run(rewrite=lambda tree: tree, advise=lambda error: None):
    """Runs the script that ``sys.argv[1]`` names.

    Args:
        rewrite: Function that maps the syntax tree of the script to the one to run.
        advise: Function that prints advice for the exception that ended the script,
            after it has been printed.
    """
    del sys.argv[0]
    if hasattr(sys, 'orig_argv'):
        at = len(sys.orig_argv) - len(sys.argv)
        del sys.orig_argv[at - 1]
    path = sys.argv[0]
    # A new module, so the script sees none of this one's names.
    module = types.ModuleType('__main__')
    vars(module).update(__builtins__=builtins, __annotations__={})
    if sys.version_info >= (3, 14):
        del module.__annotations__
    sys.modules['__main__'] = module
    try:
        if path == '-':
            _set_path('')
            module.__loader__ = importlib.machinery.BuiltinImporter
            module.__file__, module.__cached__ = '<stdin>', None
            _exec(sys.stdin.buffer.read(), '<stdin>', module, rewrite)
        elif os.path.isdir(path) or not _is_script(path):
            _set_path(os.path.join(os.getcwd(), path), always=True)
            runpy._run_module_as_main('__main__', False)
        else:
            _set_path(os.path.dirname(os.path.realpath(path)))
            _run_file(path, module, rewrite)
    except SystemExit:
        raise
    except BaseException:
        # Installed only now, so the script sees Python's own hook.
        sys.excepthook = _Hook(getattr(sys, 'excepthook', None), advise)
        raise


def _is_script(path):
    # The same rule as Python's: what an importer accepts is a folder or a zip file.
    return sys.path_hooks and not any(_imports(hook, path) for hook in sys.path_hooks)


def _imports(hook, path):
    try:
        hook(path)
    except ImportError:
        return False
    return True


def _set_path(folder, always=False):
    """Puts the script's folder first on `sys.path`, unless Python was told not to."""
    if not getattr(sys.flags, 'safe_path', sys.flags.isolated):
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _run_file(path, module, rewrite):
    if not os.path.isabs(path):
        path = os.path.join(os.getcwd(), path)
    module.__loader__ = importlib.machinery.SourceFileLoader('__main__', path)
    module.__file__ = path
    module.__cached__ = None
    with open(path, 'rb') as f:
        text = f.read()
    _exec(text, path, module, rewrite)


def _exec(text, path, module, rewrite):
    tree = rewrite(ast.parse(text, path))
    exec(compile(tree, path, 'exec', dont_inherit=True), vars(module))


class _Hook:
    """`sys.excepthook` that calls the script's hook, without our frames.

    Args:
        hook: The script's hook; None if it has deleted it.
        advise: As in `run`.
    """

    def __init__(self, hook, advise):
        self._hook = hook
        self._advise = advise

    def __call__(self, kind, error, frames):
        sys.excepthook = self._hook
        error.__traceback__ = _without_ours(frames)
        if self._hook is None:
            del sys.excepthook
            print('sys.excepthook is missing', file=sys.stderr)
            sys.__excepthook__(kind, error, error.__traceback__)
        else:
            self._call(kind, error)
        self._advise(error)

    def _call(self, kind, error):
        try:
            self._hook(kind, error, error.__traceback__)
        except SystemExit:
            raise
        except BaseException as e:
            print('Error in sys.excepthook:', file=sys.stderr)
            e.__traceback__ = _without_ours(e.__traceback__)
            sys.__excepthook__(type(e), e, e.__traceback__)
            print('\nOriginal exception was:', file=sys.stderr)
            sys.__excepthook__(kind, error, error.__traceback__)


def _without_ours(frames):
    while frames is not None and frames.tb_frame.f_code.co_filename in _OURS:
        frames = frames.tb_next
    return frames
