"""Startup hook: installs old Chainer in a Python started by `rnnlm run` or its script.

Python imports this file when it starts, because the folder is on PYTHONPATH.  Nothing
else is imported until NumPy or Chainer is.  If another Python inherits the environment,
nothing happens; it may be of any version, so the syntax here is old.
"""
import os
import sys


class _Trigger(object):
    """Import hook for NumPy or Chainer: lets `rnnlm.legacy.boot` import them first."""

    names = ('numpy', 'chainer', 'chainermn',
             'multiprocessing.spawn')  # in a child, which runs the script again

    def __init__(self, package, api, version):
        self._package = package
        self._api = api
        self._version = version

    def find_spec(self, name, path=None, target=None):
        if name == 'rnnlm':  # a program that uses rnnlm, not a script for Chainer
            sys.meta_path.remove(self)
        if name not in self.names:
            return None
        from importlib import util
        sys.meta_path.remove(self)
        package = _Package(self._package)
        sys.meta_path.insert(0, package)  # before any other package named rnnlm
        try:
            from rnnlm.legacy import boot
        finally:
            sys.meta_path.remove(package)
        sys.meta_path.append(package)
        boot.install(self._api, self._version)
        if name not in sys.modules:
            return None
        return util.spec_from_loader(name, _Loaded(sys.modules[name]))


class _Package(object):
    """Import finder of the package that `rnnlm run` came from, maybe not installed."""

    def __init__(self, folder):
        self._folder = folder

    def find_spec(self, name, path=None, target=None):
        if name != 'rnnlm':
            return None
        from importlib import util
        return util.spec_from_file_location(
            name, os.path.join(self._folder, '__init__.py'),
            submodule_search_locations=[self._folder])


class _Loaded(object):
    """Loader of a module that is already loaded."""

    def __init__(self, module):
        self._module = module
        self._spec = module.__spec__
        module.__spec__ = None  # otherwise importlib would use it and load it again

    def create_module(self, spec):
        return self._module

    def exec_module(self, module):
        module.__spec__ = self._spec


def _chain():
    """Imports the sitecustomize that Python would have found, or raises ImportError."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    if sys.version_info < (3, 4):
        del sys.modules[__name__]
        __import__(__name__)
        return
    from importlib import machinery, util
    spec = machinery.PathFinder.find_spec(__name__)
    if spec is None or spec.loader is None:
        error = ImportError('No module named ' + __name__)
        error.name = __name__  # tells `site` that it does not exist
        raise error
    sys.modules[__name__] = module = util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _start():
    told = os.environ.get('RNNLM_RUN', '').split('\n')
    if len(told) == 5 and told[3:] == [sys.prefix, str(sys.hexversion)]:
        sys.meta_path.insert(0, _Trigger(*told[:3]))


if __name__ == 'sitecustomize':
    _start()
    _chain()
