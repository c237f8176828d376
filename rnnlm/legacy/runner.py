"""Runs a script as Python would, on a Chainer that it understands."""
import builtins
import os
import sys
import traceback
import types
import warnings

import chainer

from rnnlm.errors import InputError
from rnnlm.legacy import hints, rewriting, source, surroundings, table
from rnnlm.serializers.loading import Deserializer
from rnnlm.serializers.npz import Npz

APIS = 'auto', 'v1', 'v2'


def run(path, args=(), api='auto'):
    """Runs a script as ``python path *args`` would; this process is its from then on.

    Args:
        path (str): The script.
        args (sequence of str): Its arguments.
        api (str): 'v1' or 'v2', the Chainer that it was written for; 'auto' decides
            by its source and says so on stderr.

    Returns:
        int: 0, or 1 after an exception, whose traceback has been printed.

    Raises:
        rnnlm.errors.InputError: if there is no such script, or it is for Python 2.
        SystemExit: when the script leaves so.
    """
    try:
        tree = source.parse(path)
    except SyntaxError as e:
        traceback.print_exception(type(e), e, None, chain=False)
        return 1
    if api == 'auto':
        api, reason = source.choose_api(path, tree)
        print(f'rnnlm run: Chainer {"v1" if api == "v1" else "v2 to v7"}, since '
              f'{reason} (--api {"v2" if api == "v1" else "v1"} for the other)',
              file=sys.stderr)
    surroundings.install()
    chainer.serializers.load_npz = chainer.serializers.npz.load_npz = load_npz
    if api == 'v1':
        table.install()
        # The script cannot know that its words are old.
        warnings.filterwarnings('ignore', category=DeprecationWarning, module='chainer')
    main = types.ModuleType('__main__')
    vars(main).update(__file__=path, __builtins__=builtins, __cached__=None)
    sys.modules['__main__'] = main
    sys.argv = [path, *args]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    try:
        code = compile(rewriting.rewrite(tree), path, 'exec', dont_inherit=True)
        exec(code, vars(main))
    except SyntaxError as e:  # of a module that it imports
        if e.filename and os.path.isfile(e.filename):
            source.parse(e.filename)
        return _print(e)
    except (InputError, KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as e:
        return _print(e)
    return 0


def _print(e):
    """The traceback as Python would print it, without the frames of `run`."""
    traceback.print_exception(type(e), e, e.__traceback__.tb_next)
    hint = hints.explain(e)
    if hint:
        print(f'\nrnnlm run: {hint}', file=sys.stderr)
    return 1


def load_npz(file, obj, path='', strict=True, ignore_names=None):
    """`chainer.serializers.load_npz`, which runs no code from the file."""
    with Npz(file) as npz:
        Deserializer(npz, path, strict, ignore_names).load(obj)
