"""Runs a script as Python would, on a Chainer that it understands."""
import builtins
import os
import sys
import traceback
import types
import warnings

import chainer

from rnnlm.errors import InputError
from rnnlm.legacy import (
    hints, releases, rewriting, source, surroundings, table, verdict)
from rnnlm.serializers.loading import Deserializer
from rnnlm.serializers.npz import Npz

# What the names of a whole series stand for.
SERIES = {'v1': '1.24', 'v2': '7.8.1'}


def run(path, args=(), api='auto'):
    """Runs a script as ``python path *args`` would; this process is its from then on.

    Args:
        path (str): The script.
        args (sequence of str): Its arguments.
        api (str): The Chainer that it was written for: 'v1', 'v2' (to v7) or a release
            such as '1.24'; 'auto' decides by its source and says so on stderr.

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
    version = choose(path, tree, api)
    surroundings.install()
    chainer.serializers.load_npz = chainer.serializers.npz.load_npz = load_npz
    table.install(version)
    if version < (2,):
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


def choose(path, tree, api):
    """The release of Chainer for a script, as told or by its source.

    Returns:
        tuple of int: Its version.

    Raises:
        rnnlm.errors.InputError: if there was no such release.
    """
    if api != 'auto':
        return releases.load().named(SERIES.get(api, api))
    found = verdict.of_script(path, tree)
    print(f'rnnlm run: Chainer {found.api} ({found.releases}), since {found.reason} '
          f'(--api {"v2" if found.api == "v1" else "v1"} for the other)',
          file=sys.stderr)
    return found.version


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
