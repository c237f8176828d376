"""What old scripts find of NumPy 1 and Python 3.6, in processes of their own."""
import ast
import json
import os
import pathlib
import subprocess
import sys
import textwrap

from helpers import ROOT
import numpy
import pytest

from rnnlm.legacy import numpy_1, rewriting  # looking at them changes nothing

HERE = pathlib.Path(__file__).parent
NUMPY_2 = numpy_1.NUMPY_2
RELEASE = tuple(map(int, numpy.__version__.split('.')[:2]))


@pytest.fixture
def script(tmp_path):
    """Runs a few lines under ``rnnlm run``; their output, or their errors."""
    def run(lines, status=0, api='v2', **modules):
        for name, text in {'script': lines, **modules}.items():
            (tmp_path / f'{name}.py').write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-m', 'rnnlm', 'run', '--api', api,
             str(tmp_path / 'script.py')], capture_output=True, text=True,
            cwd=tmp_path, env={**os.environ, 'PYTHONPATH': ROOT})
        assert done.returncode == status, done.stderr
        assert status or not done.stderr
        return done.stderr if status else done.stdout
    return run


# NumPy ------------------------------------------------------------------------

def test_every_name_of_numpy_1_is_there_or_has_a_reason(script):
    """The names were recorded from the releases by record_numpy_names.py."""
    recorded = [name.split('.') for name in json.loads(
        (HERE / 'numpy_names.json').read_text())]
    missing = script(f'''
        import numpy, warnings
        warnings.simplefilter('ignore')
        for name in {[name for owner, name in recorded if owner == 'numpy']}:
            if not hasattr(numpy, name):
                print(name)
    ''').split()
    assert [name for name in missing if not numpy_1.gone(name)] == []
    assert [name for owner, name in recorded if owner == 'ndarray'
            and name not in numpy_1.METHODS] == []


def test_lists_of_different_lengths(script):
    assert script('''
        import numpy as np
        for make in np.array, np.asarray, np.asanyarray:
            a = make([[1, 2], [3]])
            print(a.dtype, a.shape, a[0])
        print(np.array([[1, 2], [3, 4]]).shape, np.array([1.5], 'i'))
        print(np.array(np.arange(3), 'f', False).dtype, np.array([1, 2], copy=False))
        print(np.array([-1, 300], np.uint8), np.asarray(-1, dtype='uint16'))
        np.random.seed(0)
        print(sorted(map(len, np.random.permutation([[1, 2], [3], [4, 5, 6]]))))
        np.save('ragged', [[1, 2], [3]]); np.savez('ragged', a=[[1, 2], [3]])
        print(len(np.random.choice([[1, 2], [3]])) in (1, 2), np.random.choice(1))
        try:
            np.array([[1, 2], [3]], dtype=float)
        except ValueError:
            print('refused')
    ''').splitlines() == ['object (2,) [1, 2]'] * 3 + [
        '(2, 2) [1]', 'float32 [1 2]', '[255  44] 65535', '[1, 2, 3]',
        'True 0', 'refused']


def test_functions_that_went(script):
    assert script('''
        import numpy as np
        print(np.in1d([1, 2, 3], [2]), np.rank([[1]]), np.alen([1, 2]), np.alen(3))
        print(np.asfarray([1]).dtype, np.asfarray([1], 'f').dtype, np.round_(1.26, 1))
        print(np.trapz([1, 2, 3]), np.mat([[1, 2]]).shape,
              np.msort([[3], [1]]).tolist())
        print(np.product([2, 3]), np.cumproduct([2, 3]), np.alltrue([1]),
              np.sometrue([0]))
        print(np.infty, np.NINF, np.NaN, np.float is float,
              np.zeros(1, np.int).dtype.kind)
        print(np.bool8 is np.bool_, np.unicode_ is np.str_,
              np.longfloat is np.longdouble)
        print(np.obj2sctype('f4') is np.float32, np.issubsctype(np.float32, float))
        print(np.sctype2char(np.float32), np.maximum_sctype(np.int8) is np.int64)
        print(np.find_common_type([np.float32], [np.int64, np.float64]),
              np.find_common_type([np.float32], [complex]))
        print(np.issctype(np.float32), np.issctype(1), np.cast['f']([1]).dtype)
        print(np.float64 in np.sctypes['float'], np.nbytes[np.float32], np.asscalar(
              np.array([3])), np.math.sqrt(4), np.safe_eval('[1]'))
        print(np.fastCopyAndTranspose(np.ones((2, 3))).shape, np.AxisError.__name__)
        print(np.row_stack(([1], [2])).shape, np.typeDict['float32'] is np.float32)
        print(np.recfromcsv(['a,b', '1,2', '3,4']).a, np.loads.__name__)
        np.disp('said')
    ''').splitlines() == [
        '[False  True False] 2 2 1', 'float64 float32 1.3', '4.0 (1, 2) [[1], [3]]',
        '6 [2 6] True False', 'inf -inf nan True i', 'True True True', 'True False',
        'f True', 'float32 complex128', 'True False float32', 'True 4 3 2.0 [1]',
        '(3, 2) AxisError', '(2, 1) True', '[1 3] loads', 'said']


