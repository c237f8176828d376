"""Links, iterators and updaters of a script's own; numbers as printed by old releases.
"""
import pathlib

import numpy
import pytest

pytestmark = pytest.mark.slow  # processes of their own

SCRIPT = pathlib.Path(__file__).parent / 'own_parts.py'
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
    text = SCRIPT.read_text()
    if api == '5.4':  # repeat is of 4.0, auto_new_epoch of 5.0
        for old, new in ('repeat=L', 'first=L'), ("'repeat'", "'first'"), (
                '.repeat.', '.first.'), ('.iteration =', '.auto_new_epoch = '
                                         'self.iteration ='):
            text = text.replace(old, new)
    (names, *rest), iterators, trained = run(text, api)
    first = 'first' if api == '5.4' else 'repeat'
    assert names == [f'/{name}/{param}' for name in ('device', first) for param in 'Wb']
    assert rest == [-1, 3, pytest.approx(4.0239201, rel=1e-5), [1, 3]]
    assert iterators == SHUFFLED
    numpy.testing.assert_allclose(trained[0], log[:-2], rtol=1e-5)
    assert trained[1:] == pytest.approx(log[-2:], rel=1e-5)
