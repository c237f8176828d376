"""An import hook that edits the source of modules as they are imported."""
import importlib.machinery
import sys
import types
import warnings

active: dict = {}  # module name -> its edits
helpers = None  # the module that patched lines can call as `_patches`


def install(edits, module):
    """Registers edits, and applies them to modules that are already imported.

    Args:
        edits (dict): Module name -> pairs (original text, replacement).
        module: The module that patched lines can call as `_patches`.
    """
    global helpers
    helpers = module
    active.update(edits)
    # Compare by name: after a reload, an earlier finder has a different class.
    sys.meta_path[:] = [_Finder()] + [
        finder for finder in sys.meta_path
        if getattr(finder, 'name', None) != _Finder.name]
    for name in active:
        module = sys.modules.get(name)
        if hasattr(module, '__file__') and not hasattr(module, '_patches'):
            _renew(module)  # it was imported before rnnlm, and that worked


class _Finder:
    """Import finder for the Chainer modules that have edits."""

    name = 'rnnlm._compat.import_hook'

    def find_spec(self, fullname, path=None, target=None):
        if fullname not in active:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Loader that runs edited source; the file and its .pyc are not changed."""

    def get_code(self, fullname):
        source = self.get_source(fullname)
        for old, new in active[fullname]:
            if old not in source:
                warnings.warn('{}: the line {!r}, which rnnlm patches, was not found; '
                              'is this Chainer 7.8.1?'.format(self.path, old.strip()))
            source = source.replace(old, new)
        return compile(source, self.path, 'exec', dont_inherit=True)

    def exec_module(self, module):
        module._patches = helpers
        super().exec_module(module)


def _renew(module):
    """Replaces the code of the functions of an imported module by the edited code.

    Works in place, because other modules already hold references to the functions.
    """
    def renew(owner, code):
        for const in code.co_consts:
            if not isinstance(const, types.CodeType):
                continue
            old = vars(owner).get(const.co_name)
            old = getattr(old, '__func__', old)
            if old is None and const.co_name == '__setattr__':  # added by a patch
                owner.__setattr__ = types.FunctionType(const, vars(module))
            elif getattr(old, '__module__', None) != module.__name__:
                continue
            elif isinstance(old, type):
                renew(old, const)
            elif (isinstance(old, types.FunctionType)
                  and old.__code__.co_freevars == const.co_freevars):
                old.__code__ = const

    module._patches = helpers
    renew(module, _Loader(module.__name__, module.__file__).get_code(module.__name__))
