"""Features of Python 3.6 for old scripts, and rewriting."""
import ast
import os
import subprocess
import sys

from helpers import ROOT

from rnnlm.legacy import rewriting  # importing it changes nothing


# Python -----------------------------------------------------------------------

def test_stop_iteration_ends_a_generator(script):
    assert script('''
        from contextlib import contextmanager

        def raises(n):
            """Its text."""
            for i in range(n):
                if i == 2:
                    raise StopIteration
                yield i

        def takes(it):
            while True:
                yield next(it)

        def returns():
            yield 1
            raise StopIteration('value')

        def outer():
            value = yield from returns()
            yield value

        def catches():
            try:
                raise StopIteration
            except StopIteration:
                yield 'caught'

        @contextmanager
        def manager():
            yield

        print(list(raises(5)), raises.__doc__, list(takes(iter('ab'))))
        print(list(outer()), list(catches()))
        print(list(next(it) for it in [iter('a'), iter(''), iter('b')]))
        try:
            with manager():
                raise StopIteration('mine')
        except (StopIteration, RuntimeError) as e:
            print('out')
        try:
            raise StopIteration
        except StopIteration:
            print('outside')
        def wrong():
            yield 1
            1 / 0
        try:
            list(wrong())
        except ZeroDivisionError as e:
            print(e.__traceback__.tb_next.tb_lineno)
    ''').splitlines() == [
        "[0, 1] Its text. ['a', 'b']", "[1, 'value'] ['caught']", "['a']", 'out',
        'outside', '47']


def test_the_future_is_respected(script):
    assert 'generator raised StopIteration' in script('''
        from __future__ import generator_stop
        def f():
            raise StopIteration
            yield
        list(f())
    ''', status=1)


def test_random(script):
    out = script('''
        import random
        import numpy as np
        x = list(range(5)); random.shuffle(x, lambda: 0.0); print(x)
        a = random.sample({1}, 1), random.sample({1: 2}.keys(), 1)
        print(a, random.randint(0, 0.0), random.randrange(1.0))
        random.seed(np.int64(3)); b = random.random()
        random.seed(3); print(b == random.random())
        x = list(range(5)); random.seed(0); random.shuffle(x); print(x)
        print(random.Random((1, 2)).random() == random.Random((1, 2)).random())
    ''').splitlines()
    import random
    x = list(range(5))
    random.Random(0).shuffle(x)
    assert out == ['[1, 2, 3, 4, 0]', '([1], [1]) 0 0', 'True', str(x), 'True']


def test_names_of_python(script, tmp_path):
    (tmp_path / 'text.txt').write_text('a\n')
    assert script('''
        import array, base64, collections, configparser, fractions, inspect, io, json
        import locale, math, os, platform, sys, threading, time, unittest
        from html.parser import HTMLParser
        from xml.etree import ElementTree as ET
        def f(a, b=1, *c, **d):
            pass
        print(tuple(inspect.getargspec(f)), inspect.getargspec(f).keywords)
        print(fractions.gcd(12, 18), time.clock() >= 0, math.factorial(5.0))
        print(isinstance([], collections.Iterable),
              issubclass(dict, collections.Mapping),
              collections.MutableSet.__name__, collections.Callable.__name__)
        print(open('text.txt', 'rU').read(), io.open('text.txt', 'U').read().strip(),
              open('text.txt', mode='rbU').read(), open('text.txt').mode)
        print(json.loads('{"a": 1}', encoding='utf-8'), base64.decodestring(b'YQ=='))
        print(threading.current_thread().isAlive(), HTMLParser().unescape('&lt;'))
        print(array.array('b', [1]).tostring(),
              ET.fromstring('<a><b/></a>').getchildren()[0].tag)
        print(len(platform.linux_distribution()), os.errno.EEXIST > 0,
              locale.format('%d', 3))
        parser = configparser.SafeConfigParser(); parser.readfp(io.StringIO('[a]'))
        print(parser.sections(), sys.setcheckinterval(100))
        class T(unittest.TestCase):
            def test(self):
                self.assertEquals(1, 1)
        print(unittest.makeSuite(T).countTestCases())
    ''').splitlines() == [
        "(['a', 'b'], 'c', 'd', (1,)) d", '6 True 120', 'True True MutableSet Callable',
        'a', " a b'a\\n' r", "{'a': 1} b'a'", 'True <', "b'\\x01' b", '3 True 3',
        "['a'] None", '1']


