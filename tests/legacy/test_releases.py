"""The table of all releases' names, and the script that generates it."""
import importlib
import os
import sys

import chainer
from helpers import ROOT
import pytest

from rnnlm.legacy import releases

sys.path.insert(0, os.path.join(ROOT, 'tools'))
chainer_sources = importlib.import_module('chainer_sources')
sys.path.pop(0)

MINIATURE = {
    'chainer': ('''
from chainer.a import deep
from chainer.a.deep import Base, helper as public
from chainer import moved
global_config.train = True
''', True),
    'chainer.a': ('from chainer.a.deep import *\nshort = deep_alias = public', True),
    'chainer.a.deep': ('''
import numpy
try:
    import cupy
except ImportError:
    pass
class _Private(object):
    def shared(self, x): pass
class Base(_Private):
    kind = 1
    def __init__(self, n, *, key=None, **kwargs):
        a, b = argument.parse_kwargs(kwargs, ('first', 1), ('second', 2),
                                     train='it is gone')
        self.n, self._hidden = n, 0
    @property
    def size(self): pass
    def old(self):
        warnings.warn('', DeprecationWarning)
class Derived(Base):
    def __init__(self):
        super().__init__(n=1)
class Link(Elsewhere):
    def free(self, *args, **kwargs):
        return f(**kwargs)
def helper(x, y=1): pass
_alias = helper
''', False),
    'chainer.moved': ('import sys\nfrom chainer.a import deep\n'
                      'sys.modules[__name__] = deep\n', False),
}


def test_names_of_a_source():
    found = dict(chainer_sources.Release(MINIATURE).entries())
    assert found['chainer.public'] == '(x,y=)'
    assert found['chainer.a.helper'] == found['chainer.a.deep.helper'] == (
        '=chainer.public')
    assert found['chainer.Base'] == 'C'
    assert found['chainer.Base.__init__'] == '(n,/,key=,/,first=,second=,-train)'
    assert found['chainer.Base.shared'] == '(x)' and found['chainer.Base.size'] == 'V'
    assert found['chainer.Base.kind'] == found['chainer.Base.n'] == 'V'
    assert found['chainer.Base.old'] == '()!'
    assert found['chainer.a.Derived'] == 'Cchainer.Base'
    assert found['chainer.a.Link'] == 'C*'
    assert found['chainer.a.Link.free'] == '(*,**)'
    assert found['chainer.config.train'] == 'V'
    assert found['chainer.moved'] == '=chainer.a.deep'
    for name in 'chainer.a.deep.numpy', 'chainer.Base._hidden', 'chainer.a.deep._alias':
        assert name not in found


def test_old_python():
    tree = chainer_sources.parse(
        'def f(self, (a, b), c):\n    print "x", a\n    raise E, "x"\n'
        'try: pass\nexcept A, e: pass\n')
    assert len(tree.body) == 2


def installed():
    """Returns {module: (text, whether it is a package)} of the installed Chainer."""
    found = {}
    top = os.path.dirname(chainer.__file__)
    for folder, _, files in os.walk(top):
        for name in files:
            if name.endswith('.py'):
                path = os.path.join(folder, name)
                parts = os.path.relpath(path, os.path.dirname(top))[:-3].split(os.sep)
                is_package = parts[-1] == '__init__'
                with open(path, encoding='utf-8') as f:
                    found['.'.join(parts[:-1] if is_package else parts)] = (
                        f.read(), is_package)
    return found


def test_the_table_agrees_with_the_installed_chainer():
    table = releases.load()
    now = 1 << table.versions.index((7, 8, 1))
    there = {name: {entry.what + '!' * entry.deprecated for entry in entries
                    if entry.releases & now}
             for name, entries in table.entries.items()}
    expected = {}
    for name, what in chainer_sources.Release(installed()).entries():
        expected.setdefault(name, set()).add(what)
    assert {name: what for name, what in there.items() if what} == expected


@pytest.mark.parametrize('owner', ['chainer', 'chainer.functions', 'chainer.links',
                                   'chainer.cuda', 'chainer.training.extensions',
                                   'chainer.optimizers', 'chainer.Variable'])
def test_the_table_agrees_with_what_is_imported(owner):
    table = releases.load()
    now = 1 << table.versions.index((7, 8, 1))
    value = chainer
    for name in owner.split('.')[1:]:
        value = getattr(value, name)
    listed = set()
    for path in table.resolve(owner):
        for name in table.entries:
            last = name[len(path) + 1:]
            if name.startswith(path + '.') and '.' not in last and (
                    table.member(path, last, now)) and not any(
                    entry.what == 'M' and entry.releases & now
                    for entry in table.entries[name]):
                listed.add(last)
    assert len(listed) > 9
    missing = listed - set(dir(value))
    if isinstance(value, type):  # attributes of its objects
        missing -= set(dir(value(None)))
    with_cupy = {'cublas', 'cuda', 'cupy', 'cupyx', 'pinned_memory_pool', 'cudnn',
                 'libcudnn', 'memory_pool', 'ndarray'}
    assert not missing - {'*', '__init__'} - with_cupy
    public = {name for name, found in vars(value).items() if not name.startswith('_')
              and callable(found) and found.__module__.startswith('chainer.')}
    assert not public - listed


def test_sets_of_releases():
    table = releases.load()
    some = table.since('1.16') & table.until('2.0')
    assert (table.first(some), table.last(some)) == ('1.16', '1.24')
    assert table.gone_since(some) == '2.0' and table.gone_since(table.all) == ''


@pytest.mark.parametrize('what, call, fits', [
    ('(x,ratio=,train=)', releases.Call(3, frozenset()), True),
    ('(x,ratio=,/,mask=,-train)', releases.Call(3, frozenset()), False),
    ('(x,ratio=,/,mask=,-train)', releases.Call(1, frozenset({'train'})), False),
    ('(x,ratio=,/,mask=,-train)', releases.Call(1, frozenset({'mask'})), True),
    ('(x,y)', releases.Call(1, frozenset()), False),
    ('(x,y)', releases.Call(1, frozenset(), True), True),
    ('(x,y)', releases.Call(1, frozenset(), False, True), True),
    ('(x,y)', releases.Call(2, frozenset({'x'})), False),
    ('(*,**)', releases.Call(9, frozenset({'x'})), True),
    ('(**,-volatile)', releases.Call(0, frozenset({'volatile'})), False),
])
def test_calls(what, call, fits):
    assert releases.takes(what, call) == fits
