"""Features of NumPy 1, and of Chainer 1.0 and 1.1, for old scripts."""
import json
import pathlib
import sys

import numpy
import pytest

from rnnlm.legacy import numpy_1  # importing it changes nothing

HERE = pathlib.Path(__file__).parent
NUMPY_2 = numpy_1.NUMPY_2
RELEASE = tuple(map(int, numpy.__version__.split('.')[:2]))


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