def test_arguments_and_results_that_changed(script):
    assert script('''
        import numpy as np
        x = np.arange(4.)
        print(np.percentile(x, 40, interpolation='lower'),
              np.reshape(x, newshape=(2, 2)).shape)
        print(np.histogram(x, 2, normed=True)[0].sum(), np.corrcoef(x, x, ddof=1).shape)
        print(type(np.meshgrid(x, x)).__name__,
              type(np.broadcast_arrays(x, 1)).__name__)
        print(np.cross([1, 2], [3, 4]), np.cross([1, 2], [3, 4, 5]))
        print(np.fromstring(b'ab', 'u1'), np.fromstring('1 2', sep=' '))
        print([np.float32(1), np.float64(0.5)])
    ''').splitlines() == [
        '1.0 (2, 2)', '0.6666666666666666 (2, 2)', 'list list', '-2 [10 -5 -2]',
        '[97 98] [1. 2.]', '[1.0, 0.5]']


def test_methods_of_arrays(script):
    assert script('''
        import numpy as np
        a = np.array([[1, 5], [2, 4]], '<i2')
        print(a.ptp(), a.ptp(axis=1), a.ptp(0), a[0].tostring())
        a.itemset(3, 7); a.itemset((0, 1), 8); a.itemset(1, 0, 9)
        print(a.tolist(), a.newbyteorder().dtype == '>i2', np.float32(1).tostring() ==
              np.float32(1).tobytes())
        b = np.zeros(()); b.itemset(3); print(b)
        f = a.ptp
        print(f(), getattr(a, 'shape'))
        class Own:
            def ptp(self):
                return 'own'
        print(Own().ptp())
        try:
            (3).ptp
        except AttributeError as e:
            print(e)
    ''').splitlines() == [
        "4 [4 2] [1 1] b'\\x01\\x00\\x05\\x00'", '[[1, 8], [9, 7]] True True', '3.0',
        '8 (2, 2)', 'own', "'int' object has no attribute 'ptp'"]


def test_arrays_of_one_element_are_numbers(script):
    assert script('''
        import math
        from math import exp as e
        import numpy as np
        a = np.array([[2.5]])
        print(float(a), int(a), complex(a), math.sqrt(np.array([4.])), e(a * 0))
        print(np.float(a), np.int(a), math.log(a * 4, 10.), '%(x).1f' % {'x': a})
        print('%.1f %d %s' % (a, a, a), '%g' % a, '%(x)s' % {'x': 1}, '%s' % [1])
        print(int('7'), float('1.5'), int('11', 2), int(3.7), math.pi, float())
        for wrong in (np.ones(2), 'x'):
            try:
                float(wrong)
            except (TypeError, ValueError) as error:
                print(type(error).__name__)
        print(isinstance(1.0, float), list(map(float, '12')))
    ''').splitlines() == [
        '2.5 2 (2.5+0j) 2.0 1.0', '2.5 2 1.0 2.5', '2.5 2 [[2.5]] 2.5 1 [1]',
        '7 1.5 3 3 3.141592653589793 0.0', 'TypeError', 'ValueError',
        'True [1.0, 2.0]']


@pytest.mark.skipif(not NUMPY_2, reason='NumPy 1 does as the script expects')
def test_what_widens_is_explained(script):
    error = script('''
        import chainer.links as L
        import numpy as np

        def scaled(x):
            return x / np.sqrt(10)

        x = scaled(np.ones((2, 3), 'f'))
        y = L.Linear(3, 4)(x)
    ''', status=1)
    for words in ('InvalidType', 'script.py:9: y = L.Linear(3, 4)(x)', 'NEP 50',
                  'line 6: return x / np.sqrt(10)', "'numpy<1.24'", 'float(...)'):
        assert words in error


STOPS = [
    ('import telnetlib', 'standard-telnetlib', sys.version_info >= (3, 13)),
    ("np.save('a', np.array([{}]))\nnp.load('a.npy')", 'allow_pickle=True', True),
    ('np.pmt(1, 2, 3)', 'numpy-financial', NUMPY_2),
    ('np.ones(2, np.uint8) + 300', '-1 was 255', NUMPY_2),
    ('np.concatenate([[[1, 2], [3]]])', 'array of objects', RELEASE >= (1, 24)),
    ('a = np.zeros(2)\na[0] = np.ones(1)', 'array of one element', RELEASE >= (2, 4)),
]


@pytest.mark.parametrize('line, words', [case[:2] for case in STOPS if case[2]])
def test_what_stops_is_explained(line, words, script):
    error = script('import numpy as np\n' + line, status=1)
    assert words in error and 'rnnlm run: ' in error and 'script.py:' in error


def test_other_exceptions_are_not_explained(script):
    for line in ('1 / 0', 'import numpy as np; np.ones(2) + np.ones(3)',
                 'import numpy; numpy.nothing', 'raise TypeError("float")'):
        assert 'rnnlm run:' not in script(line, status=1)


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


# What is rewritten ---------------------------------------------------------------

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
    """The syntax tree of the package's own modules, which have nothing of the kind."""
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


# Chainer 1.0 and 1.1 ----------------------------------------------------------------

def test_float32_and_float64_are_added(script):
    assert script('''
        import chainer, numpy as np
        import chainer.functions as F
        from chainer import Variable
        loss = Variable(np.zeros(()))
        x = Variable(np.ones((2, 3), 'f'))
        w = Variable(np.ones((2, 3)))
        loss = loss + F.sum(x * w)
        loss.backward()
        print(loss.data.dtype, float(loss.data), x.grad.dtype, w.grad.dtype)
        print((x + Variable(np.ones(()))).data.dtype, (x - w).data.dtype)
        for wrong in (Variable(np.ones((4, 2), 'f')), Variable(np.ones((4, 2)))):
            try:
                F.linear(x, wrong)
            except chainer.utils.type_check.InvalidType:
                print('refused')
    ''', api='v1').splitlines() == [
        'float64 6.0 float32 float64', 'float32 float64', 'refused', 'refused']
