"""Modules removed from Python's standard library, with the parts that scripts used."""
import html
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import shlex
import shutil
import sys
import types
import urllib.parse
import warnings

# Removed modules that are too large to serve: name -> package to install instead.
GONE = {
    **{name: f'standard-{name}' for name in (
        'aifc asynchat asyncore cgitb chunk mailcap nntplib smtpd sndhdr sunau '
        'telnetlib uu xdrlib').split()},
    'audioop': 'audioop-lts', 'crypt': 'crypt-r', 'lib2to3': 'fissix'}


def imp():
    """Contents of the module `imp`, removed in Python 3.12."""
    def load_source(name, pathname, file=None):
        # A file of any name and ending, as `imp` allowed.
        loader = importlib.machinery.SourceFileLoader(name, pathname)
        spec = importlib.util.spec_from_file_location(name, pathname, loader=loader)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        return module

    def find_module(name, path=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            raise ImportError(f'No module named {name!r}', name=name)
        if spec.submodule_search_locations:
            return None, os.path.dirname(spec.origin), ('', '', 5)
        return open(spec.origin, encoding='utf-8'), spec.origin, ('.py', 'r', 1)

    def load_module(name, file, filename, details):
        if details[2] == 5:
            filename = os.path.join(filename, '__init__.py')
        return load_source(name, filename)

    return {'load_source': load_source, 'find_module': find_module,
            'load_module': load_module, 'reload': importlib.reload,
            'new_module': types.ModuleType, 'PY_SOURCE': 1, 'PKG_DIRECTORY': 5,
            'cache_from_source': importlib.util.cache_from_source,
            'is_builtin': lambda name: int(name in sys.builtin_module_names),
            'acquire_lock': lambda: None, 'release_lock': lambda: None}


def distutils():
    """The package `distutils`, removed in Python 3.12, except for building packages."""
    return {'__path__': []}


def version():
    """Contents of `distutils.version`."""
    @_ordered
    class LooseVersion:
        def __init__(self, vstring=''):
            self.vstring = vstring
            parts = re.findall(r'\d+|[a-z]+', vstring)
            self.version = [int(part) if part.isdigit() else part for part in parts]

        def __str__(self):
            return self.vstring

    @_ordered
    class StrictVersion:
        def __init__(self, vstring='0.0'):
            found = re.fullmatch(r'(\d+)\.(\d+)(?:\.(\d+))?(?:([ab])(\d+))?', vstring)
            if not found:
                raise ValueError(f'invalid version number {vstring!r}')
            # 'final' sorts after 'a' and 'b', so a release is newer than its alphas and
            # betas.
            *numbers, letter, number = found.groups()
            self.vstring = vstring
            self.version = (*(int(n or 0) for n in numbers),
                            letter or 'final', int(number or 0))

        def __str__(self):
            return self.vstring

    return {'LooseVersion': LooseVersion, 'StrictVersion': StrictVersion}


def _ordered(cls):
    """Adds comparisons by `version`, also with strings."""
    def compare(name):
        def method(self, other):
            other = cls(other) if isinstance(other, str) else other
            return getattr(self.version, name)(other.version)
        return method

    for name in ('__lt__', '__le__', '__eq__', '__ge__', '__gt__'):
        setattr(cls, name, compare(name))
    cls.__repr__ = lambda self: f"{cls.__name__} ('{self}')"
    cls.__hash__ = None
    return cls


def util():
    """Contents of `distutils.util`."""
    def strtobool(val):
        val = val.lower()
        if val in ('y', 'yes', 't', 'true', 'on', '1'):
            return 1
        if val in ('n', 'no', 'f', 'false', 'off', '0'):
            return 0
        raise ValueError(f'invalid truth value {val!r}')
    return {'strtobool': strtobool}


def dir_util():
    """Contents of `distutils.dir_util`."""
    def mkpath(name, mode=0o777, **_):
        os.makedirs(name, mode, exist_ok=True)

    def copy_tree(src, dst, *_, **__):
        shutil.copytree(src, dst, dirs_exist_ok=True)
        return [os.path.join(folder, name) for folder, _, names in os.walk(dst)
                for name in names]

    return {'mkpath': mkpath, 'copy_tree': copy_tree,
            'remove_tree': lambda directory, *_, **__: shutil.rmtree(directory)}


def file_util():
    """Contents of `distutils.file_util`."""
    return {'copy_file': lambda src, dst, *_, **__: (shutil.copy2(src, dst), 1),
            'move_file': lambda src, dst, *_, **__: shutil.move(src, dst)}


def spawn():
    """Contents of `distutils.spawn`."""
    return {'find_executable': lambda name, path=None: shutil.which(name, path=path)}


def cgi():
    """Contents of the module `cgi`, removed in Python 3.13."""
    return {'escape': lambda s, quote=False: html.escape(s, quote),
            'parse_qs': urllib.parse.parse_qs, 'parse_qsl': urllib.parse.parse_qsl}


def pipes():
    """Contents of the module `pipes`, removed in Python 3.13."""
    return {'quote': shlex.quote}


def imghdr():
    """Contents of the module `imghdr`, removed in Python 3.13."""
    beginnings = {b'\x89PNG\r\n\x1a\n': 'png', b'GIF87a': 'gif', b'GIF89a': 'gif',
                  b'\xff\xd8\xff': 'jpeg', b'BM': 'bmp', b'II*\0': 'tiff',
                  b'MM\0*': 'tiff'}

    def what(file, h=None):
        if h is None:
            with open(file, 'rb') as f:
                h = f.read(32)
        if h[:4] == b'RIFF' and h[8:12] == b'WEBP':
            return 'webp'
        return next((kind for start, kind in beginnings.items()
                     if h.startswith(start)), None)
    return {'what': what}


MODULES = {
    'imp': imp, 'cgi': cgi, 'pipes': pipes, 'imghdr': imghdr, 'distutils': distutils,
    **{f'distutils.{part.__name__}': part
       for part in (version, util, dir_util, file_util, spawn)},
    'dummy_threading': lambda: vars(importlib.import_module('threading')),
    '_dummy_thread': lambda: vars(importlib.import_module('_thread'))}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import finder for these modules, last in `sys.meta_path`."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname in MODULES:
            return importlib.machinery.ModuleSpec(
                fullname, self, is_package=fullname == 'distutils')
        return None

    def exec_module(self, module):
        vars(module).update(
            (name, value) for name, value in MODULES[module.__name__]().items()
            if name == '__path__' or not name.startswith('__'))


def install():
    """Makes the modules importable, and restores functions that `cgi` lost earlier."""
    # Last, so a module that exists (also from PyPI) takes precedence.
    sys.meta_path.append(_Finder())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        module = importlib.import_module('cgi')
    for name, value in cgi().items():
        vars(module).setdefault(name, value)
