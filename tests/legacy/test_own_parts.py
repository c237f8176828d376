"""Links, iterators, updaters and functions of a script's own.

The numbers are those that the true old releases printed.
"""
import pathlib

import numpy
import pytest

pytestmark = pytest.mark.slow  # processes of their own

HERE = pathlib.Path(__file__).parent
SHUFFLED = [[[6, 2, 1], [3, 0, 5], [4]], [[1, 0, 6], [3, 4, 2], [5]],
            [[3, 5, 6], 0, False], [[1, 2, 4], 0, False], [[0], 1, True],
            [[1, 4, 5], 1, False], [6, 5, 4], [5, 4, 3]]
SINCE_1_23 = [[1.3912822, 0.8596531], [0.8758572, 0.5886314], [0.5812377, 0.4922872],
              4.1434526, 0.05571469]


@pytest.mark.parametrize('api, log', [
    # Until 1.22 the evaluator copied its iterator, instead of resetting it.
    ('1.12', [[1.3912822, 0.7182714], [0.8735694, 0.5394285], [0.5823242, 0.4503800],
              4.1467933, 0.63992102]),
    ('1.24', SINCE_1_23), ('2.1', SINCE_1_23),
    ('5.4', [[1.3912822, 0.8596531], [0.8640106, 0.5922037], [0.5897195, 0.4893320],
             4.1474695, 0.05571469]),
])
def test_links_iterators_and_updaters(run, api, log):
    text = (HERE / 'own_parts.py').read_text()
    if api == '1.12':  # until 1.17 nothing needed it
        text = text.replace('def epoch_detail', 'def unused')
    if api == '5.4':  # repeat is of 4.0, auto_new_epoch of 5.0
        for old, new in ('repeat=L', 'first=L'), ("'repeat'", "'first'"), (
                '.repeat.', '.first.'), ('.iteration =', '.auto_new_epoch = '
                                         'self.iteration ='):
            text = text.replace(old, new)
    (names, *rest), iterators, trained, plain, clip = run(text, api)
    first = 'first' if api == '5.4' else 'repeat'
    assert names == [f'/{name}/{param}' for name in ('device', first) for param in 'Wb']
    assert rest == [-1, 3, pytest.approx(4.0239201, rel=1e-5), [1, 3]]
    assert iterators == SHUFFLED
    numpy.testing.assert_allclose(trained[0], log[:-2], rtol=1e-5)
    assert trained[1:] == pytest.approx(log[-2:], rel=1e-5)
    numpy.testing.assert_allclose(
        plain, [[4, 1.0079859], [8, 0.8478319], [12, 0.7229126]], rtol=1e-5)
    assert clip == [0, 0, 1, 0, 0]


def test_checks_of_types_and_copies_of_links(run):
    loss, *rest = run((HERE / 'calls_v1.py').read_text(), '1.24')
    assert loss == pytest.approx(1.2038029, rel=1e-5)
    x = [[0, 1, 2], [3, 4, 5]]
    assert rest == [
        x, x, [[1, 2, 3], [4, 5, 6]], True, [2, 1], [[0, .5, 1], [1.5, 2, 2.5]],
        True, False, True, 3600, True, None, True]


def test_functions_and_parameters_of_1_4(run):
    leaves, calls, arrays, trained = run((HERE / 'functions_1_4.py').read_text(), '1.4')
    assert leaves == pytest.approx([0.3685688, 0.3431093, 0.3220734], rel=1e-5)
    assert calls == pytest.approx([5.126685, 4.540893], rel=1e-5)
    numpy.testing.assert_allclose(
        arrays[:14],
        [-0.0756252, -0.2358185, -0.3431533, -0.2836622, 0.1241071, 0.6712716,
         0.0834713, 2.0780811, -0.4432173, 0.1681654, 1.3197004, 1.2512777, 1.2512777,
         -0.4432173], rtol=1e-5)
    assert arrays[14:19] == [True, True, 0, 0, [1, 1]]
    assert arrays[19:22] == pytest.approx([0.1945646, 2, 0.4243264], rel=1e-5)
    numpy.testing.assert_allclose(
        arrays[22:], [[[2.5281653, 2.0177929]], [[1.5281653, 1.0177929]]], rtol=1e-5)
    b = [2.8567328, 1.4228522, 0.1554038, 1]  # only the parameters of `b` are trained
    numpy.testing.assert_allclose(
        trained, [[2.8567328, 0.3428195, 1.0119429, 0], b, b, b], rtol=1e-5)


def test_what_is_not_supported_of_1_4(run):
    tuples, *errors = run("""
from chainer import FunctionSet, optimizers
params, grads = FunctionSet(a=F.Linear(3, 2)).collect_parameters()
found = [[array.shape for array in params + grads]]
class Scale(chainer.Function):
    parameter_names = 'W',
def subclass(name, base=F.Linear):
    type('Mine', (base,), {name: lambda self, x, gy=None: x})
for wrong in (lambda: FunctionSet(a=Scale()), lambda: subclass('forward'),
              lambda: subclass('backward_cpu', F.EmbedID),
              lambda: optimizers.SGD().setup(((np.ones((2, 3)),), (None,)))):
    try:
        wrong()
    except TypeError as e:
        found.append(str(e))
subclass('backward', FunctionSet)  # the script's own names
subclass('__call__')
print(json.dumps(found))
""", '1.4')
    assert tuples == [[2, 3], [2]] * 2
    for error, start in zip(errors, (
            'a: expected a link of chainer.links, or a Function without '
            'parameter_names, found Scale',
            'Mine: expected no method forward in a subclass of',
            'Mine: expected no method backward_cpu in a subclass of the function with '
            'parameters EmbedID',
            'optimizer.setup: expected arrays of the parameters')):
        assert error.startswith(start)
    assert len(errors) == 4