def test_modules_of_python(script, tmp_path):
    (tmp_path / 'other.py').write_text('x = 3\n')
    (tmp_path / 'a.gif').write_bytes(b'GIF89a' + bytes(30))
    assert script('''
        import warnings
        warnings.simplefilter('ignore')
        import cgi, imghdr, imp, pipes
        from distutils.dir_util import mkpath
        from distutils.spawn import find_executable
        from distutils.util import strtobool
        from distutils.version import LooseVersion, StrictVersion
        import distutils.version
        print(LooseVersion('1.10.0') > LooseVersion('1.9'),
              LooseVersion('1.2') >= '1.2', StrictVersion('1.2b1') < StrictVersion(
              '1.2'), LooseVersion('2.0').version)
        print(int(strtobool('Yes')), find_executable('nothing-of-the-kind'),
              pipes.quote('a b'))
        mkpath('folder/inner'); mkpath('folder/inner')
        other = imp.load_source('other', 'other.py')
        print(other.x, imp.reload(other).x, imp.new_module('a').__name__,
              imp.load_module('other', *imp.find_module('other', ['.'])).x)
        print(cgi.escape('<"'), cgi.parse_qs('a=1'), imghdr.what('a.gif'))
    ''').splitlines() == [
        'True True True [2, 0]', "1 None 'a b'", '3 3 a 3',
        """&lt;" {'a': ['1']} gif"""]


# Rewriting ------------------------------------------------------------------------

def test_modules_beside_a_script_are_rewritten_and_no_library(script, tmp_path):
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / '__init__.py').write_text('from package.part import f\n')
    (tmp_path / 'package' / 'part.py').write_text(
        'def f(x):\n    return x.ptp(), float(x[:1])\n')
    assert script('''
        import numpy as np, sys
        import chainer.functions
        from package import f
        import beside
        print(f(np.arange(3)), list(beside.g(iter([1]))))
        print(type(sys.modules['package.part'].__loader__).__module__)
        print(type(chainer.functions.__loader__).__module__.split('.')[0])
        import colorsys
        print(type(colorsys.__loader__).__module__)
    ''', beside='''
        def g(it):
            while True:
                yield next(it)
    ''').splitlines()[:2] == ['(2, 0.0) [1]', 'rnnlm.legacy.rewriting']
    assert not list(tmp_path.rglob('*.pyc'))


def test_other_code_is_not_changed():
    """The syntax trees of the package's own modules, which need no rewriting."""
    plain = ('x = 1\ndef f(a, *b, c=2):\n    """Doc."""\n    return [i for i in b]\n'
             'class A(B):\n    y: int = 3\n    async def g(self):\n        yield 1\n'
             'z = f(1) % 2\nw = int("3") + float(x=1)\nlambda q: (yield q)\n')
    before = ast.dump(ast.parse(plain), include_attributes=True)
    assert ast.dump(rewriting.rewrite(ast.parse(plain)),
                    include_attributes=True) == before


def test_plain_import_changes_nothing():
    code = '''
import builtins, numpy, random, sys
before = [dict(vars(m)) for m in (builtins, numpy, random)]
import rnnlm, rnnlm.legacy.surroundings
for module, names in zip((builtins, numpy, random), before):
    for name, value in names.items():
        assert vars(module).get(name) is value, name
    new = {name: value for name, value in vars(module).items() if name not in names}
    assert all('numpy' in getattr(v, '__name__', '') for v in new.values()), new
assert not any(type(f).__module__.startswith('rnnlm.legacy') for f in sys.meta_path)
'''
    done = subprocess.run([sys.executable, '-W', 'error', '-c', code],
                          capture_output=True, text=True,
                          env={**os.environ, 'PYTHONPATH': ROOT})
    assert done.returncode == 0, done.stderr
